"""One entry of the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["wall", "web"]

_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Entry:
    """A word that settled on one face.

    Attributes
    ----------
    hour
        When it settled, whole hours since 1970 in UTC: no hour is skipped or repeated by daylight
        saving time. A finer time could identify the visitor.
    wnid
        WordNet identifier of the synset.
    confidence
        Score when the word settled, 0 to 1.
    seconds
        How long the word was shown, whole seconds.
    source
        Shown on the screen (``wall``) or for an uploaded image (``web``).
    policy
        Name of the policy that allowed the word.
    engine
        Name of the classifier that chose the word.
    """

    hour: int
    wnid: str
    confidence: float
    seconds: int
    source: Source
    policy: str
    engine: str


def hour_of(now: float) -> int:
    """Return the hour since 1970 of a time in seconds since 1970, both in UTC."""
    return int(now // _HOUR)
