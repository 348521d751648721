"""Inference, step by step: faces found in a frame, and one to sixteen of them named."""

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
from installation.bench.baseline import PlainCpu, PlainGpu, Times
from installation.bench.roofline import MachineLimits, cpu_speeds, floors, size_of
from installation.config.model import Inference
from installation.inference.engine import Engine, InferenceError
from installation.inference.open_engines import NoGpuError, find_gpu, open_engines
from installation.scene import Frame

if TYPE_CHECKING:
    from installation.bench.gpu import BaselineGpu

_SIZE = 1280, 720
_FACES = (1, 4, 8, 16)
# Rounds, and seconds after which fewer will do.
_ROUNDS = 100
_PATIENCE = 12.0
# In the order they are done in the plain way; "all but infer" is told where anything is copied.
_STEPS = ("preprocess", "upload", "infer", "download")
_REST = "all but infer"


@dataclass(frozen=True, slots=True)
class Row:
    """One step of one piece of work; all times in milliseconds.

    Attributes
    ----------
    work, step
        What was done.
    ours, plain
        Median and 99th percentile.
    floor
        What bytes and operations allow at best.
    """

    work: str
    step: str
    ours: tuple[float, float]
    plain: tuple[float, float]
    floor: float


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured.

    Attributes
    ----------
    device
        On what.
    rows
        The figures.
    remarks
        What to know when reading them.
    """

    device: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``bench --json`` prints."""
        return asdict(self)

    def as_text(self) -> str:
        """Lay the figures out as a table."""
        lines = [
            f"inference on the {self.device}; a frame of {_SIZE[0]} x {_SIZE[1]}, milliseconds",
            f"{'work':12} {'step':14} {'ours':>8} {'p99':>8} {'plain':>8} {'p99':>8} "
            f"{'faster':>7} {'floor':>8}",
        ]
        for row in self.rows:
            times = " ".join(f"{value:8.3f}" for value in (*row.ours, *row.plain))
            faster = f"{row.plain[0] / row.ours[0]:6.1f}x" if row.ours[0] else ""
            lines.append(f"{row.work:12} {row.step:14} {times} {faster:>7} {row.floor:8.3f}")
        return "\n".join([*lines, *self.remarks])


def _frame() -> Frame:
    width, height = _SIZE
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Frame.from_image(noise)


def _tasks(settings: Inference) -> Iterator[tuple[str, str, NDArray[np.float32]]]:
    """Yield what to do: its name, the engine's, and the regions."""
    width, height = _SIZE
    yield "detect", settings.detector, np.array([(0, 0, width, height)], np.float32)
    for count in _FACES:
        columns = min(count, 8)
        side = min(width / columns, height / -(-count // columns), 300.0)
        places = [(index % columns * side, index // columns * side) for index in range(count)]
        squares = [(x, y, x + side, y + side) for x, y in places]
        yield f"classify {count}", settings.classifier, np.array(squares, np.float32)


def measure(settings: Inference) -> Report:
    """Measure on the device a config asks for; beside a server, on this machine's CPU.

    Raises
    ------
    InstallationError
        An engine is missing, or ``gpu`` was asked for and there is no card.
    """
    if settings.device == "cpu" or settings.server:
        return _measure_cpu(settings)
    try:
        find_device()
    except NoDeviceError as error:
        if settings.device == "gpu":
            raise InferenceError(f"inference.device is gpu, but {error}") from error
        return _measure_cpu(settings)
    return _measure_gpu(settings)


def _measure_cpu(settings: Inference) -> Report:
    import openvino

    speeds = cpu_speeds()
    names = settings.detector, settings.classifier
    rows: list[Row] = []
    on_cpu = settings.model_copy(update={"device": "cpu"})
    with open_engines(on_cpu, names) as engines:
        ours = dict(zip(names, engines, strict=True))
        for work, name, regions in _tasks(settings):
            folder = settings.engines / name
            ways = ours[name], PlainCpu(folder, ours[name].manifest)
            rows += _compare(work, folder, regions, ways, speeds)
    assert speeds.arithmetic is not None
    return Report(
        f"CPU, OpenVINO {openvino.__version__.partition('-')[0]}, float32",
        tuple(rows),
        (
            f"floor: {speeds.memory / 1e9:.1f} GB/s, {speeds.arithmetic / 1e9:.0f} GFLOP/s, "
            "measured in a large copy and a large matrix product",
        ),
    )


def _measure_gpu(settings: Inference) -> Report:
    from installation.bench.gpu import card_speeds, compare
    from installation.inference.gpu import GpuContext

    card = find_device()
    remarks = []
    device, found = f"GPU {card.name} (sm_{card.compute_capability}, {card.driver})", None
    try:
        found = find_gpu()
        device = str(found)
    except NoGpuError as error:
        remarks.append(f"networks were not run: {error}")
    rows: list[Row] = []
    with ExitStack() as stack:
        gpu = GpuContext(card)
        stack.callback(gpu.close)
        speeds = card_speeds(gpu)
        for work, name, regions in _tasks(settings):
            folder = settings.engines / name
            manifest = load_manifest(folder)
            size = size_of(folder / manifest.onnx)
            with compare(settings.engines, name, manifest, size, gpu, found) as ways:
                rows += _compare(work, folder, regions, ways, speeds)
    assert speeds.up is not None and speeds.down is not None
    remarks.append(
        f"floor: {speeds.memory / 1e9:.0f} GB/s on the card, {speeds.up / 1e9:.1f} up, "
        f"{speeds.down / 1e9:.1f} down, measured in large copies; of networks the weights alone"
    )
    return Report(device, tuple(rows), tuple(remarks))


def _compare(
    work: str,
    folder: Path,
    regions: NDArray[np.float32],
    ways: tuple[Engine | BaselineGpu, PlainCpu | PlainGpu],
    speeds: MachineLimits,
) -> list[Row]:
    """Do a piece of work both ways in turn, so that both meet the same disturbances."""
    frame, manifest = _frame(), load_manifest(folder)
    least = floors(speeds, size_of(folder / manifest.onnx), manifest.input, frame, regions)
    for way in ways:
        way.timed(frame, regions)
    rounds: list[tuple[Times, Times]] = []
    began = time.monotonic()
    while len(rounds) < _ROUNDS and time.monotonic() - began < _PATIENCE:
        rounds.append((ways[0].timed(frame, regions), ways[1].timed(frame, regions)))

    def row(name: str, steps: Sequence[str]) -> Row:
        ours, plain = (
            [1000 * sum(times[way][step] for step in steps) for times in rounds] for way in (0, 1)
        )
        return Row(work, name, _spread(ours), _spread(plain), 1000 * sum(least[s] for s in steps))

    done = [step for step in _STEPS if step in rounds[0][0]]
    rows = [row(step, [step]) for step in done]
    if "upload" in done:
        rows.append(row(_REST, [step for step in done if step != "infer"]))
    return [*rows, row("all", done)] if "infer" in done else rows


def _spread(values: list[float]) -> tuple[float, float]:
    return float(np.median(values)), float(np.percentile(values, 99))
