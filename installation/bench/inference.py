"""The inference benchmark: detection in a frame, and classification of one to sixteen faces."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.cuda_device import NoDeviceError, find_device
from engines.manifest import load_manifest
from installation.bench.baseline import CpuBaseline, GpuBaseline, StepTimes
from installation.bench.roofline import (
    MachineLimits,
    least_times,
    measure_cpu_limits,
    network_cost,
)
from installation.config.model import Inference
from installation.inference.engine import Engine, InferenceError
from installation.inference.open_engines import NoGpuError, find_gpu, open_engines
from installation.scene import Frame

if TYPE_CHECKING:
    from installation.bench.gpu import EngineWithoutNetwork

# Of the frame, pixels.
_SIZE = 1280, 720
_FACES = (1, 4, 8, 16)
# No further round of a task starts after this time.
_MAX_TASK_S = 12.0
# In the order of the baseline; where data is copied, there is also a row for all but inference.
_STEPS = ("preprocess", "upload", "infer", "download")
_ALL_BUT_INFER = "all but infer"


@dataclass(frozen=True, slots=True)
class Row:
    """One step of a task; all times in milliseconds.

    Attributes
    ----------
    task, step
        What was measured.
    ours, baseline
        Median and 99th percentile.
    roofline
        The least time that bytes and operations allow.
    """

    task: str
    step: str
    ours: tuple[float, float]
    baseline: tuple[float, float]
    roofline: float


@dataclass(frozen=True, slots=True)
class Report:
    """The result.

    Attributes
    ----------
    device
        What ran the networks.
    rows
        The times.
    remarks
        How to read them.
    """

    device: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``bench inference --json`` prints."""
        return asdict(self)

    def as_text(self) -> str:
        """Return the times as a table."""
        lines = [
            f"inference on the {self.device}; frame of {_SIZE[0]} x {_SIZE[1]}, milliseconds",
            f"{'task':12} {'step':14} {'ours':>8} {'p99':>8} {'baseline':>8} {'p99':>8} "
            f"{'faster':>7} {'roofline':>8}",
        ]
        for row in self.rows:
            times = " ".join(f"{value:8.3f}" for value in (*row.ours, *row.baseline))
            faster = f"{row.baseline[0] / row.ours[0]:6.1f}x" if row.ours[0] else ""
            lines.append(f"{row.task:12} {row.step:14} {times} {faster:>7} {row.roofline:8.3f}")
        return "\n".join([*lines, *self.remarks])


def _frame() -> Frame:
    width, height = _SIZE
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Frame.from_image(noise)


