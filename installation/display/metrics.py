"""What the wall measures of itself while it runs: cheap to add to, safe to read from elsewhere."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from installation.scene import Scene

# Upper edges in seconds: fine where a mirror is judged, coarse where it is no mirror any more.
EDGES = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05),
    *(0.06, 0.075, 0.09, 0.12, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0),
)
# The rate is that of the last so many seconds.
_RECENT = 5.0
# Faces of which it is remembered that they have their word; ids are never reused.
_NAMED = 256


class Histogram:
    """Counts durations by size; takes the same room however many there were.

    Attributes
    ----------
    counts
        How many up to each of ``EDGES``, and beyond the last, each bucket for itself.
    total
        Sum of all, seconds.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(EDGES) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(EDGES, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """Return the upper edge below which a share (0 to 1) lies, seconds; 0 while empty."""
        counts = list(self.counts)
        wanted = share * sum(counts)
        for edge, count in zip((*EDGES, float("inf")), counts, strict=True):
            wanted -= count
            if count and wanted <= 0:
                return edge
        return 0.0

    def copy(self) -> Histogram:
        """Return it as it is now."""
        copied = Histogram()
        copied.counts, copied.total = self.counts.copy(), self.total
        return copied

    def since(self, earlier: Histogram) -> Histogram:
        """Return what has been added to an earlier copy."""
        added = Histogram()
        added.counts = [b - a for a, b in zip(earlier.counts, self.counts, strict=True)]
        added.total = self.total - earlier.total
        return added


@dataclass(slots=True)
class Metrics:
    """Of one wall since it began.

    Attributes
    ----------
    frame_age, overlay_age
        From the capture of a frame, and of the one its boxes were found in, until it is on the
        screen.
    draw
        From taking a frame until the screen has it.
    presented, dropped
        Frames shown, and captured but not shown.
    named
        Words that settled on a face.
    """

    frame_age: Histogram = field(default_factory=Histogram)
    overlay_age: Histogram = field(default_factory=Histogram)
    draw: Histogram = field(default_factory=Histogram)
    presented: int = 0
    dropped: int = 0
    named: int = 0
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=1024))
    _words: dict[int, str] = field(default_factory=dict)

    def present(self, at: float, captured_at: float, scene_at: float | None, drawn: float) -> None:
        """Note that a frame is on the screen.

        Parameters
        ----------
        at
            Now, monotonic seconds.
        captured_at, scene_at
            When it was captured, and the frame its boxes were found in, if any.
        drawn
            How long drawing took, seconds.
        """
        self.frame_age.add(at - captured_at)
        if scene_at is not None:
            self.overlay_age.add(at - scene_at)
        self.draw.add(drawn)
        self.presented += 1
        self._recent.append(at)

    def copy(self) -> Metrics:
        """Return what has been measured up to now; of the rate nothing."""
        ages = self.frame_age.copy(), self.overlay_age.copy(), self.draw.copy()
        return Metrics(*ages, self.presented, self.dropped, self.named)

    def name(self, scene: Scene) -> None:
        """Note which faces have got their word, or another one."""
        for track in scene.tracks:
            if track.verdict is None or not track.verdict.settled:
                continue
            wnid = track.verdict.label.wnid
            if self._words.get(track.id) != wnid:
                self._words[track.id] = wnid
                self.named += 1
        while len(self._words) > _NAMED:
            del self._words[next(iter(self._words))]

    def rate(self, at: float) -> float:
        """Frames shown a second, of late."""
        recent = [each for each in tuple(self._recent) if at - each <= _RECENT]
        return (len(recent) - 1) / (at - recent[0]) if len(recent) > 1 else 0.0

    def as_text(self, at: float) -> str:
        """Say it in a line, as a technician would want it on the wall."""
        ages = "/".join(f"{1000 * self.frame_age.quantile(share):.0f}" for share in (0.5, 0.99))
        return (
            f"{self.rate(at):.1f} pictures a second, {self.dropped} left out, age {ages} ms, "
            f"boxes {1000 * self.overlay_age.quantile(0.5):.0f} ms, "
            f"drawing {1000 * self.draw.quantile(0.5):.0f} ms"
        )
