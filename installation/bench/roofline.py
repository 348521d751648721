"""What no program can beat: the bytes that have to move and the operations that have to be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.manifest import EngineInput
from installation.scene import Frame

_COPIED = 64 << 20
_SIDE = 1024
_TRIES = 5


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """What a machine does at its best.

    Attributes
    ----------
    memory
        Bytes a second read and written.
    arithmetic
        float32 operations a second; None where nothing measures them.
    up, down
        Bytes a second between the computer's memory and the card's; None where they are one.
    """

    memory: float
    arithmetic: float | None = None
    up: float | None = None
    down: float | None = None


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """What a network is, for one region.

    Attributes
    ----------
    operations
        Multiplications and additions.
    weights, answer
        Bytes of its parameters and of its outputs.
    """

    operations: int
    weights: int
    answer: int


def fastest(work: Callable[[], object]) -> float:
    """Return the seconds something takes, the best of some tries."""

    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return min(once() for _ in range(_TRIES))


def cpu_speeds() -> MachineLimits:
    """Measure the processor: a large copy, a large matrix product."""
    source, target = np.ones(_COPIED, np.uint8), np.empty(_COPIED, np.uint8)
    square = np.ones((_SIDE, _SIDE), np.float32)
    return MachineLimits(
        memory=2 * _COPIED / fastest(lambda: np.copyto(target, source)),
        arithmetic=2 * _SIDE**3 / fastest(lambda: square @ square),
    )


def bytes_moved(frame: Frame, regions: NDArray[np.float32], spec: EngineInput, item: int) -> int:
    """Count the bytes that cutting regions reads and writes at the least, each once.

    Parameters
    ----------
    frame, regions
        As `Engine.run` takes them.
    spec
        The network's input.
    item
        Bytes of one number of that.
    """
    seen = np.zeros((frame.height, frame.width), bool)
    for x0, y0, x1, y1 in regions.astype(int):
        seen[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return int(seen.sum()) * 3 + len(regions) * 3 * spec.width * spec.height * item


def size_of(path: Path) -> NetworkCost:
    """Take the size of a network in an ONNX file."""
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    weights = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    for tensor in (*graph.input, *graph.value_info, *graph.output):
        dims = tensor.type.tensor_type.shape.dim
        shapes[tensor.name] = tuple(dim.dim_value or 1 for dim in dims)
    operations = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            # Each weight of one filter meets each place: of the output, or of the input.
            places = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
            operations += 2 * int(np.prod(places)) * int(np.prod(shapes[node.input[1]][1:]))
        elif node.op_type in ("Gemm", "MatMul"):
            operations += 2 * int(np.prod(shapes[node.output[0]])) * shapes[node.input[0]][-1]
    answer = 4 * sum(int(np.prod(shapes[tensor.name])) for tensor in graph.output)
    return NetworkCost(operations, weights, answer)


def floors(
    speeds: MachineLimits,
    size: NetworkCost,
    spec: EngineInput,
    frame: Frame,
    regions: NDArray[np.float32],
) -> dict[str, float]:
    """Return the seconds each step takes at the least.

    Parameters
    ----------
    speeds
        Of the machine.
    size, spec
        The network and its input.
    frame, regions
        As `Engine.run` takes them.
    """
    count = len(regions)
    on_card = speeds.up is not None and speeds.down is not None
    # On the card networks are halved; on the CPU pixels stay bytes until they are within.
    item = 2 if on_card else 1
    weights = size.weights // 2 if on_card else size.weights
    infer = weights / speeds.memory
    if speeds.arithmetic is not None:
        infer = max(infer, count * size.operations / speeds.arithmetic)
    found = {"preprocess": bytes_moved(frame, regions, spec, item) / speeds.memory, "infer": infer}
    if speeds.up is not None and speeds.down is not None:
        found |= {
            "upload": frame.pixels.nbytes / speeds.up,
            "download": count * size.answer / speeds.down,
        }
    return found
