"""Both ways on an NVIDIA card; without TensorRT all is measured but the networks."""

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
from installation.bench.baseline import PlainGpu, Times
from installation.bench.roofline import MachineLimits, NetworkCost, fastest
from installation.inference.gpu import GpuContext, InputBuffer, OutputBuffer
from installation.inference.gpu_engine import GpuEngine
from installation.inference.open_engines import GpuInfo, prepare
from installation.scene import Frame

_COPIED = 64 << 20


def card_speeds(gpu: GpuContext) -> MachineLimits:
    """Measure the card: large copies within its memory, up to it and down from it."""
    one, other = cuda.mem_alloc(_COPIED), cuda.mem_alloc(_COPIED)
    host = cuda.pagelocked_empty(_COPIED, np.uint8)

    def speed(copy: Callable[[], None]) -> float:
        def work() -> None:
            copy()
            gpu.stream.synchronize()

        return _COPIED / fastest(work)

    try:
        return MachineLimits(
            memory=2 * speed(lambda: cuda.memcpy_dtod_async(one, other, _COPIED, gpu.stream)),
            up=speed(lambda: cuda.memcpy_htod_async(one, host, gpu.stream)),
            down=speed(lambda: cuda.memcpy_dtoh_async(host, one, gpu.stream)),
        )
    finally:
        for memory in (one, other, host.base):
            memory.free()


class BaselineGpu:
    """An engine without its network: frames go up, regions are cut, as many bytes come down."""

    def __init__(self, gpu: GpuContext, manifest: Manifest, answer: int) -> None:
        self._gpu = gpu
        self._feed = InputBuffer(gpu, manifest, True, BATCHES.max)
        self._output = OutputBuffer("answer", (BATCHES.max, answer // 4), np.dtype(np.float32))

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> Times:
        """See `GpuEngine.timed`."""
        return self._feed.timed(frame, regions, self._steps)

    def _steps(self, count: int) -> dict[str, Callable[[], None]]:
        return {
            "preprocess": partial(self._feed.write, count),
            "download": partial(self._output.fetch, count, self._gpu.stream),
        }

    def close(self) -> None:
        """Give the memory back."""
        self._output.free()
        self._feed.free()


@contextmanager
def compare(
    built: Path,
    name: str,
    manifest: Manifest,
    size: NetworkCost,
    gpu: GpuContext,
    found: GpuInfo | None,
) -> Iterator[tuple[GpuEngine | BaselineGpu, PlainGpu]]:
    """Open an engine for our way and for the plain one.

    Parameters
    ----------
    built, name, manifest, size
        The engine.
    gpu
        The card.
    found
        What runs networks on it; None if nothing does.
    """
    with ExitStack() as stack:
        infer = None
        ours: GpuEngine | BaselineGpu
        if found is None:
            ours = BaselineGpu(gpu, manifest, size.answer)
        else:
            _, plan = prepare(built, name, found, lambda _what, _done: True)
            ours = engine = GpuEngine(gpu, manifest, found.library.module, plan, BATCHES.max)

            def infer() -> None:
                engine.steps(1)["infer"]()
                gpu.stream.synchronize()

        stack.callback(ours.close)
        plain = PlainGpu(manifest, size.answer, infer)
        stack.callback(plain.close)
        yield ours, plain
