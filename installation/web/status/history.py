"""The last minutes, for sparklines."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from installation.display.metrics import EDGES, Histogram
from installation.web.status.snapshot import StatusSnapshot

_MAX_SAMPLES = 200
SAMPLE_INTERVAL_S = 3.0
MINUTES = round(_MAX_SAMPLES * SAMPLE_INTERVAL_S / 60)

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Sample:
    """Measurements since the previous sample; None where nothing is known.

    Attributes
    ----------
    rate
        Frames shown per second.
    age, age_99
        Median and 99th percentile of the frames' age, seconds.
    overlay
        Median age of the boxes, seconds.
    faces
        Number of faces in the latest frame.
    temperature
        Of the machine, degrees Celsius.
    memory
        Resident memory of the process, bytes.
    """

    rate: float | None = None
    age: float | None = None
    age_99: float | None = None
    overlay: float | None = None
    faces: float | None = None
    temperature: float | None = None
    memory: float | None = None


class History:
    """Keeps samples of the last minutes.

    Attributes
    ----------
    samples
        Oldest first, `SAMPLE_INTERVAL_S` apart.
    """

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=_MAX_SAMPLES)
        self._previous: StatusSnapshot | None = None

    def add(self, snapshot: StatusSnapshot | None, temperature: float | None) -> None:
        """Add a sample.

        Parameters
        ----------
        snapshot
            The latest; None if there is none yet.
        temperature
            Of the machine, degrees Celsius; None if unknown.
        """
        previous, self._previous = self._previous, snapshot
        memory = _resident_bytes()
        if snapshot is None or previous is None or snapshot.at <= previous.at or not snapshot.open:
            self.samples.append(Sample(temperature=temperature, memory=memory))
            return
        shown = snapshot.metrics.presented - previous.metrics.presented
        ages = snapshot.metrics.frame_age.since(previous.metrics.frame_age)
        overlay = snapshot.metrics.overlay_age.since(previous.metrics.overlay_age)
        self.samples.append(
            Sample(
                rate=shown / (snapshot.at - previous.at),
                age=_quantile(ages, 0.5),
                age_99=_quantile(ages, 0.99),
                overlay=_quantile(overlay, 0.5),
                faces=snapshot.faces,
                temperature=temperature,
                memory=memory,
            )
        )

    @property
    def newest(self) -> Sample:
        """The latest sample; an empty one before the first."""
        return self.samples[-1] if self.samples else Sample()

    def values(self, key: Callable[[Sample], float | None]) -> list[float | None]:
        """Return one value of each sample, oldest first."""
        return [key(sample) for sample in self.samples]


def _quantile(histogram: Histogram, q: float) -> float | None:
    # A sparkline has no place for infinity.
    return min(histogram.quantile(q), EDGES[-1]) if histogram.count else None


def _resident_bytes() -> float | None:
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return None


def sparkline(values: Sequence[float | None], width: float, height: float) -> list[str]:
    """Return polylines through values, as the ``points`` of SVG.

    Parameters
    ----------
    values
        Oldest first. The newest is at the right edge, 0 at the bottom and the maximum at the top;
        None leaves a gap.
    width, height
        Size of a full history, in SVG units.

    Examples
    --------
    >>> sparkline([1.0, None, 2.0, 4.0], 199, 8)
    ['196.0,6.0', '198.0,4.0 199.0,0.0']
    """
    maximum = max((value for value in values if value is not None), default=0.0) or 1.0
    lines: list[list[str]] = [[]]
    for index, value in enumerate(values, _MAX_SAMPLES - len(values)):
        if value is None:
            lines.append([])
            continue
        x, y = index * width / (_MAX_SAMPLES - 1), height * (1 - value / maximum)
        lines[-1].append(f"{x:.1f},{y:.1f}")
    return [" ".join(line) for line in lines if line]
