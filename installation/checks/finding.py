"""What the doctor says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "warning", "trouble"]

_MARKS: dict[Level, str] = {"ok": "✔", "warning": "!", "trouble": "✘"}
# Letters that the names of what is looked at have room in.
_WIDTH = 13


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing stands.

    Attributes
    ----------
    about
        What was looked at, in a word or two.
    level
        ``trouble`` keeps the wall from being as the config wants it; a ``warning`` may.
    said
        What was found.
    remedy
        What to do; empty where there is nothing to do.
    """

    about: str
    level: Level
    said: str
    remedy: str = ""

    def __str__(self) -> str:
        said = f"{self.said}; {self.remedy}" if self.remedy else self.said
        return f"{_MARKS[self.level]} {self.about:{_WIDTH}} {' '.join(said.split())}"

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return asdict(self)


def ok(about: str, said: str) -> Finding:
    """All is well with something."""
    return Finding(about, "ok", said)


def warning(about: str, said: str, remedy: str = "") -> Finding:
    """Something is not as it should be, but the wall works."""
    return Finding(about, "warning", said, remedy)


def trouble(about: str, said: str, remedy: str = "") -> Finding:
    """Something keeps the wall from working as the config wants it."""
    return Finding(about, "trouble", said, remedy)
