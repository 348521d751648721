"""Scenes to entries: which words settled on how many people, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from installation.record.entry import Entry, Source, hour_of
from installation.scene import Label, Scene, Track

# Seconds out of view after which a face is gone for good: what vision remembers its word for.
_GONE_AFTER = 3.0


@dataclass(slots=True)
class _OpenEntry:
    """A word on the wall."""

    label: Label
    hour: int
    since: float
    until: float


class SceneCounter:
    """Counts what the wall says.

    A word counts once, when its face has gone or got another word. Only faces count, not the word
    for a picture without any.

    Parameters
    ----------
    policy, engine
        Names of what chooses the words; see `Entry`.
    source
        Where they are shown.
    """

    def __init__(self, policy: str, engine: str, source: Source = "wall") -> None:
        self._policy = policy
        self._engine = engine
        self._source = source
        self._showing: dict[int, _OpenEntry] = {}

    def add(self, scene: Scene, now: float) -> list[Entry]:
        """Take in a scene.

        Parameters
        ----------
        scene
            The next one; those in between may have been left out.
        now
            The time of day, seconds since 1970 in UTC. Durations do not depend on it.

        Returns
        -------
        list of Entry
            What is complete by now.
        """
        over = [
            id_
            for id_, showing in self._showing.items()
            # Should the scenes' own clock be set back, all begins anew.
            if not 0 <= scene.at - showing.until <= _GONE_AFTER
        ]
        entries = [self._end(id_) for id_ in over]
        for track in scene.tracks:
            entries += self._see(track, scene.at, now)
        return entries

    def flush(self) -> list[Entry]:
        """Return what is shown still, as over: at closing, or when another policy begins."""
        return [self._end(id_) for id_ in list(self._showing)]

    def _see(self, track: Track, at: float, now: float) -> list[Entry]:
        if track.verdict is None or not track.verdict.settled:
            return []
        label = track.verdict.label
        showing = self._showing.get(track.id)
        if showing is not None and showing.label.wnid == label.wnid:
            showing.until = at
            return []
        entries = [] if showing is None else [self._end(track.id)]
        self._showing[track.id] = _OpenEntry(label, hour_of(now), at, at)
        return entries

    def _end(self, id_: int) -> Entry:
        showing = self._showing.pop(id_)
        return Entry(
            hour=showing.hour,
            wnid=showing.label.wnid,
            confidence=round(showing.label.score, 3),
            seconds=round(showing.until - showing.since),
            source=self._source,
            policy=self._policy,
            engine=self._engine,
        )