def _tasks(settings: Inference) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
    """Yield tasks: their names, their engines' names, and float32 (N, 4) regions."""
    width, height = _SIZE
    yield "detect", settings.detector, np.array([(0, 0, width, height)], np.float32)
    for count in _FACES:
        columns = min(count, 8)
        side = min(width / columns, height / -(-count // columns), 300.0)
        corners = [(index % columns * side, index // columns * side) for index in range(count)]
        squares = [(x, y, x + side, y + side) for x, y in corners]
        yield f"classify {count}", settings.classifier, np.array(squares, np.float32)


def measure(settings: Inference, rounds: int = 100) -> Report:
    """Measure on the configured device; with a server configured, on this machine's CPU.

    Parameters
    ----------
    settings
        Which engines, where they are, and what runs them.
    rounds
        How often each task is run, unless that takes too long.

    Raises
    ------
    InstallationError
        An engine is missing, or ``gpu`` is configured and there is none.
    """
    if settings.device == "cpu" or settings.server:
        return _measure_cpu(settings, rounds)
    try:
        find_device()
    except NoDeviceError as error:
        if settings.device == "gpu":
            raise InferenceError(f"inference.device is gpu, but {error}") from error
        return _measure_cpu(settings, rounds)
    return _measure_gpu(settings, rounds)


def _measure_cpu(settings: Inference, rounds: int) -> Report:
    import openvino

    limits = measure_cpu_limits()
    names = settings.detector, settings.classifier
    rows: list[Row] = []
    on_cpu = settings.model_copy(update={"device": "cpu"})
    with open_engines(on_cpu, names) as opened:
        engines = dict(zip(names, opened, strict=True))
        for task, name, regions in _tasks(settings):
            folder = settings.engines / name
            both = engines[name], CpuBaseline(folder, engines[name].manifest)
            rows += _measure_task(task, folder, regions, both, limits, rounds)
    assert limits.arithmetic is not None
    return Report(
        f"CPU, OpenVINO {openvino.__version__.partition('-')[0]}, float32",
        tuple(rows),
        (
            f"roofline: {limits.memory / 1e9:.1f} GB/s, {limits.arithmetic / 1e9:.0f} GFLOP/s, "
            "measured with a large copy and a large matrix product",
        ),
    )


def _measure_gpu(settings: Inference, rounds: int) -> Report:
    from installation.bench.gpu import measure_gpu_limits, open_both
    from installation.inference.gpu import GpuContext

    card = find_device()
    remarks = []
    device, info = f"GPU {card.name} (sm_{card.compute_capability}, {card.driver})", None
    try:
        info = find_gpu()
        device = str(info)
    except NoGpuError as error:
        remarks.append(f"networks were not run: {error}")
    rows: list[Row] = []
    with ExitStack() as stack:
        gpu = GpuContext(card)
        stack.callback(gpu.close)
        limits = measure_gpu_limits(gpu)
        for task, name, regions in _tasks(settings):
            folder = settings.engines / name
            manifest = load_manifest(folder)
            cost = network_cost(folder / manifest.onnx)
            with open_both(settings.engines, name, manifest, cost, gpu, info) as both:
                rows += _measure_task(task, folder, regions, both, limits, rounds)
    assert limits.upload is not None and limits.download is not None
    remarks.append(
        f"roofline: {limits.memory / 1e9:.0f} GB/s on the GPU, {limits.upload / 1e9:.1f} upload, "
        f"{limits.download / 1e9:.1f} download, measured with large copies; of networks only "
        "the weights count"
    )
    return Report(device, tuple(rows), tuple(remarks))


def _measure_task(
    task: str,
    folder: Path,
    regions: NDArray[np.float32],
    both: tuple[Engine | EngineWithoutNetwork, CpuBaseline | GpuBaseline],
    limits: MachineLimits,
    max_rounds: int,
) -> list[Row]:
    """Run a task on engine and baseline in turn, so that disturbances affect both."""
    frame, manifest = _frame(), load_manifest(folder)
    cost = network_cost(folder / manifest.onnx)
    least = least_times(limits, cost, manifest.input, frame, regions)
    for each in both:
        each.timed(frame, regions)
    rounds: list[tuple[StepTimes, StepTimes]] = []
    started_at = time.monotonic()
    while len(rounds) < max_rounds and time.monotonic() - started_at < _MAX_TASK_S:
        rounds.append((both[0].timed(frame, regions), both[1].timed(frame, regions)))

    def row(name: str, steps: Sequence[str]) -> Row:
        ours, baseline = (
            [1000 * sum(times[which][step] for step in steps) for times in rounds]
            for which in (0, 1)
        )
        roofline = 1000 * sum(least[step] for step in steps)
        return Row(task, name, _percentiles(ours), _percentiles(baseline), roofline)

    measured = [step for step in _STEPS if step in rounds[0][0]]
    rows = [row(step, [step]) for step in measured]
    if "upload" in measured:
        rows.append(row(_ALL_BUT_INFER, [step for step in measured if step != "infer"]))
    return [*rows, row("all", measured)] if "infer" in measured else rows


def _percentiles(values: list[float]) -> tuple[float, float]:
    return float(np.median(values)), float(np.percentile(values, 99))
