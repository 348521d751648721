"""Turn scenes into entries: which words settled on how many faces, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from installation.record.entry import Entry, Source, hour_of
from installation.scene import Label, Scene, Track

# A face out of view for longer is gone for good: vision has forgotten its word by then.
_GONE_AFTER_S = 3.0


@dataclass(slots=True)
class _OpenEntry:
    """A word that is still on the screen."""

    label: Label
    hour: int
    since: float
    until: float


class SceneCounter:
    """Counts the words shown.

    A word counts once, when its face has left or got another word. Only words on faces count, not
    the word for a whole frame.

    Parameters
    ----------
    policy, engine
        Names of the policy and the classifier; see `Entry`.
    source
        Where the words are shown.
    """

    def __init__(self, policy: str, engine: str, source: Source = "wall") -> None:
        self._policy = policy
        self._engine = engine
        self._source = source
        self._open: dict[int, _OpenEntry] = {}

    def add(self, scene: Scene, now: float) -> list[Entry]:
        """Count the words of a scene.

        Parameters
        ----------
        scene
            The next scene; scenes may have been skipped.
        now
            Current time, seconds since 1970 in UTC. Durations do not depend on it.

        Returns
        -------
        list of Entry
            Entries that are complete now.
        """
        ended = [
            id_
            for id_, entry in self._open.items()
            # If the scenes' own clock goes back, everything starts afresh.
            if not 0 <= scene.at - entry.until <= _GONE_AFTER_S
        ]
        entries = [self._close(id_) for id_ in ended]
        for track in scene.tracks:
            entries += self._add_track(track, scene.at, now)
        return entries

    def flush(self) -> list[Entry]:
        """Complete all entries: at closing, or before another policy applies."""
        return [self._close(id_) for id_ in list(self._open)]

    def _add_track(self, track: Track, at: float, now: float) -> list[Entry]:
        if track.verdict is None or not track.verdict.settled:
            return []
        label = track.verdict.label
        entry = self._open.get(track.id)
        if entry is not None and entry.label.wnid == label.wnid:
            entry.until = at
            return []
        entries = [] if entry is None else [self._close(track.id)]
        self._open[track.id] = _OpenEntry(label, hour_of(now), at, at)
        return entries

    def _close(self, id_: int) -> Entry:
        entry = self._open.pop(id_)
        return Entry(
            hour=entry.hour,
            wnid=entry.label.wnid,
            confidence=round(entry.label.score, 3),
            seconds=round(entry.until - entry.since),
            source=self._source,
            policy=self._policy,
            engine=self._engine,
        )
