"""Engines on the CPU, with OpenVINO."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Manifest
from installation.inference.crop import crop_batch
from installation.inference.engine import InferenceError
from installation.scene import Frame

# Must be set before OpenVINO is imported: hwloc prints warnings about containers.
os.environ.setdefault("HWLOC_HIDE_ERRORS", "2")
# At import OpenVINO assigns the machine an identifier and sends usage data over the network, unless
# this module is missing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino as ov  # noqa: E402
from openvino.preprocess import PrePostProcessor  # noqa: E402

# Engines with the same network share its compiled model, which takes tens of megabytes. It runs one
# inference at a time on all cores, which is faster than several that compete for them.
_models: WeakValueDictionary[tuple[Path, str], ov.CompiledModel] = WeakValueDictionary()
_models_lock = threading.Lock()


class CpuEngine:
    """An ONNX network compiled for the CPU, with its normalisation fused into the graph.

    Not thread-safe.

    Parameters
    ----------
    folder
        The engine's folder.
    manifest
        The engine's manifest.
    fallback
        Whether a GPU was asked for and cannot be used.

    Raises
    ------
    InferenceError
        OpenVINO cannot read or compile the network.
    """

    device = "CPU"

    def __init__(self, folder: Path, manifest: Manifest, fallback: bool = False) -> None:
        self.manifest = manifest
        self.fallback = fallback
        path = folder / manifest.onnx
        try:
            self._model = self._shared_model(path)
            self._request = self._model.create_infer_request()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InferenceError(f"{path}: OpenVINO cannot load it: {reason}") from error

    def _shared_model(self, path: Path) -> ov.CompiledModel:
        key = path, self.manifest.model_dump_json()
        with _models_lock:
            model = _models.get(key)
            if model is None:
                model = _models[key] = self._compile(path)
            return model

    def _compile(self, path: Path) -> ov.CompiledModel:
        core = ov.Core()
        model = self._with_preprocessing(core.read_model(path))
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        return core.compile_model(model, "CPU", hints)

    def _with_preprocessing(self, model: ov.Model) -> ov.Model:
        # Colours are swapped in crop_batch: OpenVINO silently drops a colour conversion in networks
        # that read the shape of their input.
        spec = self.manifest.input
        # One region at a time: batches are no faster on a CPU, and each batch size would take tens
        # of megabytes permanently.
        model.reshape([1, 3, spec.height, spec.width])
        steps = PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input().model().set_layout(ov.Layout("NCHW"))
        convert = steps.input().preprocess().convert_element_type(ov.Type.f32)
        convert.mean(list(spec.mean)).scale([1 / factor for factor in spec.scale])
        return steps.build()

    def run(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`."""
        batch = crop_batch(frame.bgr, regions, self.manifest.input)
        results = [self._infer(patch) for patch in batch]
        return {
            name: np.concatenate([result[name] for result in results])
            for name in self.manifest.outputs
        }

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, float]:
        """See `Engine.timed`."""
        began = time.perf_counter()
        batch = crop_batch(frame.bgr, regions, self.manifest.input)
        prepared = time.perf_counter()
        for patch in batch:
            self._infer(patch)
        return {"preprocess": prepared - began, "infer": time.perf_counter() - prepared}

    def _infer(self, patch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        request = self._request
        request.infer({0: ov.Tensor(patch[None])})
        return {name: np.array(request.get_tensor(name).data) for name in self.manifest.outputs}

    def close(self) -> None:
        """See `Engine.close`; OpenVINO frees a model with its last reference."""
