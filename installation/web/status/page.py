"""The page that shows all of it at a glance. It needs no script: it loads itself anew."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

from jinja2 import Environment, PackageLoader, StrictUndefined

from installation.web.status.health import Health
from installation.web.status.history import MINUTES, History, Sample, sparkline
from installation.web.status.snapshot import StatusSnapshot

_SPARK = 200, 40


@dataclass(frozen=True, slots=True)
class _Tile:
    """A figure, and how it went."""

    name: str
    value: str
    unit: str
    beside: str
    lines: list[str]


class Page:
    """Makes the page.

    Parameters
    ----------
    preview
        Whether it shows what the camera sees.
    """

    def __init__(self, preview: bool) -> None:
        self._preview = preview
        environment = Environment(
            loader=PackageLoader(__package__, "assets"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._template = environment.get_template("page.html")
        self._began = time.monotonic()

    def draw(
        self, report: StatusSnapshot | None, health: Health, history: History, restarts: int | None
    ) -> str:
        """Return it as HTML."""
        return self._template.render(
            host=socket.gethostname(),
            health=health,
            look="ill" if health.faults else "well" if report and report.open else "closed",
            tiles=list(_tiles(history)),
            facts=list(self._facts(report, restarts)),
            minutes=MINUTES,
            spark=_SPARK,
            preview=self._preview and report is not None and report.frame is not None,
        )

    def _facts(
        self, report: StatusSnapshot | None, restarts: int | None
    ) -> Iterator[tuple[str, str]]:
        running = time.monotonic() - self._began
        if report is not None:
            metrics = report.metrics
            losses = _times(report.losses, "loss", "losses")
            yield "camera", f"{report.camera}, {losses} since the start"
            yield "networks on", f"{report.device or 'not open yet'}{_for_now(report)}"
            yield "words by", f"{report.classifier}, policy {report.policy}"
            yield "words given", f"{metrics.labels_given:,}"
            yield "pictures", f"{metrics.presented:,} shown, {metrics.dropped:,} left out"
            ages = "/".join(f"{1000 * metrics.frame_age.quantile(q):.0f}" for q in (0.5, 0.99))
            yield "age since the start", f"{ages} ms (median, 99 %)"
            yield "drawing", f"{1000 * metrics.draw.quantile(0.5):.0f} ms (median)"
            for pulse in report.pulses:
                yield pulse.name, f"answered {pulse.silent:.1f} s ago"
            yield "hours", f"{report.doors}; open for {_span(report.open_seconds)} since the start"
            yield "record", ("pauses" if report.pause else "kept") if report.record else "none"
        again = "" if restarts is None else f", {_times(restarts, 'restart', 'restarts')} by itself"
        yield "running", f"for {_span(running)}{again}"
        yield "version", version("installation")


def _tiles(history: History) -> Iterator[_Tile]:
    newest = history.newest

    def tile(
        name: str,
        what: Callable[[Sample], float | None],
        per: float,
        unit: str,
        form: str = ".0f",
        beside: str = "",
    ) -> _Tile:
        value = what(newest)
        lines = sparkline(history.of(what), *_SPARK)
        if value is None:
            return _Tile(name, "-", "", "", lines)
        return _Tile(name, format(value * per, form), unit, beside, lines)

    yield tile("pictures a second", lambda sample: sample.rate, 1, "", ".1f")
    slow = "" if newest.age_99 is None else f"99 % within {1000 * newest.age_99:.0f} ms"
    yield tile("age of the picture", lambda sample: sample.age, 1000, "ms", beside=slow)
    yield tile("age of the boxes", lambda sample: sample.overlay, 1000, "ms")
    yield tile("faces", lambda sample: sample.faces, 1, "")
    yield tile("temperature", lambda sample: sample.temperature, 1, "°C")
    yield tile("memory", lambda sample: sample.memory, 1 / 2**20, "MB")


def _for_now(report: StatusSnapshot) -> str:
    return " for now, not as asked for" if report.fallback else ""


def _times(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _span(seconds: float) -> str:
    """Say how long something took.

    Examples
    --------
    >>> _span(59), _span(3700), _span(200_000)
    ('59 s', '1 h 1 min', '2 d 7 h')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{rest} s"
