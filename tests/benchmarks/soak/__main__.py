"""Does the whole program last? Months of pictures in hours, and all the time something goes wrong.

    python -m tests.benchmarks.soak [--frames 1000000 | --hours H] [--rate 300] [--json]

Runs ``installation run`` under Xvfb before a network camera on loopback that gives more pictures a
second than any camera would. At random the camera goes, hangs, sends rubbish; the config is saved,
well or badly; it closes and opens; the process is stopped for a while. Now and then it ends, by a
signal or with its X server, and is started again. Ends with status 1 where memory grows by more
than 2 MB in 100,000 pictures, what 99 % of their ages stay within has grown by more than a tenth,
or something is not got over. Ages are only worth comparing where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from engines.build import build
from tests.benchmarks.soak.camera import Camera
from tests.benchmarks.soak.faults import Faults
from tests.benchmarks.soak.program import ROOT, Program, Sample, Screen

_MOST_GROWTH = 2.0
_MOST_SLOWER = 1.1
# Seconds: a watchdog's patience, that of those who wait for a picture, and what is promised them.
_WATCHDOG = 10.0
_PATIENCE = 60.0
_BACK = 3.0
# How many more there may be as chance has it.
_SPARE = {"threads": 2, "descriptors": 2, "objects": 16}
# The parts of the way at which the process ends, and the status it then has. All late: the first
# one's life is to be long, for its memory to tell.
_ENDS = {0.7: "X server killed", 0.8: "SIGTERM", 0.9: "SIGKILL"}
_STATUS = {"X server killed": 75, "SIGTERM": 0, "SIGKILL": -signal.SIGKILL}
# The part of a process's life in which what is kept is filled, at least so many seconds; and what
# is compared at both ends.
_WARM_UP = 0.2
_WARM_UP_SECONDS = 180.0
_ENDS_COMPARED = 0.15
_ROWS = 20
_CALM = 3.0
_LOOKS = 40
# Samples, which are a second each, that tell anything; and pictures that tell how memory grows.
_ENOUGH = 60
_TELLING = 50_000


@dataclass
class _Life:
    """One process, from start to end: its samples, and those in which nothing went wrong."""

    samples: list[Sample] = field(default_factory=list)
    calm: list[Sample] = field(default_factory=list)

    def warm(self, samples: list[Sample]) -> list[Sample]:
        """Those after the warm-up."""
        if not samples:
            return []
        first, last = self.samples[0].at, self.samples[-1].at
        warm = first + max(_WARM_UP * (last - first), _WARM_UP_SECONDS)
        return [each for each in samples if each.at >= warm]

    @property
    def growth(self) -> float | None:
        """MB in 100,000 pictures shown; None where there were too few to tell."""
        warm = self.warm(self.samples)
        if not warm or warm[-1].shown - warm[0].shown < _TELLING:
            return None
        slope, _ = np.polyfit([each.shown for each in warm], [each.memory for each in warm], 1)
        return float(slope) * 100_000


class _Soak:
    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self._frames = arguments.frames
        self._seconds = arguments.hours * 3600 if arguments.hours else None
        self._quiet = arguments.json
        engines = ROOT / "engines" / "built"
        build(engines, lambda _line: None)
        self._folder = folder
        self._camera = Camera(engines, arguments.rate)
        self._faults = Faults(folder, engines, self._camera, arguments.seed)
        self._screen = Screen()
        self._lives: list[_Life] = []
        self._before = 0
        self._lock = threading.Lock()
        self._troubled_until = 0.0
        self._count: dict[str, int] = defaultdict(int)
        self._recoveries: dict[str, list[float]] = defaultdict(list)
        self._failures: list[str] = []
        self._silence = 0.0
        self._rows: list[dict[str, float]] = []
        self._began = time.monotonic()
        self._program = self._start()

    @property
    def _done(self) -> float:
        """The part of the way, 0 to 1."""
        if self._seconds is not None:
            return (time.monotonic() - self._began) / self._seconds
        return self._pictures / self._frames

    @property
    def _pictures(self) -> int:
        """How many were taken from the camera."""
        last = self._program.last
        return self._before + (last.shown + last.dropped if last else 0)

    def _start(self) -> Program:
        self._lives.append(_Life())
        self._troubled_until = time.monotonic() + _PATIENCE
        began = time.monotonic()
        self._program = Program(self._folder, self._screen.name, self._hear)
        self._await("start", began)
        return self._program

    def _hear(self, sample: Sample) -> None:
        with self._lock:
            life = self._lives[-1]
            life.samples.append(sample)
            # A sample tells of the second before it.
            if sample.at - 1 > self._troubled_until:
                life.calm.append(sample)

    def _await(self, what: str, since: float) -> None:
        """Wait until pictures are shown after something went wrong until a moment."""
        came = self._program.wait_for_pictures(since, _PATIENCE)
        self._count[what] += 1
        if came is not None:
            self._recoveries[what].append(came - since)
        elif self._program.process.poll() is None:
            self._fail(f"no pictures within {_PATIENCE:.0f} s: {what}: {self._program.status}")
            self._end("SIGKILL")
        else:
            self._fail(f"it ended by itself: {what}: {self._last_line()}")
            self._bury()
            self._program = self._start()
        with self._lock:
            self._troubled_until = time.monotonic() + _CALM

    def _last_line(self) -> str:
        lines = (self._folder / "log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "without a word"

    def _fail(self, what: str) -> None:
        self._failures.append(what)
        print(f"soak: {what}", file=sys.stderr, flush=True)

    def _bury(self) -> int:
        status = self._program.wait()
        self._before = self._pictures
        self._program.last = None
        self._silence = max(self._silence, self._program.longest_silence)
        return status

    def _end(self, how: str) -> None:
        """End the process in some way, and start it again."""
        began = time.monotonic()
        if how == "X server killed":
            self._screen.kill()
            status = self._bury()
            self._screen = Screen()
        else:
            self._program.process.send_signal(signal.Signals[how])
            status = self._bury()
        took = time.monotonic() - began
        self._count[how] += 1
        self._recoveries[how].append(took)
        if status != _STATUS[how]:
            self._fail(f"{how}: ended with status {status}: {self._last_line()}")
        self._program = self._start()

    def run(self) -> bool:
        """Go all the way, and report; tell whether all is well."""
        ends = dict(_ENDS)
        try:
            # What is kept for every look there may be, captions and type, is filled first.
            for _ in range(_LOOKS):
                self._faults.change_looks(self._program)
            while (done := self._done) < 1:
                if len(self._rows) <= done * _ROWS:
                    self._row()
                if ends and done >= min(ends):
                    self._end(ends.pop(min(ends)))
                time.sleep(self._faults.chance.expovariate(1 / 8))
                with self._lock:
                    self._troubled_until = time.monotonic() + _PATIENCE
                what = self._faults.happen(self._program)
                self._await(what, time.monotonic())
            self._row()
            status, took = self._program.end(signal.SIGTERM)
            self._recoveries["SIGTERM"].append(took)
            if status != 0:
                self._fail(f"SIGTERM: ended with status {status}: {self._last_line()}")
            self._silence = max(self._silence, self._program.longest_silence)
        finally:
            self._program.process.kill()
            self._screen.kill()
        return self._report()

    def _row(self) -> None:
        sample = self._program.last
        if sample is None:
            return
        row = {
            "minutes": (time.monotonic() - self._began) / 60,
            "pictures": self._pictures,
            "faults": sum(self._count.values()),
            **{key: value for key, value in asdict(sample).items() if key not in ("at", "dropped")},
            "process": len(self._lives),
        }
        if not self._quiet:
            if not self._rows:
                print(" ".join(f"{key:>11}" for key in row))
            cells = (f"{v:11.1f}" if isinstance(v, float) else f"{v:11}" for v in row.values())
            print(" ".join(cells), flush=True)
        self._rows.append(row)

    def _slower(self) -> tuple[float, float] | None:
        """Medians of what 99 % of the ages stay within, of calm seconds at both ends, ms.

        None where there were too few to tell.
        """
        calm = [each.age99 for life in self._lives for each in life.warm(life.calm)]
        if len(calm) < _ENOUGH:
            return None
        part = round(len(calm) * _ENDS_COMPARED)
        return float(np.median(calm[:part])), float(np.median(calm[-part:]))

    def _left_over(self, what: str) -> int | None:
        """How many more there were towards the end of a life than before, the most.

        What leaks raises the fewest there ever are; caches fill and are emptied again. None where
        no life was long enough to tell.
        """
        grown = []
        for life in self._lives:
            if life.growth is None:
                continue
            counts = [getattr(each, what) for each in life.warm(life.samples)]
            half = len(counts) // 2
            grown.append(min(counts[half:]) - min(counts[:half]))
        return max(grown, default=None)

    def _record(self) -> tuple[int, str]:
        with closing(sqlite3.connect(self._folder / "record.sqlite")) as database:
            (rows,) = database.execute("SELECT count(*) FROM entry").fetchone()
            (sound,) = database.execute("PRAGMA integrity_check").fetchone()
        return rows, sound

    def _report(self) -> bool:
        ages = self._slower()
        growths = [life.growth for life in self._lives if life.growth is not None]
        rows, sound = self._record()
        lines = len((self._folder / "log").read_bytes().splitlines())
        left_over = {what: self._left_over(what) for what in _SPARE}
        camera = [took for what, took in self._recoveries.items() if what.startswith("camera")]
        # None is neither: it was too short to tell.
        verdicts = {
            f"memory grows by less than {_MOST_GROWTH:g} MB in 100,000 pictures": (
                max(growths) < _MOST_GROWTH if growths else None
            ),
            "ages at the end are within a tenth of those at the start": (
                ages[1] <= _MOST_SLOWER * ages[0] if ages else None
            ),
            "no threads, descriptors or OpenGL objects are left over": (
                None
                if None in left_over.values()
                else all(left_over[what] <= spare for what, spare in _SPARE.items())
            ),
            f"pictures are back within {_BACK:g} s of the camera": max(sum(camera, [0.0])) <= _BACK,
            "the watchdog was fed in time": self._silence < _WATCHDOG,
            "everything was got over": not self._failures,
            "the record is sound": sound == "ok",
        }
        report = {
            "pictures": self._pictures,
            "growth": growths,
            "age99": ages and {"start": ages[0], "end": ages[1]},
            "left over": left_over,
            "silence": self._silence,
            "faults": dict(self._count),
            "seconds": {
                what: {"median": float(np.median(took)), "longest": max(took)}
                for what, took in self._recoveries.items()
            },
            "record": {"rows": rows, "integrity": sound},
            "log": lines,
            "failures": self._failures,
            "verdicts": verdicts,
        }
        if self._quiet:
            print(json.dumps(report | {"rows": self._rows}, indent=1))
        else:
            _print(report)
        return False not in verdicts.values()


def _print(report: dict) -> None:
    print(f"\n{'what':20} {'times':>5}  seconds until all was well: median, longest")
    for what, took in sorted(report["seconds"].items()):
        times = report["faults"].get(what, 1)
        print(f"{what:20} {times:5}  {took['median']:.1f}, {took['longest']:.1f}")
    growth = ", ".join(f"{each:+.2f}" for each in report["growth"]) or "too short to tell"
    print(f"\nmemory, MB in 100,000 pictures, by process: {growth}")
    if ages := report["age99"]:
        print(f"99 % of ages within, ms: {ages['start']:.1f} at first, {ages['end']:.1f} at last")
    left = ", ".join(f"{many} {what}" for what, many in report["left over"].items())
    print("left over:", "too short to tell" if None in report["left over"].values() else left)
    print(f"longest without a sign of life: {report['silence']:.1f} s")
    print(f"record: {report['record']['rows']} rows, {report['record']['integrity']}")
    print(f"log: {report['log']} lines in {report['pictures']} pictures")
    for what, well in report["verdicts"].items():
        print(f"{ {True: 'yes', False: 'NO', None: '?'}[well]:3}  {what}")


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--frames", type=int, default=1_000_000, help="taken from the camera")
    length.add_argument("--hours", type=float, help="go on for so long instead")
    parser.add_argument("--rate", type=float, default=300, help="frames per second")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--keep", type=Path, help="a folder for the log and the record")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        sys.exit(0 if _Soak(arguments, folder).run() else 1)


if __name__ == "__main__":
    main()
