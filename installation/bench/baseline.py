"""Baseline of inference, as demonstrations implement it.

Each region is resized and normalised on its own with OpenCV and NumPy, copied synchronously from
and to pageable memory, and inferred on its own.
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

# Seconds by step.
StepTimes = dict[str, float]


def preprocess(
    frame: NDArray[np.uint8], region: NDArray[np.float32], spec: EngineInput
) -> NDArray[np.float32]:
    """Crop, resize and normalise one region.

    Parameters
    ----------
    frame
        uint8 (height, width, 3), BGR.
    region
        float32 (4,), xyxy in pixels of the frame.
    spec
        Input of the network.

    Returns
    -------
    ndarray
        float32 (1, 3, height, width).
    """
    height, width = frame.shape[:2]
    x0, y0 = np.maximum(region[:2], 0).astype(int)
    x1, y1 = np.minimum(region[2:], (width, height)).astype(int)
    crop = cv2.resize(frame[y0:y1, x0:x1], (spec.width, spec.height))
    if spec.colour == "rgb":
        crop = cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)
    mean, scale = np.array(spec.mean, np.float32), np.array(spec.scale, np.float32)
    pixels = (crop.astype(np.float32) - mean) * scale
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


@contextmanager
def _add_time(times: StepTimes, step: str) -> Iterator[None]:
    started_at = time.perf_counter()
    yield
    times[step] = times.get(step, 0.0) + time.perf_counter() - started_at


class CpuBaseline:
    """An engine on the CPU that infers one region at a time."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._spec = manifest.input
        model = ov.Core().read_model(folder / manifest.onnx)
        model.reshape([1, 3, self._spec.height, self._spec.width])
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self._request = ov.Core().compile_model(model, "CPU", hints).create_infer_request()

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> StepTimes:
        """Run the engine; return the seconds each step took."""
        times: StepTimes = {}
        for region in regions:
            with _add_time(times, "preprocess"):
                planes = preprocess(frame.bgr, region, self._spec)
            with _add_time(times, "infer"):
                self._request.infer({0: planes})
        return times


class GpuBaseline:
    """An engine on the GPU that infers one region at a time.

    Parameters
    ----------
    manifest
        The engine's.
    output_bytes
        Size of the outputs for one region.
    infer
        Infers one region and waits for it; None: only preprocessing and copies are measured.
    """

    def __init__(
        self, manifest: Manifest, output_bytes: int, infer: Callable[[], None] | None
    ) -> None:
        import pycuda.driver as cuda

        self._cuda = cuda
        self._spec = manifest.input
        self._device_input = cuda.mem_alloc(3 * self._spec.width * self._spec.height * 4)
        self._device_output = cuda.mem_alloc(output_bytes)
        self._host_output = np.empty(output_bytes, np.uint8)
        self._infer = infer

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> StepTimes:
        """Run the engine; return the seconds each step took, including synchronisation."""
        times: StepTimes = {}
        for region in regions:
            with _add_time(times, "preprocess"):
                planes = preprocess(frame.bgr, region, self._spec)
            with _add_time(times, "upload"):
                self._cuda.memcpy_htod(self._device_input, planes)
            if self._infer is not None:
                with _add_time(times, "infer"):
                    self._infer()
            with _add_time(times, "download"):
                self._cuda.memcpy_dtoh(self._host_output, self._device_output)
        return times

    def close(self) -> None:
        """Free the GPU memory."""
        self._device_input.free()
        self._device_output.free()
