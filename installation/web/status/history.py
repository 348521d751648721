"""The last minutes, for sparklines."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from installation.display.metrics import BUCKET_EDGES_S, Histogram
from installation.web.status.snapshot import StatusSnapshot

# Samples that are kept, and seconds from one to the next.
_KEPT = 200
EVERY = 3.0
MINUTES = round(_KEPT * EVERY / 60)

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Sample:
    """What happened since the sample before; None is nothing, or not known.

    Attributes
    ----------
    rate
        Frames shown a second.
    age, age_99, overlay
        Seconds: median and 99th percentile of the frames' age, median of that of boxes.
    faces
        In the last frame.
    temperature
        Degrees Celsius.
    memory
        Of the process, bytes.
    """

    rate: float | None = None
    age: float | None = None
    age_99: float | None = None
    overlay: float | None = None
    faces: float | None = None
    temperature: float | None = None
    memory: float | None = None


class History:
    """Takes samples of reports.

    Attributes
    ----------
    samples
        The oldest first, `EVERY` seconds apart.
    """

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=_KEPT)
        self._before: StatusSnapshot | None = None

    def take(self, report: StatusSnapshot | None, temperature: float | None) -> None:
        """Take the next sample, and the machine's temperature with it."""
        before, self._before = self._before, report
        memory = _resident()
        if report is None or before is None or report.at <= before.at or not report.open:
            self.samples.append(Sample(temperature=temperature, memory=memory))
            return
        shown = report.metrics.presented - before.metrics.presented
        ages = report.metrics.frame_age.since(before.metrics.frame_age)
        overlay = report.metrics.overlay_age.since(before.metrics.overlay_age)
        self.samples.append(
            Sample(
                rate=shown / (report.at - before.at),
                age=_quantile(ages, 0.5),
                age_99=_quantile(ages, 0.99),
                overlay=_quantile(overlay, 0.5),
                faces=report.faces,
                temperature=temperature,
                memory=memory,
            )
        )

    @property
    def newest(self) -> Sample:
        """The last sample; one that knows nothing before the first."""
        return self.samples[-1] if self.samples else Sample()

    def of(self, what: Callable[[Sample], float | None]) -> list[float | None]:
        """Return one value of all samples, the oldest first."""
        return [what(sample) for sample in self.samples]


def _quantile(histogram: Histogram, share: float) -> float | None:
    # What is beyond the last edge is drawn there.
    return min(histogram.quantile(share), BUCKET_EDGES_S[-1]) if histogram.count else None


def _resident() -> float | None:
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return None


def sparkline(values: Sequence[float | None], width: float, height: float) -> list[str]:
    """Return lines through values as SVG's points, the newest at the right.

    Parameters
    ----------
    values
        The oldest first, 0 at the bottom, the greatest at the top; where there is none is a gap.
    width, height
        That as many samples as are kept take.

    Examples
    --------
    >>> sparkline([1.0, None, 2.0, 4.0], 199, 8)
    ['196.0,6.0', '198.0,4.0 199.0,0.0']
    """
    greatest = max((value for value in values if value is not None), default=0.0) or 1.0
    lines: list[list[str]] = [[]]
    for place, value in enumerate(values, _KEPT - len(values)):
        if value is None:
            lines.append([])
            continue
        x, y = place * width / (_KEPT - 1), height * (1 - value / greatest)
        lines[-1].append(f"{x:.1f},{y:.1f}")
    return [" ".join(line) for line in lines if line]
