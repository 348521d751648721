"""Engine and baseline on an NVIDIA GPU; without TensorRT, everything but the networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pycuda.driver as cuda
from numpy.typing import NDArray

from engines.manifest import Manifest
from engines.plan_cache import BATCHES
from installation.bench.baseline import GpuBaseline, StepTimes
from installation.bench.roofline import MachineLimits, NetworkCost, best_time
from installation.inference.gpu import GpuContext, InputBuffer, OutputBuffer
from installation.inference.gpu_engine import GpuEngine
from installation.inference.open_engines import GpuInfo, prepare
from installation.scene import Frame

_COPY_BYTES = 64 << 20


def measure_gpu_limits(gpu: GpuContext) -> MachineLimits:
    """Measure the GPU's bandwidth with large copies: within its memory, to it and from it."""
    source, target = cuda.mem_alloc(_COPY_BYTES), cuda.mem_alloc(_COPY_BYTES)
    host = cuda.pagelocked_empty(_COPY_BYTES, np.uint8)

    def bandwidth(copy: Callable[[], None]) -> float:
        def copy_and_wait() -> None:
            copy()
            gpu.stream.synchronize()

        return _COPY_BYTES / best_time(copy_and_wait)

    size, stream = _COPY_BYTES, gpu.stream
    try:
        return MachineLimits(
            memory=2 * bandwidth(lambda: cuda.memcpy_dtod_async(source, target, size, stream)),
            upload=bandwidth(lambda: cuda.memcpy_htod_async(source, host, stream)),
            download=bandwidth(lambda: cuda.memcpy_dtoh_async(host, source, stream)),
        )
    finally:
        for memory in (source, target, host.base):
            memory.free()


class EngineWithoutNetwork:
    """Upload, preprocessing and download of `GpuEngine`, without the network between them.

    Parameters
    ----------
    gpu
        Where they run.
    manifest
        The engine's.
    output_bytes
        Size of the outputs for one region.
    """

    def __init__(self, gpu: GpuContext, manifest: Manifest, output_bytes: int) -> None:
        self._gpu = gpu
        self._input = InputBuffer(gpu, manifest, True, BATCHES.max)
        shape = BATCHES.max, output_bytes // 4
        self._output = OutputBuffer("output", shape, np.dtype(np.float32))

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> StepTimes:
        """See `GpuEngine.timed`."""
        return self._input.timed(frame, regions, self._steps)

    def _steps(self, count: int) -> dict[str, Callable[[], None]]:
        return {
            "preprocess": partial(self._input.write, count),
            "download": partial(self._output.fetch, count, self._gpu.stream),
        }

    def close(self) -> None:
        """Free the GPU memory."""
        self._output.free()
        self._input.free()


@contextmanager
def open_both(
    built: Path,
    name: str,
    manifest: Manifest,
    cost: NetworkCost,
    gpu: GpuContext,
    info: GpuInfo | None,
) -> Iterator[tuple[GpuEngine | EngineWithoutNetwork, GpuBaseline]]:
    """Open an engine and its baseline.

    Parameters
    ----------
    built, name, manifest, cost
        Folder of the engines, and the engine's name, manifest and cost.
    gpu
        Where they run.
    info
        What runs networks on it; None: nothing does.
    """
    with ExitStack() as stack:
        infer = None
        ours: GpuEngine | EngineWithoutNetwork
        if info is None:
            ours = EngineWithoutNetwork(gpu, manifest, cost.output_bytes)
        else:
            _, plan = prepare(built, name, info, lambda _what, _done: True)
            ours = engine = GpuEngine(gpu, manifest, info.library.module, plan, BATCHES.max)

            def infer() -> None:
                engine.steps(1)["infer"]()
                gpu.stream.synchronize()

        stack.callback(ours.close)
        baseline = GpuBaseline(manifest, cost.output_bytes, infer)
        stack.callback(baseline.close)
        yield ours, baseline
