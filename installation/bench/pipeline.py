"""The pipeline benchmark: from the camera to the screen, ours and as demonstrations do it."""

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
from installation.bench.simulated_camera import FPS, Footage, SimulatedCamera, record_footage
from installation.bench.variants import VARIANTS
from installation.config.model import Config, Inference
from installation.display.screen import has_screen
from installation.errors import FAILURE, InstallationError
from installation.inference.open_engines import NoGpuError, find_gpu
from installation.runtime.signals import Watchdog

_PERCENTILES = {"p50": 50, "p99": 99}

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """What to measure.

    Attributes
    ----------
    size
        Width and height of the camera's frames and of the window, pixels.
    faces
        How many are in view.
    seconds
        How long each variant is measured, without start-up and warm-up.
    warm_up_s
        Of each round.
    rounds
        How often each variant is measured, in turn, so that disturbances affect all of them.
    """

    size: tuple[int, int] = (1280, 720)
    faces: int = 4
    seconds: float = 24.0
    warm_up_s: float = 2.0
    rounds: int = 2


@dataclass(frozen=True, slots=True)
class Report:
    """The result.

    Attributes
    ----------
    variants
        Figures of each variant, by name.
    machine
        What it was measured on.
    """

    variants: dict[str, Figures]
    machine: Figures

    def as_json(self) -> Figures:
        """Return the object that ``bench --json`` prints."""
        return {**self.variants, "machine": self.machine}

    def as_text(self) -> str:
        """Return the figures as a table."""
        machine = self.machine
        lines = [
            f"camera to screen on {machine['cores']} cores ({machine['processor']}), "
            f"inference on the {machine['inference']}, rendered {machine['drawn']}",
            f"{machine['faces']} faces before a camera of {machine['size'][0]} x "
            f"{machine['size'][1]} at {machine['fps']:g} fps; ages in milliseconds",
            f"{'':10} {'fps':>8} {'age':>7} {'p99':>7} {'boxes':>7} {'p99':>7} "
            f"{'CPU ms':>7} {'MB':>6}",
        ]
        for name, figures in self.variants.items():
            ages = (
                figures[key][each] for key in ("age_ms", "overlay_age_ms") for each in _PERCENTILES
            )
            lines.append(
                f"{name.replace('_', ' '):10} {figures['shown_fps']:8.1f} "
                f"{' '.join(f'{age:7.1f}' for age in ages)} "
                f"{figures['cpu_ms_per_shown_frame']:7.1f} {figures['rss_mb']:6.0f}"
            )
        ours, naive = self.variants["ours"], self.variants["naive"]
        younger = naive["age_ms"]["p50"] / ours["age_ms"]["p50"]
        cheaper = naive["cpu_ms_per_shown_frame"] / ours["cpu_ms_per_shown_frame"]
        return "\n".join(
            [
                *lines,
                f"against the naive loop: frames {younger:.1f}x younger, {cheaper:.1f}x less CPU",
            ]
        )


def measure(config: Config, task: Task, report: Callable[[str], None]) -> Report:
    """Measure each variant, each time in a new process.

    Parameters
    ----------
    config
        Which engines, and what runs them.
    task
        What to measure.
    report
        Receives a line about each step.

    Raises
    ------
    InstallationError
        Something a technician can act on.
    """
    headless = not has_screen()
    report("bench: painting the visitors")
    footage = record_footage(config.inference.engines, task.size, task.faces)
    width, height = task.size
    window = {"fullscreen": False, "width": width, "height": height}
    config = config.model_copy(update={"display": config.display.model_copy(update=window)})
    samples: dict[str, list[Sample]] = {name: [] for name in VARIANTS}
    for number in range(1, task.rounds + 1):
        for name, taken in samples.items():
            report(f"bench: {name.replace('_', ' ')}, {number} of {task.rounds}")
            times = task.warm_up_s, task.seconds / task.rounds
            taken.append(_run_in_process(_measure, name, config, footage, headless, times))
    return Report(
        {name: _figures(taken) for name, taken in samples.items()},
        _machine(config, task, headless),
    )


def _run_in_process(work: Callable[..., Sample], *arguments: object) -> Sample:
    """Call a function in a new process, which does not outlive this one."""
    with ProcessPoolExecutor(1, get_context("spawn"), _init_process) as process:
        try:
            return process.submit(work, *arguments).result()
        except BaseException:
            for child in active_children():
                child.terminate()
            raise


def _init_process() -> None:
    # Ctrl-C reaches all processes; only one of them reports it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Watchdog()
    Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(FAILURE)


def _measure(
    name: str, config: Config, footage: Footage, headless: bool, times: tuple[float, float]
) -> Sample:
    camera = SimulatedCamera(footage)
    measurement = Measurement(camera, *times)
    VARIANTS[name](config, camera, headless, measurement)
    if measurement.sample is None:
        raise InstallationError(f"{name} ended before the measurement was complete")
    return measurement.sample


def _figures(samples: list[Sample]) -> Figures:
    shown = sum(len(sample.ages_s) for sample in samples)
    seconds = sum(sample.duration_s for sample in samples)
    cpu_s = sum(sample.cpu_s for sample in samples)
    return {
        "shown_fps": round(shown / seconds, 2),
        "age_ms": _percentiles([age for sample in samples for age in sample.ages_s]),
        "overlay_age_ms": _percentiles(
            [age for sample in samples for age in sample.overlay_ages_s]
        ),
        "cpu_ms_per_shown_frame": round(1000 * cpu_s / shown, 1),
        "rss_mb": round(max(sample.rss_bytes for sample in samples) / 1e6, 1),
        "boxes": round(float(np.mean([sample.boxes for sample in samples])), 2),
        "cores_of_others": round(sum(sample.other_cpu_s for sample in samples) / seconds, 2),
    }


def _percentiles(ages_s: list[float]) -> dict[str, float]:
    values = np.percentile(ages_s, list(_PERCENTILES.values())) * 1000
    return {name: round(float(age), 1) for name, age in zip(_PERCENTILES, values, strict=True)}


def _machine(config: Config, task: Task, headless: bool) -> Figures:
    import cv2
    import openvino

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "inference": _device(config.inference),
        "drawn": "in memory" if headless else f"on the screen {os.environ['DISPLAY']}",
        "size": list(task.size),
        "fps": FPS,
        "faces": task.faces,
        "seconds": task.seconds,
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "openvino": openvino.__version__.partition("-")[0],
    }


def _device(settings: Inference) -> str:
    if settings.server:
        return f"server {settings.server}"
    if settings.device != "cpu":
        with suppress(NoGpuError):
            return str(find_gpu())
    return "CPU"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
