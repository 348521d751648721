"""Frames on an NVIDIA card, through pycuda: uploaded once, cut into a network's input by a kernel.

All of it belongs to the thread that opened it: CUDA contexts do.
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

# CU_STREAM_NON_BLOCKING: no waiting for the legacy default stream.
_NON_BLOCKING = 1
# A frame goes up in slices through pinned buffers: while one is on its way the next is filled.
_SLICE = 512 << 10
_SLICES = 4
_BLOCK = (32, 8, 1)


class GpuError(InferenceError):
    """The card, its driver or TensorRT failed; what it computes cannot be trusted any more."""


@contextlib.contextmanager
def translate_cuda_errors(doing: str) -> Iterator[None]:
    """Turn pycuda's errors into ours."""
    try:
        yield
    except cuda.Error as error:
        raise GpuError(f"the GPU failed while {doing}: {error}") from error


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
    """Return ``struct Input`` of ``kernels.cu`` for an engine, as an array of one."""
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
    """The card: its context, a stream, our kernel and the newest frame.

    Parameters
    ----------
    card
        Which.

    Raises
    ------
    GpuError
        It could not be opened.
    CompilerError
        The kernel could not be compiled for it.
    """

    def __init__(self, card: CudaDevice) -> None:
        self.card = card
        self.driver = load_driver()
        self._pinned: list[NDArray[np.uint8]] = []
        self._sent: list[Any] = []
        self._memory: Any = None
        self._memory_size = 0
        self._frame: Frame | None = None
        with translate_cuda_errors("it was opened"):
            cuda.init()
            # The primary context is the one TensorRT uses, too.
            self._context = cuda.Device(0).retain_primary_context()
            self._context.push()
        try:
            with translate_cuda_errors("it was opened"):
                self.stream = cuda.Stream(_NON_BLOCKING)
                self._module = self._load_kernels()
                self.crop_kernel = self._module.get_function("crop_resize")
                for _ in range(_SLICES):
                    self._pinned.append(cuda.pagelocked_empty(_SLICE, np.uint8))
                    self._sent.append(cuda.Event(cuda.event_flags.DISABLE_TIMING))
        except BaseException:
            self.close()
            raise

    def _load_kernels(self) -> Any:
        source = KERNELS.read_text(encoding="utf-8")
        refused = ""
        for cubin in compile_source(source, self.card.compute_capability, self.card.cuda[0]):
            try:
                return cuda.module_from_buffer(cubin)
            except cuda.Error as error:
                refused = str(error)
        raise CompilerError(
            f"the driver ({self.card.driver}) loads nothing the CUDA compilers here make: "
            f"{refused}; install NVRTC of the driver's CUDA version"
        )

    def upload(self, frame: Frame) -> None:
        """Start copying a frame to the GPU in its own layout; again for the same frame: nothing."""
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
            for number, start in enumerate(range(0, pixels.size, _SLICE)):
                piece = pixels[start : start + _SLICE]
                pinned, sent = self._pinned[number % _SLICES], self._sent[number % _SLICES]
                sent.synchronize()
                pinned[: piece.size] = piece
                target = int(self._memory) + start
                cuda.memcpy_htod_async(target, pinned[: piece.size], self.stream)
                sent.record(self.stream)
        self._frame = frame

    def describe(self, job: np.void) -> None:
        """Write into a job where the newest frame lies and how."""
        assert self._frame is not None
        job["frame"] = int(self._memory)
        job["width"], job["height"] = self._frame.width, self._frame.height
        job["format"] = _FORMATS[self._frame.layout]

    def forget(self) -> None:
        """Forget the newest frame, so that it is uploaded again."""
        self._frame = None

    def timed(self, steps: Mapping[str, Callable[[], None]]) -> dict[str, float]:
        """Put steps on the stream one after the other; return the seconds each took there."""
        marks = [cuda.Event() for _ in range(len(steps) + 1)]
        marks[0].record(self.stream)
        for mark, step in zip(marks[1:], steps.values(), strict=True):
            step()
            mark.record(self.stream)
        marks[-1].synchronize()
        return {
            name: before.time_till(after) / 1000
            for name, before, after in zip(steps, marks, marks[1:], strict=False)
        }

    def close(self) -> None:
        """Free everything, in order, on the thread that opened it."""
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
            # pycuda gives a context back without taking it from this thread; popped first, it
            # would even put it there once more.
            self._context.detach()
        self.driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


def release(memory: Any) -> None:
    """Free memory; after a failure of the card there is nothing left to free."""
    with contextlib.suppress(cuda.Error):
        memory.free()


class InputBuffer:
    """The input of a network on the card, and what fills it with regions of the newest frame.

    Parameters
    ----------
    gpu
        The card.
    manifest
        Says how the network wants its input.
    half
        Whether it wants float16, else float32.
    most
        The largest batch.

    Attributes
    ----------
    planes
        Address of the input, (most, 3, height, width).
    """

    def __init__(self, gpu: GpuContext, manifest: Manifest, half: bool, most: int) -> None:
        self._gpu = gpu
        self._most = most
        self._memory: list[Any] = []
        size = manifest.input
        self._spec = input_spec(manifest, half)
        self._grid = -(-size.width // _BLOCK[0]), -(-size.height // _BLOCK[1])
        layout = job_type(most)
        try:
            self._planes = self._keep(
                cuda.mem_alloc(most * 3 * size.height * size.width * (2 if half else 4))
            )
            self._device = self._keep(cuda.mem_alloc(layout.itemsize))
            self._host = cuda.pagelocked_empty(layout.itemsize, np.uint8)
            self._keep(self._host.base)
        except BaseException:
            self.free()
            raise
        self.planes = int(self._planes)
        self._job = self._host.view(layout)[0]

    def _keep(self, memory: Any) -> Any:
        self._memory.append(memory)
        return memory

    def fill(self, regions: NDArray[np.float32]) -> None:
        """Say which regions of the newest frame `write` shall write, float32 (N, 4), xyxy.

        Those a batch has no use for are left empty, which is soon done.
        """
        self._gpu.describe(self._job)
        self._job["regions"][: len(regions)] = regions
        self._job["regions"][len(regions) :] = 0

    def write(self, size: int) -> None:
        """Put on the stream what writes a batch of that size."""
        cuda.memcpy_htod_async(self._device, self._host, self._gpu.stream)
        self._gpu.crop_kernel(
            self._device,
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
        """Upload a frame and take its regions batch by batch, timing each step on the card.

        Parameters
        ----------
        frame, regions
            As `Engine.run` takes them.
        steps
            Given the size of a batch, what it takes to run one, in order.

        Returns
        -------
        dict
            Seconds by step, ``upload`` among them, summed over the batches.
        """
        self._gpu.forget()
        times = self._gpu.timed({"upload": lambda: self._gpu.upload(frame)})
        for start in range(0, len(regions), self._most):
            batch = regions[start : start + self._most]
            self.fill(batch)
            for step, seconds in self._gpu.timed(steps(len(batch))).items():
                times[step] = times.get(step, 0.0) + seconds
        return times

    def free(self) -> None:
        """Give the memory back."""
        for memory in self._memory:
            release(memory)
        self._memory.clear()


class OutputBuffer:
    """One output of a network: where it lies on the card, and where it comes down to.

    Parameters
    ----------
    name
        Of the tensor.
    shape
        Of the largest batch.
    dtype
        float16 or float32.
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
        """Put on the stream what brings down the first rows."""
        cuda.memcpy_dtoh_async(self.host[:count], self._device, stream)

    def free(self) -> None:
        """Give the memory back."""
        release(self._device)
        release(self.host.base)
