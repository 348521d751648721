"""A config edited while the installation runs: what takes effect at once, and what later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from installation.config import AT_START, Config

Section = TypeVar("Section", bound=BaseModel)


def at_start(field: FieldInfo) -> bool:
    """Tell whether a key is read at the start alone."""
    return bool(field.json_schema_extra == AT_START.json_schema_extra)


def changes(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Name the keys in which two configs differ.

    Returns
    -------
    now, later
        Those that take effect at a reload, and those that take a restart: ``section.key``.
    """
    found = list(_differences(old, new, ""))
    return [key for key, late in found if not late], [key for key, late in found if late]


def _differences(old: BaseModel, new: BaseModel, above: str) -> Iterator[tuple[str, bool]]:
    for name, field in type(old).model_fields.items():
        one, other = getattr(old, name), getattr(new, name)
        if isinstance(one, BaseModel):
            yield from _differences(one, other, f"{above}{name}.")
        elif one != other:
            yield f"{above}{name}", at_start(field)


def in_force(old: Section, new: Section) -> Section:
    """Return what is in force after a reload: the new config, but for what takes a restart."""
    kept: dict[str, Any] = {}
    for name, field in type(old).model_fields.items():
        one = getattr(old, name)
        if isinstance(one, BaseModel):
            kept[name] = in_force(one, getattr(new, name))
        elif at_start(field):
            kept[name] = one
    return new.model_copy(update=kept)
