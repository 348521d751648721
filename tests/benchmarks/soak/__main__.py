"""Endurance of the whole program: months of frames in hours, with a fault every few seconds.

    python -m tests.benchmarks.soak [--frames 1000000 | --hours H] [--rate 300] [--json]

Runs ``installation run`` under Xvfb with a simulated network camera of a higher frame rate than any
real one. At random the camera disconnects, hangs or sends garbage; the config is saved, valid or
broken; opening hours end and begin; the process is suspended for a while. A few times it ends, by a
signal or with its X server, and is started again. Exit status 1 if memory grows by more than 2 MB
per 100,000 frames, the 99th percentile of the frames' age grows by more than a tenth, or the
program does not recover from a fault. Compare ages only on a machine that does nothing else.
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

_MAX_GROWTH_MB = 2.0
_MAX_AGE_FACTOR = 1.1
_WATCHDOG_S = 10.0
# For a frame after a fault; and the limit after a fault of the camera.
_RECOVERY_TIMEOUT_S = 60.0
_MAX_CAMERA_RECOVERY_S = 3.0
# Random variation that is not a leak.
_TOLERANCE = {"threads": 2, "descriptors": 2, "objects": 16}
# Share of the run after which the process is ended, and its exit status. All are late, so that the
# first process runs long enough to measure its memory.
_ENDS = {0.7: "X server killed", 0.8: "SIGTERM", 0.9: "SIGKILL"}
_STATUS = {"X server killed": 75, "SIGTERM": 0, "SIGKILL": -signal.SIGKILL}
# Share of a process's run in which caches fill, and its minimum.
_WARM_UP_SHARE, _MIN_WARM_UP_S = 0.2, 180.0
# Share of the samples at the start and at the end whose ages are compared.
_COMPARED_SHARE = 0.15
_ROWS = 20
_SETTLE_S = 3.0
_THEME_CHANGES = 40
# Fewer samples, one a second, or frames are too few to compare.
_MIN_SAMPLES = 60
_MIN_FRAMES = 50_000


@dataclass
class _Run:
    """Samples of one process: all of them, and those without a fault."""

    samples: list[Sample] = field(default_factory=list)
    calm: list[Sample] = field(default_factory=list)

    def warm(self, samples: list[Sample]) -> list[Sample]:
        """Return those after the warm-up."""
        if not samples:
            return []
        first, last = self.samples[0].at, self.samples[-1].at
        warm = first + max(_WARM_UP_SHARE * (last - first), _MIN_WARM_UP_S)
        return [each for each in samples if each.at >= warm]

    @property
    def growth(self) -> float | None:
        """MB per 100,000 frames shown; None: too few to tell."""
        warm = self.warm(self.samples)
        if not warm or warm[-1].shown - warm[0].shown < _MIN_FRAMES:
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
        self._runs: list[_Run] = []
        self._before = 0
        self._lock = threading.Lock()
        self._disturbed_until = 0.0
        self._count: dict[str, int] = defaultdict(int)
        self._recoveries: dict[str, list[float]] = defaultdict(list)
        self._failures: list[str] = []
        self._silence = 0.0
        self._rows: list[dict[str, float]] = []
        self._began = time.monotonic()
        self._program = self._start()

    @property
    def _done(self) -> float:
        """Share of the run that is done, 0 to 1."""
        if self._seconds is not None:
            return (time.monotonic() - self._began) / self._seconds
        return self._frame_count / self._frames

    @property
    def _frame_count(self) -> int:
        """Frames read from the camera."""
        last = self._program.last
        return self._before + (last.shown + last.dropped if last else 0)

    def _start(self) -> Program:
        self._runs.append(_Run())
        self._disturbed_until = time.monotonic() + _RECOVERY_TIMEOUT_S
        began = time.monotonic()
        self._program = Program(self._folder, self._screen.name, self._add_sample)
        self._await("start", began)
        return self._program

    def _add_sample(self, sample: Sample) -> None:
        with self._lock:
            run = self._runs[-1]
            run.samples.append(sample)
            # A sample covers the second before it.
            if sample.at - 1 > self._disturbed_until:
                run.calm.append(sample)

    def _await(self, what: str, since: float) -> None:
        """Wait until frames are shown again after a fault that ended at a time."""
        came = self._program.wait_for_frames(since, _RECOVERY_TIMEOUT_S)
        self._count[what] += 1
        if came is not None:
            self._recoveries[what].append(came - since)
        elif self._program.process.poll() is None:
            self._fail(
                f"no frames within {_RECOVERY_TIMEOUT_S:.0f} s: {what}: {self._program.status}"
            )
            self._end("SIGKILL")
        else:
            self._fail(f"the process ended: {what}: {self._last_line()}")
            self._collect()
            self._program = self._start()
        with self._lock:
            self._disturbed_until = time.monotonic() + _SETTLE_S

    def _last_line(self) -> str:
        lines = (self._folder / "log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "no log line"

    def _fail(self, what: str) -> None:
        self._failures.append(what)
        print(f"soak: {what}", file=sys.stderr, flush=True)

    def _collect(self) -> int:
        status = self._program.wait()
        self._before = self._frame_count
        self._program.last = None
        self._silence = max(self._silence, self._program.longest_silence)
        return status

    def _end(self, how: str) -> None:
        """End the process in one of the ways, and start it again."""
        began = time.monotonic()
        if how == "X server killed":
            self._screen.kill()
            status = self._collect()
            self._screen = Screen()
        else:
            self._program.process.send_signal(signal.Signals[how])
            status = self._collect()
        took = time.monotonic() - began
        self._count[how] += 1
        self._recoveries[how].append(took)
        if status != _STATUS[how]:
            self._fail(f"{how}: ended with status {status}: {self._last_line()}")
        self._program = self._start()

    def run(self) -> bool:
        """Run to the end and print the report; return whether all limits were kept."""
        ends = dict(_ENDS)
        try:
            # Fill the caches of captions and glyphs first.
            for _ in range(_THEME_CHANGES):
                self._faults.change_theme(self._program)
            while (done := self._done) < 1:
                if len(self._rows) <= done * _ROWS:
                    self._row()
                if ends and done >= min(ends):
                    self._end(ends.pop(min(ends)))
                time.sleep(self._faults.chance.expovariate(1 / 8))
                with self._lock:
                    self._disturbed_until = time.monotonic() + _RECOVERY_TIMEOUT_S
                what = self._faults.cause_one(self._program)
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
            "frames": self._frame_count,
            "faults": sum(self._count.values()),
            **{key: value for key, value in asdict(sample).items() if key not in ("at", "dropped")},
            "process": len(self._runs),
        }
        if not self._quiet:
            if not self._rows:
                print(" ".join(f"{key:>11}" for key in row))
            cells = (f"{v:11.1f}" if isinstance(v, float) else f"{v:11}" for v in row.values())
            print(" ".join(cells), flush=True)
        self._rows.append(row)

    def _age_change(self) -> tuple[float, float] | None:
        """Return medians of the 99th percentile of ages at start and end, without faults, ms.

        None: too few samples to tell.
        """
        calm = [each.age99 for run in self._runs for each in run.warm(run.calm)]
        if len(calm) < _MIN_SAMPLES:
            return None
        part = round(len(calm) * _COMPARED_SHARE)
        return float(np.median(calm[:part])), float(np.median(calm[-part:]))

    def _leaked(self, what: str) -> int | None:
        """Return by how much the minimum of a count rose in the second half of a run, at most.

        A leak raises the minimum, whereas caches fill and are emptied again. None: no run was long
        enough to tell.
        """
        grown = []
        for run in self._runs:
            if run.growth is None:
                continue
            counts = [getattr(each, what) for each in run.warm(run.samples)]
            half = len(counts) // 2
            grown.append(min(counts[half:]) - min(counts[:half]))
        return max(grown, default=None)

    def _record(self) -> tuple[int, str]:
        with closing(sqlite3.connect(self._folder / "record.sqlite")) as database:
            (rows,) = database.execute("SELECT count(*) FROM entry").fetchone()
            (sound,) = database.execute("PRAGMA integrity_check").fetchone()
        return rows, sound

    def _report(self) -> bool:
        ages = self._age_change()
        growths = [run.growth for run in self._runs if run.growth is not None]
        rows, sound = self._record()
        lines = len((self._folder / "log").read_bytes().splitlines())
        leaked = {what: self._leaked(what) for what in _TOLERANCE}
        camera = [took for what, took in self._recoveries.items() if what.startswith("camera")]
        # None: too short to tell.
        verdicts = {
            f"memory grows by less than {_MAX_GROWTH_MB:g} MB per 100,000 frames": (
                max(growths) < _MAX_GROWTH_MB if growths else None
            ),
            "ages grow by less than a tenth": (
                ages[1] <= _MAX_AGE_FACTOR * ages[0] if ages else None
            ),
            "no threads, descriptors or OpenGL objects leak": (
                None
                if None in leaked.values()
                else all(leaked[what] <= spare for what, spare in _TOLERANCE.items())
            ),
            f"frames return within {_MAX_CAMERA_RECOVERY_S:g} s after the camera": max(
                sum(camera, [0.0])
            )
            <= _MAX_CAMERA_RECOVERY_S,
            "the watchdog was notified in time": self._silence < _WATCHDOG_S,
            "it recovered from every fault": not self._failures,
            "the record is intact": sound == "ok",
        }
        report = {
            "frames": self._frame_count,
            "growth": growths,
            "age99": ages and {"start": ages[0], "end": ages[1]},
            "leaked": leaked,
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
    print(f"\n{'what':20} {'times':>5}  seconds until it recovered: median, maximum")
    for what, took in sorted(report["seconds"].items()):
        times = report["faults"].get(what, 1)
        print(f"{what:20} {times:5}  {took['median']:.1f}, {took['longest']:.1f}")
    growth = ", ".join(f"{each:+.2f}" for each in report["growth"]) or "too short to tell"
    print(f"\nmemory, MB per 100,000 frames, by process: {growth}")
    if ages := report["age99"]:
        print(
            f"99th percentile of ages, ms: {ages['start']:.1f} at first, {ages['end']:.1f} at last"
        )
    left = ", ".join(f"{many} {what}" for what, many in report["leaked"].items())
    print("leaked:", "too short to tell" if None in report["leaked"].values() else left)
    print(f"longest time between watchdog notifications: {report['silence']:.1f} s")
    print(f"record: {report['record']['rows']} rows, {report['record']['integrity']}")
    print(f"log: {report['log']} lines in {report['frames']} frames")
    for what, well in report["verdicts"].items():
        print(f"{ {True: 'yes', False: 'NO', None: '?'}[well]:3}  {what}")


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--frames", type=int, default=1_000_000, help="frames to read")
    length.add_argument("--hours", type=float, help="run for this time instead")
    parser.add_argument("--rate", type=float, default=300, help="frames per second")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--keep", type=Path, help="folder in which to keep the log and the record")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        sys.exit(0 if _Soak(arguments, folder).run() else 1)


if __name__ == "__main__":
    main()
