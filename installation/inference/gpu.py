"""Frames on an NVIDIA GPU, with pycuda: uploaded once, cropped into network inputs by a kernel.

Everything here belongs to the thread that created it, because CUDA contexts do.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pycuda.driver as cuda
from numpy.typing import NDArray

from engines.cuda_device import CudaDevice, load_driver
from engines.manifest import Manifest
from installation.inference.engine import InferenceError
from installation.inference.nvrtc import CompilerError, compile_source
from installation.scene import Frame, PixelLayout

KERNELS = Path(__file__).with_name("kernels.cu")

# ``enum Format`` of ``kernels.cu``.
_FORMATS: dict[PixelLayout, int] = {"BGR": 0, "YUYV": 1, "NV12": 2}

# CU_STREAM_NON_BLOCKING: do not synchronise with the legacy default stream.
_NON_BLOCKING = 1
# A frame is uploaded in chunks through pinned buffers: one is filled while others are copied.
_CHUNK_BYTES = 512 << 10
_CHUNKS = 4
_BLOCK = (32, 8, 1)


class GpuError(InferenceError):
    """The GPU, its driver or TensorRT failed; further results would be unreliable."""


@contextlib.contextmanager
def translate_cuda_errors(activity: str) -> Iterator[None]:
    """Raise pycuda's errors as `GpuError`; `activity` completes "the GPU failed while …"."""
    try:
        yield
    except cuda.Error as error:
        raise GpuError(f"the GPU failed while {activity}: {error}") from error


def job_type(regions: int) -> np.dtype[np.void]:
    """Return the layout of ``struct Job`` in ``kernels.cu`` with room for N regions."""
    return np.dtype(
        [
            ("frame", np.uint64),
            ("width", np.int32),
            ("height", np.int32),
            ("format", np.int32),
            ("regions", np.float32, (regions, 4)),
        ]
    )


def input_spec(manifest: Manifest, half: bool) -> NDArray[np.void]:
    """Return ``struct Input`` of ``kernels.cu`` for an engine, as a one-element array."""
    spec = manifest.input
    layout = np.dtype(
        [
            *((name, np.int32) for name in ("width", "height", "rgb", "half")),
            *((name, np.float32, 3) for name in ("mean", "scale")),
        ]
    )
    values = (spec.width, spec.height, spec.colour == "rgb", half, spec.mean, spec.scale)
    return np.array([values], layout)


class GpuContext:
    """A GPU's CUDA context, with a stream, the crop kernel and the newest frame.

    Parameters
    ----------
    device
        The GPU.

    Raises
    ------
    GpuError
        The GPU could not be opened.
    CompilerError
        The kernel could not be compiled for it.
    """

    def __init__(self, device: CudaDevice) -> None:
        self.device = device
        self.driver = load_driver()
        self._pinned: list[NDArray[np.uint8]] = []
        self._sent: list[Any] = []
        self._memory: Any = None
        self._memory_size = 0
        self._frame: Frame | None = None
        with translate_cuda_errors("it was opened"):
            cuda.init()
            # TensorRT uses the primary context, too.
            self._context = cuda.Device(0).retain_primary_context()
            self._context.push()
        try:
            with translate_cuda_errors("it was opened"):
                self.stream = cuda.Stream(_NON_BLOCKING)
                self._module = self._load_kernels()
                self.crop_kernel = self._module.get_function("crop_resize")
                for _ in range(_CHUNKS):
                    self._pinned.append(cuda.pagelocked_empty(_CHUNK_BYTES, np.uint8))
                    self._sent.append(cuda.Event(cuda.event_flags.DISABLE_TIMING))
        except BaseException:
            self.close()
            raise

    def _load_kernels(self) -> Any:
        source = KERNELS.read_text(encoding="utf-8")
        reason = ""
        for cubin in compile_source(source, self.device.compute_capability, self.device.cuda[0]):
            try:
                return cuda.module_from_buffer(cubin)
            except cuda.Error as error:
                reason = str(error)
        raise CompilerError(
            f"the driver ({self.device.driver}) cannot load the output of the installed CUDA "
            f"compilers: {reason}; install NVRTC of the driver's CUDA version"
        )

    def upload(self, frame: Frame) -> None:
        """Start copying a frame to the GPU in its own layout, unless it is there already."""
        if frame is self._frame:
            return
        size = frame.pixels.nbytes
        with translate_cuda_errors("a frame was uploaded"):
            if self._memory_size < size:
                if self._memory is not None:
                    self._memory.free()
                self._memory, self._memory_size = None, 0
                self._memory = cuda.mem_alloc(size)
                self._memory_size = size
            pixels = np.ascontiguousarray(frame.pixels).reshape(-1)
            for index, start in enumerate(range(0, pixels.size, _CHUNK_BYTES)):
                chunk = pixels[start : start + _CHUNK_BYTES]
                pinned, sent = self._pinned[index % _CHUNKS], self._sent[index % _CHUNKS]
                sent.synchronize()
                pinned[: chunk.size] = chunk
                target = int(self._memory) + start
                cuda.memcpy_htod_async(target, pinned[: chunk.size], self.stream)
                sent.record(self.stream)
        self._frame = frame

    def fill_frame_fields(self, job: np.void) -> None:
        """Write the newest frame's address, size and format into a job."""
        assert self._frame is not None
        job["frame"] = int(self._memory)
        job["width"], job["height"] = self._frame.width, self._frame.height
        job["format"] = _FORMATS[self._frame.layout]

    def invalidate_frame(self) -> None:
        """Have the next `upload` copy its frame in any case."""
        self._frame = None

    def timed(self, steps: Mapping[str, Callable[[], None]]) -> dict[str, float]:
        """Enqueue steps one after the other and return the seconds each took on the GPU."""
        events = [cuda.Event() for _ in range(len(steps) + 1)]
        events[0].record(self.stream)
        for event, step in zip(events[1:], steps.values(), strict=True):
            step()
            event.record(self.stream)
        events[-1].synchronize()
        return {
            name: before.time_till(after) / 1000
            for name, before, after in zip(steps, events, events[1:], strict=False)
        }

    def close(self) -> None:
        """Free everything in order. Call it on the thread that created the context."""
        with contextlib.suppress(cuda.Error):
            self._context.synchronize()
        self._frame = None
        for pinned in self._pinned:
            release(pinned.base)
        self._pinned.clear()
        if self._memory is not None:
            release(self._memory)
        self._memory = None
        self._sent.clear()
        self.crop_kernel = self._module = self.stream = None
        with contextlib.suppress(cuda.Error):
            # detach() leaves the context on this thread's stack, and would push it once more if it
            # had been popped before: so it is popped afterwards, through the driver.
            self._context.detach()
        self.driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


