"""What the wall measures while it runs: cheap to update, safe to read from other threads."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from installation.scene import Scene

# Upper bounds in seconds: fine where delays decide whether it feels like a mirror, coarse above.
EDGES = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05),
    *(0.06, 0.075, 0.09, 0.12, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0),
)
_RATE_WINDOW_S = 5.0
# Enough for any crowd; track ids are never reused.
_MAX_TRACKS = 256


class Histogram:
    """Counts durations in fixed buckets, so that memory use stays constant.

    Attributes
    ----------
    counts
        Durations in each bucket, not cumulative: one per entry of ``EDGES``, and a last one for
        all above.
    total
        Sum of all durations, seconds.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(EDGES) + 1)
        self.total = 0.0

    def add(self, duration_s: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(EDGES, duration_s)] += 1
        self.total += duration_s

    @property
    def count(self) -> int:
        """Number of durations counted."""
        return sum(self.counts)

    def quantile(self, q: float) -> float:
        """Return the upper bound, in seconds, of the bucket with the q-quantile (0 to 1).

        0 while nothing has been counted.
        """
        counts = list(self.counts)
        remaining = q * sum(counts)
        for edge, count in zip((*EDGES, float("inf")), counts, strict=True):
            remaining -= count
            if count and remaining <= 0:
                return edge
        return 0.0

    def copy(self) -> Histogram:
        """Return a copy that later counts do not change."""
        copied = Histogram()
        copied.counts, copied.total = self.counts.copy(), self.total
        return copied

    def since(self, earlier: Histogram) -> Histogram:
        """Return what was added after an earlier copy was made."""
        added = Histogram()
        added.counts = [b - a for a, b in zip(earlier.counts, self.counts, strict=True)]
        added.total = self.total - earlier.total
        return added


@dataclass(slots=True)
class Metrics:
    """Counts and durations of one wall since it started.

    Attributes
    ----------
    frame_age
        Time from the capture of a frame until it is on the screen.
    overlay_age
        Time from the capture of the frame in which the boxes were found until they are on the
        screen.
    draw_duration
        Time from taking a frame until it is on the screen.
    presented
        Frames shown.
    dropped
        Frames captured but not shown.
    labels_given
        Labels that settled on a face.
    """

    frame_age: Histogram = field(default_factory=Histogram)
    overlay_age: Histogram = field(default_factory=Histogram)
    draw_duration: Histogram = field(default_factory=Histogram)
    presented: int = 0
    dropped: int = 0
    labels_given: int = 0
    _presented_at: deque[float] = field(default_factory=lambda: deque(maxlen=1024))
    _settled: dict[int, str] = field(default_factory=dict)

    def present(
        self, at: float, captured_at: float, scene_at: float | None, draw_duration_s: float
    ) -> None:
        """Count a frame that is on the screen.

        Parameters
        ----------
        at
            Now, monotonic seconds.
        captured_at
            When the frame was captured, monotonic seconds.
        scene_at
            When the frame in which its boxes were found was captured, monotonic seconds; None
            without boxes.
        draw_duration_s
            How long drawing took, seconds.
        """
        self.frame_age.add(at - captured_at)
        if scene_at is not None:
            self.overlay_age.add(at - scene_at)
        self.draw_duration.add(draw_duration_s)
        self.presented += 1
        self._presented_at.append(at)

    def copy(self) -> Metrics:
        """Return a copy that later counts do not change; its `rate` is 0."""
        histograms = self.frame_age.copy(), self.overlay_age.copy(), self.draw_duration.copy()
        return Metrics(*histograms, self.presented, self.dropped, self.labels_given)

    def count_settled_labels(self, scene: Scene) -> None:
        """Count the faces of a scene whose label has settled, or has changed since."""
        for track in scene.tracks:
            if track.verdict is None or not track.verdict.settled:
                continue
            wnid = track.verdict.label.wnid
            if self._settled.get(track.id) != wnid:
                self._settled[track.id] = wnid
                self.labels_given += 1
        while len(self._settled) > _MAX_TRACKS:
            del self._settled[next(iter(self._settled))]

    def rate(self, at: float) -> float:
        """Return the frames per second of the last five seconds, seen from a monotonic time."""
        recent = [each for each in tuple(self._presented_at) if at - each <= _RATE_WINDOW_S]
        return (len(recent) - 1) / (at - recent[0]) if len(recent) > 1 else 0.0

    def as_text(self, at: float) -> str:
        """Return the line that technicians may show on the screen."""
        ages = "/".join(f"{1000 * self.frame_age.quantile(q):.0f}" for q in (0.5, 0.99))
        return (
            f"{self.rate(at):.1f} frames per second, {self.dropped} dropped, age {ages} ms, "
            f"boxes {1000 * self.overlay_age.quantile(0.5):.0f} ms, "
            f"drawing {1000 * self.draw_duration.quantile(0.5):.0f} ms"
        )
