"""Engines on an NVIDIA GPU, with TensorRT.

Where the driver allows it, everything that follows the upload of a frame is captured in a CUDA
graph, one for each batch size, and replayed with a single call.
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
    """TensorRT cannot use an undamaged plan; it has to be built again."""


class _Bucket:
    """An execution context for one batch size."""

    def __init__(self, size: int, context: Any) -> None:
        self.size = size
        self.context = context
        self.graph: CudaGraph | None = None


class GpuEngine:
    """A TensorRT plan on the GPU.

    Not thread-safe.

    Parameters
    ----------
    gpu
        The GPU.
    manifest
        The engine's manifest.
    trt
        The TensorRT module that built the plan.
    plan
        The plan, already verified: TensorRT crashes on a damaged one.
    max_batch
        Largest batch the plan was built for.

    Raises
    ------
    PlanRejectedError
        TensorRT rejected the plan, or it belongs to another engine.
    InferenceError
        TensorRT does not work.
    GpuError
        The GPU failed.
    """

    fallback = False

    def __init__(
        self, gpu: GpuContext, manifest: Manifest, trt: Any, plan: bytes, max_batch: int
    ) -> None:
        self.manifest = manifest
        self.device = gpu.device.name
        self._gpu = gpu
        self._trt = trt
        self._max_batch = max_batch
        self._buckets: list[_Bucket] = []
        self._outputs: list[OutputBuffer] = []
        self._input_buffer: Any = None
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
            # The bindings document no exceptions.
            raise InferenceError(f"TensorRT cannot work: {self._reason() or error}") from error
        if self._engine is None:
            reason = self._reason()
            raise PlanRejectedError(
                f"TensorRT rejected the plan: {reason}"
                if reason
                else "TensorRT rejected the plan without an error message"
            )

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
            raise PlanRejectedError(
                f"the plan belongs to another engine: its tensors are {', '.join(names)}"
            )
        self._input_name = inputs[0]
        dtype = types[engine.get_tensor_dtype(self._input_name)]
        self._input_buffer = InputBuffer(
            self._gpu, self.manifest, dtype == np.float16, self._max_batch
        )
        sizes = [1 << power for power in range(self._max_batch.bit_length())]
        for size in sorted({*(size for size in sizes if size < self._max_batch), self._max_batch}):
            self._buckets.append(_Bucket(size, self._context(size, shape)))
        largest = self._buckets[-1].context
        for name in self.manifest.outputs:
            output_shape = tuple(largest.get_tensor_shape(name))
            output_type = types[engine.get_tensor_dtype(name)]
            self._outputs.append(OutputBuffer(name, output_shape, output_type))
        for bucket in self._buckets:
            bucket.context.set_tensor_address(self._input_name, self._input_buffer.address)
            for output in self._outputs:
                bucket.context.set_tensor_address(output.name, output.address)

    def _context(self, size: int, shape: tuple[int, ...]) -> Any:
        engine, context = self._engine, None
        strategies = getattr(self._trt, "DynamicShapesKernelSpecializationStrategy", None)
        if strategies is not None:
            # TensorRT-RTX would otherwise compile faster kernels in the background, which a
            # captured graph would never use.
            config = engine.create_runtime_config()
            config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
            context = engine.create_execution_context(config)
        else:
            context = engine.create_execution_context()
        if context is None or not context.set_input_shape(self._input_name, (size, *shape)):
            raise GpuError(f"TensorRT rejected a batch size of {size}: {self._reason()}")
        return context

    def _warm_up(self) -> None:
        """Run every batch size once, and capture it as a CUDA graph if possible."""
        self._gpu.upload(Frame.from_image(np.zeros((2, 2, 3), np.uint8)))
        for bucket in self._buckets:
            self._input_buffer.fill(np.zeros((0, 4), np.float32))
            self._enqueue(bucket)
            self._gpu.stream.synchronize()
            try:
                work = partial(self._enqueue, bucket)
                bucket.graph = CudaGraph(self._gpu.driver, self._gpu.stream, work)
            except NoGraphError as error:
                log.info("batch size %d runs without a CUDA graph: %s", bucket.size, error)

    def run(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`."""
        self._gpu.upload(frame)
        parts = [
            self._run_batch(regions[start : start + self._max_batch])
            for start in range(0, len(regions), self._max_batch)
        ]
        return {
            output.name: np.concatenate([part[output.name] for part in parts])
            for output in self._outputs
        }

    def _run_batch(self, regions: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        bucket = self._bucket(len(regions))
        with translate_cuda_errors("an engine ran"):
            self._input_buffer.fill(regions)
            if bucket.graph is None:
                self._enqueue(bucket)
            elif code := bucket.graph.launch():
                raise GpuError(f"the GPU failed while an engine ran: error {code}")
            self._gpu.stream.synchronize()
        outputs = {
            output.name: np.array(output.host[: len(regions)], np.float32)
            for output in self._outputs
        }
        if not all(np.isfinite(output).all() for output in outputs.values()):
            raise GpuError("the GPU failed while an engine ran: its outputs contain NaN or Inf")
        return outputs

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, float]:
        """See `Engine.timed`; measured by the GPU."""
        return dict(self._input_buffer.timed(frame, regions, self.steps))

    def steps(self, count: int) -> dict[str, Callable[[], None]]:
        """Return the steps that run a batch, in order; calling one enqueues it."""
        bucket = self._bucket(count)
        return {
            "preprocess": lambda: self._input_buffer.write(bucket.size),
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
        """Free everything in order. Call it on the thread that opened the engine."""
        for bucket in self._buckets:
            if bucket.graph is not None:
                bucket.graph.free()
        self._buckets.clear()
        self._engine = None
        self._runtime = None
        for output in self._outputs:
            output.free()
        self._outputs.clear()
        if self._input_buffer is not None:
            self._input_buffer.free()
        self._input_buffer = None
