"""The plain way, as demonstrations do it, to be measured beside ours.

Each region is resized and normalised by itself with OpenCV and numpy, copied from and to ordinary
memory while everything waits, and inferred alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engines.manifest import EngineInput, Manifest
from installation.scene import Frame

Times = dict[str, float]


def prepare(
    frame: NDArray[np.uint8], region: NDArray[np.float32], spec: EngineInput
) -> NDArray[np.float32]:
    """Crop, resize and normalise one region, float32 (1, 3, height, width)."""
    height, width = frame.shape[:2]
    x0, y0 = np.maximum(region[:2], 0).astype(int)
    x1, y1 = np.minimum(region[2:], (width, height)).astype(int)
    patch = cv2.resize(frame[y0:y1, x0:x1], (spec.width, spec.height))
    if spec.colour == "rgb":
        patch = cv2.cvtColor(patch, cv2.COLOR_BGR2RGB)
    mean, scale = np.array(spec.mean, np.float32), np.array(spec.scale, np.float32)
    pixels = (patch.astype(np.float32) - mean) * scale
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


@contextmanager
def _added(times: Times, step: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    times[step] = times.get(step, 0.0) + time.perf_counter() - began


class PlainCpu:
    """An engine on the CPU, one region at a time."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._spec = manifest.input
        model = ov.Core().read_model(folder / manifest.onnx)
        model.reshape([1, 3, self._spec.height, self._spec.width])
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self._request = ov.Core().compile_model(model, "CPU", hints).create_infer_request()

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> Times:
        """Run and return the seconds each step took."""
        times: Times = {}
        for region in regions:
            with _added(times, "preprocess"):
                planes = prepare(frame.bgr, region, self._spec)
            with _added(times, "infer"):
                self._request.infer({0: planes})
        return times


class PlainGpu:
    """An engine on the card, one region at a time.

    Parameters
    ----------
    manifest
        The engine's.
    answer
        Bytes that come back for one region.
    infer
        Infers one region and waits for it; None where no network can be run.
    """

    def __init__(self, manifest: Manifest, answer: int, infer: Callable[[], None] | None) -> None:
        import pycuda.driver as cuda

        self._cuda = cuda
        self._spec = manifest.input
        self._input = cuda.mem_alloc(3 * self._spec.width * self._spec.height * 4)
        self._output = cuda.mem_alloc(answer)
        self._answer = np.empty(answer, np.uint8)
        self._infer = infer

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> Times:
        """Run and return the seconds each step took, waiting included."""
        times: Times = {}
        for region in regions:
            with _added(times, "preprocess"):
                planes = prepare(frame.bgr, region, self._spec)
            with _added(times, "upload"):
                self._cuda.memcpy_htod(self._input, planes)
            if self._infer is not None:
                with _added(times, "infer"):
                    self._infer()
            with _added(times, "download"):
                self._cuda.memcpy_dtoh(self._answer, self._output)
        return times

    def close(self) -> None:
        """Give the memory back."""
        self._input.free()
        self._output.free()
