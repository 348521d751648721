"""The result of one check."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "warning", "error"]

_MARKS: dict[Level, str] = {"ok": "✔", "warning": "!", "error": "✘"}
# Column width of the checks' names, characters.
_NAME_WIDTH = 13


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check.

    Attributes
    ----------
    check
        Name of the check, such as ``camera``.
    level
        ``error``: the installation does not work as configured; ``warning``: it may not.
    message
        What was found.
    remedy
        What to do about it; empty: nothing.
    """

    check: str
    level: Level
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.message}; {self.remedy}" if self.remedy else self.message
        return f"{_MARKS[self.level]} {self.check:{_NAME_WIDTH}} {' '.join(text.split())}"

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``check --json`` prints."""
        return asdict(self)


def ok(check: str, message: str) -> Finding:
    """Return a finding that everything is in order."""
    return Finding(check, "ok", message)


def warning(check: str, message: str, remedy: str = "") -> Finding:
    """Return a finding that something is wrong, though the installation works."""
    return Finding(check, "warning", message, remedy)


def error(check: str, message: str, remedy: str = "") -> Finding:
    """Return a finding that the installation does not work as configured."""
    return Finding(check, "error", message, remedy)