def release(memory: Any) -> None:
    """Free memory; after a GPU failure the driver refuses, and nothing is left to free."""
    with contextlib.suppress(cuda.Error):
        memory.free()


class InputBuffer:
    """A network's input on the GPU, and the means to fill it with regions of the newest frame.

    Parameters
    ----------
    gpu
        The GPU.
    manifest
        Defines size, colour order and normalisation of the input.
    half
        Whether the input is float16; otherwise float32.
    max_batch
        Largest batch.

    Attributes
    ----------
    address
        Device address of the input, (max_batch, 3, height, width).
    """

    def __init__(self, gpu: GpuContext, manifest: Manifest, half: bool, max_batch: int) -> None:
        self._gpu = gpu
        self._max_batch = max_batch
        self._memory: list[Any] = []
        size = manifest.input
        self._spec = input_spec(manifest, half)
        self._grid = -(-size.width // _BLOCK[0]), -(-size.height // _BLOCK[1])
        layout = job_type(max_batch)
        try:
            self._planes = self._own(
                cuda.mem_alloc(max_batch * 3 * size.height * size.width * (2 if half else 4))
            )
            self._job_on_gpu = self._own(cuda.mem_alloc(layout.itemsize))
            self._job_bytes = cuda.pagelocked_empty(layout.itemsize, np.uint8)
            self._own(self._job_bytes.base)
        except BaseException:
            self.free()
            raise
        self.address = int(self._planes)
        self._job = self._job_bytes.view(layout)[0]

    def _own(self, memory: Any) -> Any:
        self._memory.append(memory)
        return memory

    def fill(self, regions: NDArray[np.float32]) -> None:
        """Set the regions that `write` crops from the newest frame: float32 (N, 4), xyxy.

        The rest of the batch is left empty, which costs the kernel next to nothing.
        """
        self._gpu.fill_frame_fields(self._job)
        self._job["regions"][: len(regions)] = regions
        self._job["regions"][len(regions) :] = 0

    def write(self, size: int) -> None:
        """Enqueue the kernel that crops a batch of that size."""
        cuda.memcpy_htod_async(self._job_on_gpu, self._job_bytes, self._gpu.stream)
        self._gpu.crop_kernel(
            self._job_on_gpu,
            self._planes,
            self._spec,
            block=_BLOCK,
            grid=(*self._grid, size),
            stream=self._gpu.stream,
        )

    def timed(
        self,
        frame: Frame,
        regions: NDArray[np.float32],
        steps: Callable[[int], Mapping[str, Callable[[], None]]],
    ) -> dict[str, float]:
        """Upload a frame and process its regions batch by batch, timing each step on the GPU.

        Parameters
        ----------
        frame, regions
            See `Engine.run`.
        steps
            Returns the steps for a batch of the given size, in order; each enqueues its work.

        Returns
        -------
        dict
            Seconds by step, including ``upload``, summed over the batches.
        """
        self._gpu.invalidate_frame()
        times = self._gpu.timed({"upload": lambda: self._gpu.upload(frame)})
        for start in range(0, len(regions), self._max_batch):
            batch = regions[start : start + self._max_batch]
            self.fill(batch)
            for step, seconds in self._gpu.timed(steps(len(batch))).items():
                times[step] = times.get(step, 0.0) + seconds
        return times

    def free(self) -> None:
        """Free the memory."""
        for memory in self._memory:
            release(memory)
        self._memory.clear()


class OutputBuffer:
    """One output of a network, in GPU memory and in pinned host memory.

    Parameters
    ----------
    name
        Tensor name.
    shape
        Shape for the largest batch.
    dtype
        float16 or float32.

    Attributes
    ----------
    address
        Device address.
    host
        Array that `fetch` copies to.
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.name = name
        self._device = cuda.mem_alloc(int(np.prod(shape)) * dtype.itemsize)
        self.address = int(self._device)
        try:
            self.host = cuda.pagelocked_empty(shape, dtype)
        except BaseException:
            release(self._device)
            raise

    def fetch(self, count: int, stream: Any) -> None:
        """Enqueue the copy of the first `count` rows to the host."""
        cuda.memcpy_dtoh_async(self.host[:count], self._device, stream)

    def free(self) -> None:
        """Free the memory."""
        release(self._device)
        release(self.host.base)
