"""How long the installation takes to start and to stop, and its CPU usage while it waits.

    python -m tests.benchmarks.recovery [--times 20] [--json]

Each row is measured that many times, with ``installation run`` on its own X server, and compared
with its limit. Exit status 1 if a limit is exceeded.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines.build import build
from tests.wall_process import ROOT, Running, x_server

_CLOSED = "hours: {closed: [01-01..12-31]}\n"
_HANGS = """
import time
from installation.vision.pipeline import VisionPipeline
healthy, calls = VisionPipeline.observe, []
def hang(*arguments):
    calls.append(None)
    if len(calls) == 20:
        open("hung", "w").close()
        time.sleep(3600)
    return healthy(*arguments)
VisionPipeline.observe = hang
"""
# CPU usage is measured for so long.
_CPU_WINDOW_S = 10.0


class Scenarios:
    """The rows: each method runs a scenario once and returns a figure."""

    def __init__(self, folder: Path, built: Path, display: str) -> None:
        self._folder = folder
        self._built = built
        self._display = display
        self._chance = random.Random(6)

    def _start(self, camera: str = "demo", more: str = "", patch: str = "") -> Running:
        (self._folder / "config.yaml").write_text(
            f"camera: {{source: {camera}, width: 320, height: 240}}\n"
            f"inference: {{engines: {self._built}, device: cpu}}\n"
            f"record: {{file: null}}\nstatus: {{port: null}}\n{more}"
        )
        return Running(self._folder, self._display, patch)

    def _until_it_ends(self, wall: Running) -> float:
        began = time.monotonic()
        wall.process.wait(60)
        wall.close()
        return time.monotonic() - began

    def start(self) -> float:
        """Seconds from the start of the process to the first frames in its status."""
        began = time.monotonic()
        wall = self._start()
        wall.wait_for("camera demo")
        took = time.monotonic() - began
        wall.close()
        return took

    def stops(self) -> float:
        """Seconds from SIGTERM, at a random time in its first seconds, to the end."""
        wall = self._start()
        time.sleep(self._chance.uniform(0, 6))
        wall.send(signal.SIGTERM)
        return self._until_it_ends(wall)

    def stage_hangs(self) -> float:
        """Seconds from when vision hangs to the end of the process."""
        hung = self._folder / "hung"
        hung.unlink(missing_ok=True)
        wall = self._start(patch=_HANGS)
        while not hung.exists():
            time.sleep(0.01)
        return self._until_it_ends(wall)

    def screen_dies(self) -> float:
        """Seconds from the end of the X server to the end of the process."""
        with x_server() as (server, display):
            self._display, before = display, self._display
            wall = self._start()
            self._display = before
            wall.wait_for("camera demo")
            server.kill()
            return self._until_it_ends(wall)

    def without_camera(self) -> float:
        """CPU usage without a camera, per cent of a core."""
        return self._share("/dev/video987", "", "no camera there")

    def while_closed(self) -> float:
        """CPU usage outside the opening hours, per cent of a core."""
        return self._share("demo", _CLOSED, "STATUS=closed")

    def _share(self, camera: str, more: str, told: str) -> float:
        wall = self._start(camera, more)
        wall.wait_for(told, times=3)
        busy, began = wall.processor_seconds, time.monotonic()
        time.sleep(_CPU_WINDOW_S)
        share = (wall.processor_seconds - busy) / (time.monotonic() - began)
        wall.end()
        wall.close()
        return 100 * share


# Scenario, description, limit, and whether it is quick enough to repeat often.
ROWS: tuple[tuple[Callable[[Scenarios], float], str, float | None, bool], ...] = (
    (Scenarios.start, "s from start to frames", None, True),
    (Scenarios.stops, "s from SIGTERM to the end", 2.0, True),
    (Scenarios.stage_hangs, "s from the hang of a worker to the end", 13.0, False),
    (Scenarios.screen_dies, "s from the end of the X server to the end", 2.0, True),
    (Scenarios.without_camera, "% of a core without a camera", 5.0, False),
    (Scenarios.while_closed, "% of a core while closed", 5.0, False),
)


def main() -> int:
    """Measure and print all rows; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=20, metavar="N", help="times (default 20)")
    parser.add_argument("--json", action="store_true", help="print one object")
    arguments = parser.parse_args()
    built = ROOT / "engines" / "built"
    build(built, print if not arguments.json else lambda _line: None)
    found = []
    with tempfile.TemporaryDirectory() as folder, x_server() as (_, display):
        scenarios = Scenarios(Path(folder), built, display)
        for row, description, limit, often in ROWS:
            times = arguments.times if often else max(arguments.times // 5, 1)
            figures = [row(scenarios) for _ in range(times)]
            found.append(
                {
                    "what": description,
                    "times": times,
                    "median": round(float(np.median(figures)), 2),
                    "max": round(max(figures), 2),
                    "limit": limit,
                    "ok": limit is None or max(figures) <= limit,
                }
            )
            if not arguments.json:
                last = found[-1]
                print(
                    f"{last['median']:6.2f} {last['max']:6.2f}  {description}, median and maximum "
                    f"of {times}{'' if last['ok'] else f': above the limit of {limit:g}'}",
                    flush=True,
                )
    if arguments.json:
        print(json.dumps(found))
    return 0 if all(each["ok"] for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
