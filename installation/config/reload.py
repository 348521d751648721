"""A config edited while the installation runs: what takes effect at once, and what later."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from installation.config.files import merge_documents, read
from installation.config.model import LAST_GOOD, RESTART_REQUIRED, Config, validate
from installation.config.strict_yaml import ConfigError, compose, dump
from installation.runtime.files import write_atomic

log = logging.getLogger(__name__)

_COPY = LAST_GOOD.name
_HEAD = "# The config that was good last, with all that was laid over it; written by the wall.\n"
Section = TypeVar("Section", bound=BaseModel)


def requires_restart(field: FieldInfo) -> bool:
    """Tell whether a key is read at the start alone."""
    return bool(field.json_schema_extra == RESTART_REQUIRED.json_schema_extra)


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
            yield f"{above}{name}", requires_restart(field)


def apply_changes(old: Section, new: Section) -> Section:
    """Return what is in force after a reload: the new config, but for what takes a restart."""
    kept: dict[str, Any] = {}
    for name, field in type(old).model_fields.items():
        one = getattr(old, name)
        if isinstance(one, BaseModel):
            kept[name] = apply_changes(one, getattr(new, name))
        elif requires_restart(field):
            kept[name] = one
    return new.model_copy(update=kept)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a config's files say at a moment.

    Attributes
    ----------
    texts
        What stands in each of them; None where one cannot be read.
    config
        What they come to; None where they are broken.
    copy
        All of it in one file.
    error
        What is wrong with them.
    may_be_replaced
        Whether what is wrong is that one is missing, out of reach or empty, as a file is for a
        moment while it is being replaced or written.
    """

    texts: tuple[tuple[Path, str], ...] | None
    config: Config | None = None
    copy: str = ""
    error: ConfigError | None = None
    may_be_replaced: bool = False


class ConfigFile:
    """The config of a running installation, and a copy of what was good last.

    A mistake in a file so changes nothing, not even when the machine is started again.

    Parameters
    ----------
    path
        The file; what is laid over it belongs to it.
    state
        Folder for the copy; None keeps none.
    adapt
        Changes what was read, such as by what was said at the command line.

    Attributes
    ----------
    path
        As above.
    complaint
        What is wrong with the files as they are now, in a line; None: nothing.
    """

    def __init__(
        self, path: Path, state: Path | None, adapt: Callable[[Config], Config] | None = None
    ) -> None:
        self.path = path
        self.complaint: str | None = None
        self._copy = state / _COPY if state is not None else None
        self._adapt = adapt
        self._known: tuple[object, str | None] | None = None

    def start(self) -> Config:
        """Return the config to start by: what was good last, should a file be broken.

        Raises
        ------
        ConfigError
            It is broken, and there is no good copy.
        """
        try:
            return self.reread()
        except ConfigError as error:
            try:
                if self._copy is None or not self._copy.exists():
                    raise error from None
                config = validate([compose(self.path, self._copy.read_text(encoding="utf-8"))])
            except (ConfigError, OSError, UnicodeDecodeError):
                raise error from None
            log.error("%s; starting by the last good one, %s", error, self._copy)  # noqa: TRY400
            return config if self._adapt is None else self._adapt(config)

    def reread(self) -> Config:
        """Return the config as it stands in the files.

        Raises
        ------
        ConfigError
            One is broken, or empty, as a file is while it is being written.
        """
        reading = self.look()
        self.accept(reading)
        if reading.config is None:
            raise reading.error or ConfigError(f"{self.path}:1: cannot be used")
        return reading.config

    def look(self) -> Reading:
        """Read the files, and leave it at that."""
        texts = None
        try:
            documents = read(self.path)
            texts = tuple((document.path, document.text) for document in documents)
            for path, text in texts:
                if not text.strip():
                    error = ConfigError(
                        f"{path}:1: is empty; a comment alone asks for the defaults"
                    )
                    return Reading(texts, error=error, may_be_replaced=True)
            config = validate(documents)
        except ConfigError as error:
            gone = isinstance(error.__cause__, OSError)
            return Reading(texts, error=error, may_be_replaced=gone)
        # One file: what is good together is kept together.
        copy = _HEAD + dump(merge_documents(documents))
        return Reading(texts, config if self._adapt is None else self._adapt(config), copy)

    def knows(self, reading: Reading) -> bool:
        """Tell whether the files say what they said when they were last accepted."""
        return self._known == _gist(reading)

    def accept(self, reading: Reading) -> None:
        """Go by what was read from now on: keep a copy if it is good."""
        self._known = _gist(reading)
        self.complaint = None if reading.error is None else str(reading.error)
        if reading.config is not None:
            self._keep(reading.copy)

    def explained(self, error: ConfigError) -> ConfigError:
        """Return what is wrong with the files, and where the copy is should they be gone."""
        gone = isinstance(error.__cause__, FileNotFoundError)
        if gone and self._copy is not None and self._copy.exists():
            return ConfigError(f"{error}; what was good last is kept in {self._copy}")
        return error

    def _keep(self, text: str) -> None:
        if self._copy is None:
            return
        try:
            kept = self._copy.exists() and self._copy.read_text(encoding="utf-8") == text
            if not kept or self._copy.stat().st_mode & 0o077:
                # It holds the tokens and passwords of the config.
                write_atomic(self._copy, text.encode(), 0o600)
        except (OSError, UnicodeDecodeError) as error:
            log.warning("%s: no copy of the config could be kept (%s)", self._copy, error)


def _gist(reading: Reading) -> tuple[object, str | None]:
    return reading.texts, None if reading.error is None else str(reading.error)
