"""Engines on an NVIDIA card, through TensorRT.

Where the driver allows, all that follows the upload of a frame is recorded once for each size of
batch and replayed with a single call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Manifest
from engines.trt_builder import make_logger
from installation.inference.cuda_graph import CudaGraph, NoGraphError
from installation.inference.engine import InferenceError
from installation.inference.gpu import (
    GpuContext,
    GpuError,
    InputBuffer,
    OutputBuffer,
    translate_cuda_errors,
)
from installation.scene import Frame

log = logging.getLogger(__name__)


class PlanRejectedError(InferenceError):
    """A plan is of no use, though it is what was built: it has to be built again."""


class _Bucket:
    """A network ready for batches of one size."""

    def __init__(self, size: int, context: Any) -> None:
        self.size = size
        self.context = context
        self.graph: CudaGraph | None = None


class GpuEngine:
    """A plan on the card.

    Not to be shared between threads.

    Parameters
    ----------
    gpu
        The card.
    manifest
        The engine's.
    trt
        TensorRT's module, the one that built the plan.
    plan
        The plan, checked by whoever read it: TensorRT trusts it.
    most
        The largest batch it was built for.

    Raises
    ------
    RefusedError
        TensorRT refused the plan, or it is not of this engine.
    InferenceError
        TensorRT does not work.
    GpuError
        The card failed.
    """

    fallback = False

    def __init__(
        self, gpu: GpuContext, manifest: Manifest, trt: Any, plan: bytes, most: int
    ) -> None:
        self.manifest = manifest
        self.device = gpu.card.name
        self._gpu = gpu
        self._trt = trt
        self._most = most
        self._buckets: list[_Bucket] = []
        self._outputs: list[OutputBuffer] = []
        self._feed: Any = None
        self._logger = make_logger(trt)
        self._runtime: Any = None
        self._engine: Any = None
        try:
            self._deserialise(plan)
            with translate_cuda_errors("an engine was opened"):
                self._allocate()
                self._warm_up()
        except BaseException:
            self.close()
            raise

    def _deserialise(self, plan: bytes) -> None:
        try:
            self._runtime = self._trt.Runtime(self._logger)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
        except Exception as error:
            # The bindings raise what they please.
            raise InferenceError(f"TensorRT cannot work: {self._reason() or error}") from error
        if self._engine is None:
            raise PlanRejectedError(f"TensorRT refused the plan: {self._reason() or 'silently'}")

    def _reason(self) -> str:
        return " ".join("; ".join(self._logger.errors[-2:]).split())

    def _allocate(self) -> None:
        trt, engine = self._trt, self._engine
        types: dict[Any, np.dtype[Any]] = {
            trt.DataType.FLOAT: np.dtype(np.float32),
            trt.DataType.HALF: np.dtype(np.float16),
        }
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        spec = self.manifest.input
        shape = (3, spec.height, spec.width)
        outputs = set(names) - set(inputs)
        if (
            len(inputs) != 1
            or tuple(engine.get_tensor_shape(inputs[0]))[1:] != shape
            or outputs != set(self.manifest.outputs)
        ):
            raise PlanRejectedError(f"the plan is not of this engine: it has {', '.join(names)}")
        self._input = inputs[0]
        dtype = types[engine.get_tensor_dtype(self._input)]
        self._feed = InputBuffer(self._gpu, self.manifest, dtype == np.float16, self._most)
        sizes = [1 << power for power in range(self._most.bit_length())]
        for size in sorted({*(size for size in sizes if size < self._most), self._most}):
            self._buckets.append(_Bucket(size, self._context(size, shape)))
        largest = self._buckets[-1].context
        for name in self.manifest.outputs:
            output_shape = tuple(largest.get_tensor_shape(name))
            output_type = types[engine.get_tensor_dtype(name)]
            self._outputs.append(OutputBuffer(name, output_shape, output_type))
        for bucket in self._buckets:
            bucket.context.set_tensor_address(self._input, self._feed.planes)
            for output in self._outputs:
                bucket.context.set_tensor_address(output.name, output.address)

    def _context(self, size: int, shape: tuple[int, ...]) -> Any:
        engine, context = self._engine, None
        strategies = getattr(self._trt, "DynamicShapesKernelSpecializationStrategy", None)
        if strategies is not None:
            # TensorRT-RTX would go on to look for faster kernels in the background, and a recorded
            # graph would never get to see them.
            config = engine.create_runtime_config()
            config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context()
        if context is None or not context.set_input_shape(self._input, (size, *shape)):
            raise GpuError(f"TensorRT refused batches of {size}: {self._reason()}")
        return context

    def _warm_up(self) -> None:
        """Run every size of batch once, and record it where the driver allows."""
        self._gpu.upload(Frame.from_image(np.zeros((2, 2, 3), np.uint8)))
        for bucket in self._buckets:
            self._feed.fill(np.zeros((0, 4), np.float32))
            self._enqueue(bucket)
            self._gpu.stream.synchronize()
            try:
                work = partial(self._enqueue, bucket)
                bucket.graph = CudaGraph(self._gpu.driver, self._gpu.stream, work)
            except NoGraphError as error:
                log.info("batches of %d go without a CUDA graph: %s", bucket.size, error)

    def run(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`."""
        self._gpu.upload(frame)
        parts = [
            self._run_batch(regions[start : start + self._most])
            for start in range(0, len(regions), self._most)
        ]
        return {
            output.name: np.concatenate([part[output.name] for part in parts])
            for output in self._outputs
        }

    def _run_batch(self, regions: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        bucket = self._bucket(len(regions))
        with translate_cuda_errors("an engine ran"):
            self._feed.fill(regions)
            if bucket.graph is None:
                self._enqueue(bucket)
            elif code := bucket.graph.launch():
                raise GpuError(f"the GPU failed while an engine ran: error {code}")
            self._gpu.stream.synchronize()
        answers = {
            output.name: np.array(output.host[: len(regions)], np.float32)
            for output in self._outputs
        }
        if not all(np.isfinite(answer).all() for answer in answers.values()):
            raise GpuError("the GPU failed while an engine ran: its answers are no numbers")
        return answers

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, float]:
        """See `Engine.timed`; the seconds are the card's own."""
        return dict(self._feed.timed(frame, regions, self.steps))

    def steps(self, count: int) -> dict[str, Callable[[], None]]:
        """Return what it takes to run a batch, in order, each put on the stream when called."""
        bucket = self._bucket(count)
        return {
            "preprocess": lambda: self._feed.write(bucket.size),
            "infer": lambda: self._infer(bucket),
            "download": lambda: self._fetch(bucket.size),
        }

    def _bucket(self, count: int) -> _Bucket:
        return next(bucket for bucket in self._buckets if bucket.size >= count)

    def _enqueue(self, bucket: _Bucket) -> None:
        for step in self.steps(bucket.size).values():
            step()

    def _infer(self, bucket: _Bucket) -> None:
        if not bucket.context.execute_async_v3(self._gpu.stream.handle):
            raise GpuError(f"TensorRT failed while an engine ran: {self._reason()}")

    def _fetch(self, size: int) -> None:
        for output in self._outputs:
            output.fetch(size, self._gpu.stream)

    def close(self) -> None:
        """Free everything, in order, on the thread that opened it."""
        for bucket in self._buckets:
            if bucket.graph is not None:
                bucket.graph.free()
        self._buckets.clear()
        self._engine = None
        self._runtime = None
        for output in self._outputs:
            output.free()
        self._outputs.clear()
        if self._feed is not None:
            self._feed.free()
        self._feed = None
