"""How long the whole program takes to end and to come back, and what it costs while it waits.

    python -m tests.benchmarks.recovery [--times 20] [--json]

Each row is played so many times, with ``installation run`` on an X server of its own, and compared
with what is promised. Ends with status 1 where a promise is broken.
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
# Seconds over which the processor's time is taken.
_WHILE = 10.0


class Play:
    """The rows, each a function that plays once and returns a figure."""

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
        """Seconds from the start of the process to the first pictures told."""
        began = time.monotonic()
        wall = self._start()
        wall.wait_for("camera demo")
        took = time.monotonic() - began
        wall.close()
        return took

    def told_to_stop(self) -> float:
        """Seconds from SIGTERM, at any moment of its first seconds, to the end."""
        wall = self._start()
        time.sleep(self._chance.uniform(0, 6))
        wall.send(signal.SIGTERM)
        return self._until_it_ends(wall)

    def stage_hangs(self) -> float:
        """Seconds from when vision hangs to the end, from which it is started again."""
        hung = self._folder / "hung"
        hung.unlink(missing_ok=True)
        wall = self._start(patch=_HANGS)
        while not hung.exists():
            time.sleep(0.01)
        return self._until_it_ends(wall)

    def screen_dies(self) -> float:
        """Seconds from the end of the X server to the end."""
        with x_server() as (server, display):
            self._display, before = display, self._display
            wall = self._start()
            self._display = before
            wall.wait_for("camera demo")
            server.kill()
            return self._until_it_ends(wall)

    def without_camera(self) -> float:
        """Per cent of a core while the camera is away."""
        return self._share("/dev/video987", "", "no camera there")

    def while_closed(self) -> float:
        """Per cent of a core outside the opening hours."""
        return self._share("demo", _CLOSED, "STATUS=closed")

    def _share(self, camera: str, more: str, told: str) -> float:
        wall = self._start(camera, more)
        wall.wait_for(told, times=3)
        busy, began = wall.processor_seconds, time.monotonic()
        time.sleep(_WHILE)
        share = (wall.processor_seconds - busy) / (time.monotonic() - began)
        wall.end()
        wall.close()
        return 100 * share


# What is played, how it is told, what is promised, and whether it is worth playing often.
ROWS: tuple[tuple[Callable[[Play], float], str, float | None, bool], ...] = (
    (Play.start, "s from the start to pictures", None, True),
    (Play.told_to_stop, "s from SIGTERM to the end", 2.0, True),
    (Play.stage_hangs, "s from a stage's hang to the end", 13.0, False),
    (Play.screen_dies, "s from the X server's end to ours", 2.0, True),
    (Play.without_camera, "% of a core while the camera is away", 5.0, False),
    (Play.while_closed, "% of a core while it is closed", 5.0, False),
)


def main() -> int:
    """Play all rows and print them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=20, metavar="N", help="each (default 20)")
    parser.add_argument("--json", action="store_true", help="print one object")
    arguments = parser.parse_args()
    built = ROOT / "engines" / "built"
    build(built, print if not arguments.json else lambda _line: None)
    found = []
    with tempfile.TemporaryDirectory() as folder, x_server() as (_, display):
        play = Play(Path(folder), built, display)
        for row, told, promised, often in ROWS:
            times = arguments.times if often else max(arguments.times // 5, 1)
            figures = [row(play) for _ in range(times)]
            found.append(
                {
                    "what": told,
                    "times": times,
                    "median": round(float(np.median(figures)), 2),
                    "most": round(max(figures), 2),
                    "promised": promised,
                    "kept": promised is None or max(figures) <= promised,
                }
            )
            if not arguments.json:
                end = found[-1]
                print(
                    f"{end['median']:6.2f} {end['most']:6.2f}  {told}, median and most of {times}"
                    f"{'' if end['kept'] else f': more than the {promised:g} promised'}",
                    flush=True,
                )
    if arguments.json:
        print(json.dumps(found))
    return 0 if all(each["kept"] for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
