"""The status page: everything at a glance, without a script; it reloads itself."""

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

_SPARKLINE_SIZE = 200, 40


@dataclass(frozen=True, slots=True)
class _Tile:
    """A figure and its sparkline."""

    name: str
    value: str
    unit: str
    note: str
    lines: list[str]


class Page:
    """Renders the page.

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
        self._started_at = time.monotonic()

    def render(
        self,
        snapshot: StatusSnapshot | None,
        health: Health,
        history: History,
        restarts: int | None,
    ) -> str:
        """Return the page as HTML.

        Parameters
        ----------
        snapshot
            The latest; None if there is none yet.
        health
            Its evaluation.
        history
            For the sparklines.
        restarts
            By the service manager; None without one.
        """
        is_open = snapshot is not None and snapshot.open
        return self._template.render(
            host=socket.gethostname(),
            health=health,
            state="faulty" if health.faults else "healthy" if is_open else "closed",
            tiles=list(_tiles(history)),
            facts=list(self._facts(snapshot, restarts)),
            minutes=MINUTES,
            sparkline_size=_SPARKLINE_SIZE,
            preview=self._preview and snapshot is not None and snapshot.frame is not None,
        )

    def _facts(
        self, snapshot: StatusSnapshot | None, restarts: int | None
    ) -> Iterator[tuple[str, str]]:
        if snapshot is not None:
            metrics = snapshot.metrics
            disconnects = _count(snapshot.camera_disconnects, "disconnect", "disconnects")
            yield "camera", f"{snapshot.camera}, {disconnects} since the start"
            fallback = " (fallback)" if snapshot.fallback else ""
            yield "inference on", f"{snapshot.device or 'not ready yet'}{fallback}"
            yield "classifier", f"{snapshot.classifier}, policy {snapshot.policy}"
            yield "words given", f"{metrics.labels_given:,}"
            yield "frames", f"{metrics.presented:,} shown, {metrics.dropped:,} dropped"
            ages = "/".join(f"{1000 * metrics.frame_age.quantile(q):.0f}" for q in (0.5, 0.99))
            yield "frame age", f"{ages} ms (median, 99th percentile) since the start"
            yield "drawing", f"{1000 * metrics.draw_duration.quantile(0.5):.0f} ms (median)"
            for worker in snapshot.workers:
                yield worker.name, f"last heartbeat {worker.heartbeat_age_s:.1f} s ago"
            open_for = _duration(snapshot.open_seconds)
            yield "hours", f"{snapshot.hours_text}; open for {open_for} since the start"
            yield "record", _recording(snapshot)
        again = "" if restarts is None else f", {_count(restarts, 'restart', 'restarts')}"
        yield "running", f"for {_duration(time.monotonic() - self._started_at)}{again}"
        yield "version", version("installation")


def _tiles(history: History) -> Iterator[_Tile]:
    newest = history.newest

    def tile(
        name: str,
        key: Callable[[Sample], float | None],
        scale: float,
        unit: str,
        number_format: str = ".0f",
        note: str = "",
    ) -> _Tile:
        value = key(newest)
        lines = sparkline(history.values(key), *_SPARKLINE_SIZE)
        if value is None:
            return _Tile(name, "-", "", "", lines)
        return _Tile(name, format(value * scale, number_format), unit, note, lines)

    yield tile("frames per second", lambda sample: sample.rate, 1, "", ".1f")
    slowest = "" if newest.age_99 is None else f"99 % below {1000 * newest.age_99:.0f} ms"
    yield tile("frame age", lambda sample: sample.age, 1000, "ms", note=slowest)
    yield tile("box age", lambda sample: sample.overlay, 1000, "ms")
    yield tile("faces", lambda sample: sample.faces, 1, "")
    yield tile("temperature", lambda sample: sample.temperature, 1, "°C")
    yield tile("memory", lambda sample: sample.memory, 1 / 2**20, "MB")


def _recording(snapshot: StatusSnapshot) -> str:
    if snapshot.record is None:
        return "off"
    return "on" if snapshot.recording_error is None else "paused"


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _duration(seconds: float) -> str:
    """Return a duration in its two largest units.

    Examples
    --------
    >>> _duration(59), _duration(3700), _duration(200_000)
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
