"""Reload a config while the installation runs: which changes apply at once, which at a restart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from installation.config import files
from installation.config.files import merge_documents
from installation.config.loader import LAST_GOOD, validate
from installation.config.model import RESTART_REQUIRED, Config
from installation.config.strict_yaml import ConfigError, dump, parse
from installation.runtime.files import write_atomic

log = logging.getLogger(__name__)

_COPY_NAME = LAST_GOOD.name
_COPY_HEADER = "# Written by the installation: its last good config, overrides included.\n"
Section = TypeVar("Section", bound=BaseModel)


def requires_restart(field: FieldInfo) -> bool:
    """Return whether a change of this key applies at a restart only."""
    return bool(field.json_schema_extra == RESTART_REQUIRED.json_schema_extra)


def changes(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Return the keys in which two configs differ, as ``section.key``.

    Returns
    -------
    now, later
        Keys whose change applies at once, and keys whose change applies at a restart.
    """
    found = list(_differences(old, new, ""))
    return [key for key, later in found if not later], [key for key, later in found if later]


def _differences(old: BaseModel, new: BaseModel, above: str) -> Iterator[tuple[str, bool]]:
    for name, field in type(old).model_fields.items():
        one, other = getattr(old, name), getattr(new, name)
        if isinstance(one, BaseModel):
            yield from _differences(one, other, f"{above}{name}.")
        elif one != other:
            yield f"{above}{name}", requires_restart(field)


def apply_changes(old: Section, new: Section) -> Section:
    """Return the config in effect after a reload: ``new``, except keys that require a restart."""
    unchanged: dict[str, Any] = {}
    for name, field in type(old).model_fields.items():
        one = getattr(old, name)
        if isinstance(one, BaseModel):
            unchanged[name] = apply_changes(one, getattr(new, name))
        elif requires_restart(field):
            unchanged[name] = one
    return new.model_copy(update=unchanged)


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of reading a config's files once.

    Attributes
    ----------
    texts
        Path and content of each file; None if one cannot be read.
    config
        The config; None if it is invalid.
    copy
        The config and its overlays, merged into the text of one file.
    error
        Why the config is invalid; None if it is valid.
    may_be_replaced
        Whether the error is a missing, unreachable or empty file: files are so for a moment while
        they are being replaced or written.
    """

    texts: tuple[tuple[Path, str], ...] | None
    config: Config | None = None
    copy: str = ""
    error: ConfigError | None = None
    may_be_replaced: bool = False


class ConfigFile:
    """The config of a running installation, and a copy of its last good state.

    Because of the copy, an error in a file changes nothing, not even after a restart.

    Parameters
    ----------
    path
        The config file; its overlays are read too.
    state
        Folder for the copy; None: no copy.
    adapt
        Applied to every config that is read, to override keys from the command line.

    Attributes
    ----------
    path
        The config file.
    error
        One line on what is wrong with the files now; None if they are valid.
    """

    def __init__(
        self, path: Path, state: Path | None, adapt: Callable[[Config], Config] | None = None
    ) -> None:
        self.path = path
        self.error: str | None = None
        self._copy = state / _COPY_NAME if state is not None else None
        self._adapt = adapt
        self._known: tuple[object, str | None] | None = None

    def start(self) -> Config:
        """Return the config to start with; the last good one if the files are invalid.

        Raises
        ------
        ConfigError
            The files are invalid and there is no good copy.
        """
        try:
            return self.reread()
        except ConfigError as error:
            try:
                if self._copy is None or not self._copy.exists():
                    raise error from None
                config = validate([parse(self.path, self._copy.read_text(encoding="utf-8"))])
            except (ConfigError, OSError, UnicodeDecodeError):
                raise error from None
            log.error("%s; starting with the last good config, %s", error, self._copy)  # noqa: TRY400
            return config if self._adapt is None else self._adapt(config)

    def reread(self) -> Config:
        """Read the files and return the config.

        Raises
        ------
        ConfigError
            A file is invalid, or empty, as it is while it is being written.
        """
        reading = self.read()
        self.accept(reading)
        if reading.config is None:
            raise reading.error or ConfigError(f"{self.path}:1: invalid config")
        return reading.config

    def read(self) -> Reading:
        """Read the files without changing anything."""
        texts = None
        try:
            documents = files.read(self.path)
            texts = tuple((document.path, document.text) for document in documents)
            for path, text in texts:
                if not text.strip():
                    error = ConfigError(f"{path}:1: is empty; for the defaults write a comment")
                    return Reading(texts, error=error, may_be_replaced=True)
            config = validate(documents)
        except ConfigError as error:
            unreadable = isinstance(error.__cause__, OSError)
            return Reading(texts, error=error, may_be_replaced=unreadable)
        # In one file: its parts are only known to be good together.
        copy = _COPY_HEADER + dump(merge_documents(documents))
        return Reading(texts, config if self._adapt is None else self._adapt(config), copy)

    def is_known(self, reading: Reading) -> bool:
        """Return whether a reading equals the one accepted last."""
        return self._known == _fingerprint(reading)

    def accept(self, reading: Reading) -> None:
        """Remember a reading, and write the copy if its config is valid."""
        self._known = _fingerprint(reading)
        self.error = None if reading.error is None else str(reading.error)
        if reading.config is not None:
            self._write_copy(reading.copy)

    def with_hint(self, error: ConfigError) -> ConfigError:
        """Return an error that names the copy too if the config file is missing."""
        missing = isinstance(error.__cause__, FileNotFoundError)
        if missing and self._copy is not None and self._copy.exists():
            return ConfigError(f"{error}; the last good config is kept in {self._copy}")
        return error

    def _write_copy(self, text: str) -> None:
        if self._copy is None:
            return
        try:
            up_to_date = self._copy.exists() and self._copy.read_text(encoding="utf-8") == text
            if not up_to_date or self._copy.stat().st_mode & 0o077:
                # It contains the config's tokens and passwords.
                write_atomic(self._copy, text.encode(), 0o600)
        except (OSError, UnicodeDecodeError) as error:
            log.warning("%s: cannot write the copy of the config (%s)", self._copy, error)


def _fingerprint(reading: Reading) -> tuple[object, str | None]:
    return reading.texts, None if reading.error is None else str(reading.error)
