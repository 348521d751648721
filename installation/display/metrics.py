"""Metrics of what is shown: cheap to update, safe to read from other threads."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from installation.scene import Scene

# Fine where delays are still felt as a mirror, coarse above.
BUCKET_EDGES_S = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05),
    *(0.06, 0.075, 0.09, 0.12, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0),
)
# Period over which the frame rate is averaged.
_RATE_WINDOW_S = 5.0
# Tracks whose label is remembered; ids are never reused.
_MAX_TRACKS = 256


class Histogram:
    """Histogram of durations, of constant size.

    Attributes
    ----------
    counts
        Durations per bucket: up to each of ``BUCKET_EDGES_S``, and above the last.
    total
        Sum of all durations, seconds.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKET_EDGES_S) + 1)
        self.total = 0.0

    def add(self, duration_s: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(BUCKET_EDGES_S, duration_s)] += 1
        self.total += duration_s

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """Return the upper bucket edge of a quantile (0 to 1), seconds; 0 while empty."""
        counts = list(self.counts)
        wanted = share * sum(counts)
        for edge, count in zip((*BUCKET_EDGES_S, float("inf")), counts, strict=True):
            wanted -= count
            if count and wanted <= 0:
                return edge
        return 0.0

    def copy(self) -> Histogram:
        """Return a copy."""
        copied = Histogram()
        copied.counts, copied.total = self.counts.copy(), self.total
        return copied

    def since(self, earlier: Histogram) -> Histogram:
        """Return what was added since an earlier copy."""
        added = Histogram()
        added.counts = [b - a for a, b in zip(earlier.counts, self.counts, strict=True)]
        added.total = self.total - earlier.total
        return added


@dataclass(slots=True)
class Metrics:
    """What was shown since the start.

    Attributes
    ----------
    frame_age, overlay_age
        Age of each frame, and of the frame in which its boxes were detected, when presented.
    draw
        Time to draw and present each frame.
    presented, dropped
        Number of frames shown, and of frames captured but not shown.
    labels_given
        Number of labels that settled on a face.
    """

    frame_age: Histogram = field(default_factory=Histogram)
    overlay_age: Histogram = field(default_factory=Histogram)
    draw: Histogram = field(default_factory=Histogram)
    presented: int = 0
    dropped: int = 0
    labels_given: int = 0
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=1024))
    _labels: dict[int, str] = field(default_factory=dict)

    def present(self, at: float, captured_at: float, scene_at: float | None, draw_s: float) -> None:
        """Count a presented frame.

        Parameters
        ----------
        at
            Current time, monotonic seconds.
        captured_at, scene_at
            Capture times of the frame and of the frame in which its boxes were detected, if any.
        draw_s
            Time to draw and present the frame, seconds.
        """
        self.frame_age.add(at - captured_at)
        if scene_at is not None:
            self.overlay_age.add(at - scene_at)
        self.draw.add(draw_s)
        self.presented += 1
        self._recent.append(at)

    def copy(self) -> Metrics:
        """Return a copy without the data for the frame rate."""
        ages = self.frame_age.copy(), self.overlay_age.copy(), self.draw.copy()
        return Metrics(*ages, self.presented, self.dropped, self.labels_given)

    def count_settled_labels(self, scene: Scene) -> None:
        """Count the labels that have settled on a face since the last scene."""
        for track in scene.tracks:
            if track.verdict is None or not track.verdict.settled:
                continue
            wnid = track.verdict.label.wnid
            if self._labels.get(track.id) != wnid:
                self._labels[track.id] = wnid
                self.labels_given += 1
        while len(self._labels) > _MAX_TRACKS:
            del self._labels[next(iter(self._labels))]

    def rate(self, at: float) -> float:
        """Return the recent frame rate, frames per second."""
        recent = [each for each in tuple(self._recent) if at - each <= _RATE_WINDOW_S]
        return (len(recent) - 1) / (at - recent[0]) if len(recent) > 1 else 0.0

    def as_text(self, at: float) -> str:
        """Return a one-line summary for technicians."""
        ages = "/".join(f"{1000 * self.frame_age.quantile(share):.0f}" for share in (0.5, 0.99))
        return (
            f"{self.rate(at):.1f} fps, {self.dropped} dropped, age {ages} ms, "
            f"boxes {1000 * self.overlay_age.quantile(0.5):.0f} ms, "
            f"drawing {1000 * self.draw.quantile(0.5):.0f} ms"
        )
