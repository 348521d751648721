"""The whole chain, from the camera to the screen: ours, and as demonstrations do it."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from installation.bench.measurements import Measurement, Sample
from installation.bench.simulated_camera import FPS, Footage, Webcam, film
from installation.bench.variants import WAYS
from installation.config.model import Config
from installation.display.screen import has_screen
from installation.errors import FAILURE, InstallationError
from installation.inference.open_engines import NoGpuError, find_gpu
from installation.runtime.signals import Watchdog

_WARM_UP = 2.0
# Each way is measured so often, in turn, so that a disturbance meets them all.
_ROUNDS = 2

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """What to measure.

    Attributes
    ----------
    size
        Width and height of the camera's pictures and of the window, pixels.
    faces
        How many are in view.
    seconds
        For which each way is measured, start and warm-up aside.
    """

    size: tuple[int, int] = (1280, 720)
    faces: int = 4
    seconds: float = 24.0


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured.

    Attributes
    ----------
    ways
        Figures of each way, by name.
    machine
        Where.
    """

    ways: dict[str, Figures]
    machine: Figures

    def as_json(self) -> Figures:
        """Return the object that ``bench --json`` prints."""
        return {**self.ways, "machine": self.machine}

    def as_text(self) -> str:
        """Lay the figures out as a table."""
        machine = self.machine
        lines = [
            f"camera to screen on {machine['cores']} cores ({machine['processor']}), "
            f"networks on the {machine['inference']}, drawn {machine['drawn']}",
            f"{machine['faces']} faces before a camera of {machine['size'][0]} x "
            f"{machine['size'][1]}, {machine['fps']:g} pictures a second; ages in milliseconds",
            f"{'':10} {'shown/s':>8} {'age':>7} {'p99':>7} {'boxes':>7} {'p99':>7} "
            f"{'CPU ms':>7} {'MB':>6}",
        ]
        for name, way in self.ways.items():
            ages = (way[key][part] for key in ("age_ms", "overlay_age_ms") for part in _PARTS)
            lines.append(
                f"{name.replace('_', ' '):10} {way['shown_fps']:8.1f} "
                f"{' '.join(f'{age:7.1f}' for age in ages)} "
                f"{way['cpu_ms_per_shown_frame']:7.1f} {way['rss_mb']:6.0f}"
            )
        ours, plain = self.ways["ours"], self.ways["naive"]
        younger = plain["age_ms"]["p50"] / ours["age_ms"]["p50"]
        cheaper = plain["cpu_ms_per_shown_frame"] / ours["cpu_ms_per_shown_frame"]
        return "\n".join(
            [*lines, f"beside the naive loop: {younger:.1f}x younger, {cheaper:.1f}x less CPU"]
        )


_PARTS = ("p50", "p99")


def measure(config: Config, task: Task, say: Callable[[str], None]) -> Report:
    """Measure each way in processes of its own.

    Parameters
    ----------
    config
        Whose networks are run, where it says.
    task
        What to measure.
    say
        Told what is being done.

    Raises
    ------
    InstallationError
        Something a technician has to mend.
    """
    headless = not has_screen()
    say("bench: painting the visitors")
    footage = film(config.inference.engines, task.size, task.faces)
    width, height = task.size
    window = {"fullscreen": False, "width": width, "height": height}
    config = config.model_copy(update={"display": config.display.model_copy(update=window)})
    counts: dict[str, list[Sample]] = {name: [] for name in WAYS}
    for number in range(1, _ROUNDS + 1):
        for name, found in counts.items():
            say(f"bench: {name.replace('_', ' ')}, {number} of {_ROUNDS}")
            times = _WARM_UP, task.seconds / _ROUNDS
            found.append(_apart(_measure, name, config, footage, headless, times))
    return Report(
        {name: _figures(found) for name, found in counts.items()}, _machine(config, task, headless)
    )


def _apart(work: Callable[..., Sample], *arguments: object) -> Sample:
    """Do something in a process of its own, which does not outlive it."""
    with ProcessPoolExecutor(1, get_context("spawn"), _begin) as process:
        try:
            return process.submit(work, *arguments).result()
        except BaseException:
            for child in active_children():
                child.terminate()
            raise


def _begin() -> None:
    # Ctrl-C is heard by all processes; one of them tells of it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Watchdog()
    Thread(target=_leave_with_the_parent, daemon=True).start()


def _leave_with_the_parent() -> None:
    parent = parent_process()
    assert parent is not None
    # Whatever ended it, nobody will ask for anything any more.
    parent.join()
    os._exit(FAILURE)


def _measure(
    name: str, config: Config, footage: Footage, headless: bool, times: tuple[float, float]
) -> Sample:
    webcam = Webcam(footage)
    tally = Measurement(webcam, *times)
    WAYS[name](config, webcam, headless, tally)
    if tally.count is None:
        raise InstallationError(f"{name} was ended before all was measured")
    return tally.count


def _figures(counts: list[Sample]) -> Figures:
    shown = sum(len(count.ages) for count in counts)
    seconds = sum(count.seconds for count in counts)
    return {
        "shown_fps": round(shown / seconds, 2),
        "age_ms": _spread([age for count in counts for age in count.ages]),
        "overlay_age_ms": _spread([age for count in counts for age in count.overlay_ages]),
        "cpu_ms_per_shown_frame": round(1000 * sum(count.cpu for count in counts) / shown, 1),
        "rss_mb": round(max(count.rss for count in counts) / 1e6, 1),
        "boxes": round(float(np.mean([count.boxes for count in counts])), 2),
        "cores_of_others": round(sum(count.others for count in counts) / seconds, 2),
    }


def _spread(ages: list[float]) -> dict[str, float]:
    found = np.percentile(ages, (50, 99)) * 1000
    return {part: round(float(age), 1) for part, age in zip(_PARTS, found, strict=True)}


def _machine(config: Config, task: Task, headless: bool) -> Figures:
    import cv2
    import openvino

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "inference": _device(config.inference.device),
        "drawn": "in memory" if headless else f"on the screen {os.environ['DISPLAY']}",
        "size": list(task.size),
        "fps": FPS,
        "faces": task.faces,
        "seconds": task.seconds,
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "openvino": openvino.__version__.partition("-")[0],
    }


def _device(asked: str) -> str:
    if "://" in asked:
        return asked
    if asked != "cpu":
        with suppress(NoGpuError):
            return str(find_gpu())
    return "CPU"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
