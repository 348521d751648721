"""The one thing that is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["wall", "web"]

_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Entry:
    """A word that settled on somebody.

    Attributes
    ----------
    hour
        In which it settled: whole hours since 1970 in UTC, where each is as long as any other and
        none comes twice; whoever reads them knows the zone. Anything finer would tell who it was.
    wnid
        Synset.
    confidence
        Score when it settled, 0 to 1.
    seconds
        For how long it was shown, whole ones.
    source
        Said on the wall, or to someone who sent a picture.
    policy
        Name of the policy that let it through.
    engine
        Name of the classifier that said it.
    """

    hour: int
    wnid: str
    confidence: float
    seconds: int
    source: Source
    policy: str
    engine: str


def hour_of(now: float) -> int:
    """Return the hour a moment lies in, both since 1970 in UTC; the moment in seconds."""
    return int(now // _HOUR)
