"""The roofline: the least time each step can take, from bytes moved and operations done."""

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

_COPY_BYTES = 64 << 20
# Of the matrices that are multiplied.
_MATRIX_SIDE = 1024
_REPEATS = 5


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """Peak rates of a machine, as measured.

    Attributes
    ----------
    memory
        Memory bandwidth, bytes read or written per second.
    arithmetic
        float32 operations per second; None: not measured.
    upload, download
        Bytes per second to and from the GPU's memory; None: on a CPU.
    """

    memory: float
    arithmetic: float | None = None
    upload: float | None = None
    download: float | None = None


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """Cost of a network, for one region.

    Attributes
    ----------
    operations
        Multiplications and additions.
    weight_bytes, output_bytes
        Size of its parameters and of its outputs.
    """

    operations: int
    weight_bytes: int
    output_bytes: int


def best_time(work: Callable[[], object]) -> float:
    """Return how many seconds a function takes, the best of a few calls."""

    def once() -> float:
        started_at = time.perf_counter()
        work()
        return time.perf_counter() - started_at

    return min(once() for _ in range(_REPEATS))


def measure_cpu_limits() -> MachineLimits:
    """Measure the CPU with a large copy and a large matrix product."""
    source, target = np.ones(_COPY_BYTES, np.uint8), np.empty(_COPY_BYTES, np.uint8)
    matrix = np.ones((_MATRIX_SIDE, _MATRIX_SIDE), np.float32)
    return MachineLimits(
        memory=2 * _COPY_BYTES / best_time(lambda: np.copyto(target, source)),
        arithmetic=2 * _MATRIX_SIDE**3 / best_time(lambda: matrix @ matrix),
    )


def bytes_moved(
    frame: Frame, regions: NDArray[np.float32], spec: EngineInput, item_bytes: int
) -> int:
    """Return how many bytes preprocessing must read and write, each counted once.

    Parameters
    ----------
    frame
        What the regions are cut from.
    regions
        float32 (N, 4), xyxy in pixels of the frame.
    spec
        Input of the network.
    item_bytes
        Size of one number of that input.
    """
    is_read = np.zeros((frame.height, frame.width), bool)
    for x0, y0, x1, y1 in regions.astype(int):
        is_read[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = True
    return int(is_read.sum()) * 3 + len(regions) * 3 * spec.width * spec.height * item_bytes


def network_cost(path: Path) -> NetworkCost:
    """Return the cost of the network in an ONNX file."""
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    weight_bytes = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    for tensor in (*graph.input, *graph.value_info, *graph.output):
        dims = tensor.type.tensor_type.shape.dim
        shapes[tensor.name] = tuple(dim.dim_value or 1 for dim in dims)
    operations = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            # Each weight of a filter is applied at each position: of the output, or of the input.
            positions = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
            operations += 2 * int(np.prod(positions)) * int(np.prod(shapes[node.input[1]][1:]))
        elif node.op_type in ("Gemm", "MatMul"):
            operations += 2 * int(np.prod(shapes[node.output[0]])) * shapes[node.input[0]][-1]
    output_bytes = 4 * sum(int(np.prod(shapes[tensor.name])) for tensor in graph.output)
    return NetworkCost(operations, weight_bytes, output_bytes)


def least_times(
    limits: MachineLimits,
    cost: NetworkCost,
    spec: EngineInput,
    frame: Frame,
    regions: NDArray[np.float32],
) -> dict[str, float]:
    """Return the least seconds each step can take.

    Parameters
    ----------
    limits
        The machine's.
    cost, spec
        Of the network, and its input.
    frame, regions
        See `bytes_moved`.
    """
    count = len(regions)
    on_gpu = limits.upload is not None and limits.download is not None
    # Inputs and weights are float16 on the GPU; on the CPU the input is uint8 until the network.
    item_bytes = 2 if on_gpu else 1
    weight_bytes = cost.weight_bytes // 2 if on_gpu else cost.weight_bytes
    infer = weight_bytes / limits.memory
    if limits.arithmetic is not None:
        infer = max(infer, count * cost.operations / limits.arithmetic)
    preprocess = bytes_moved(frame, regions, spec, item_bytes) / limits.memory
    times = {"preprocess": preprocess, "infer": infer}
    if limits.upload is not None and limits.download is not None:
        times |= {
            "upload": frame.pixels.nbytes / limits.upload,
            "download": count * cost.output_bytes / limits.download,
        }
    return times
