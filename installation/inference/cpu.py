"""Engines on the CPU, through OpenVINO."""

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

# Read while OpenVINO is imported: hwloc's remarks on containers are not for technicians.
os.environ.setdefault("HWLOC_HIDE_ERRORS", "2")
# OpenVINO reports its use over the network and marks the machine with a number, both at import,
# unless this module is missing. A gallery is nobody's telemetry.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino as ov  # noqa: E402
from openvino.preprocess import PrePostProcessor  # noqa: E402

# Engines of the same network share it while any of them is open: it takes tens of megabytes, and
# looks one after the other, each with all processors, beat looks that contend for them.
_networks: WeakValueDictionary[tuple[Path, str], ov.CompiledModel] = WeakValueDictionary()
_opening = threading.Lock()


class CpuEngine:
    """An ONNX network compiled for the CPU, its normalisation fused into the graph.

    Not to be shared between threads.

    Parameters
    ----------
    folder
        Where the engine lives.
    manifest
        Its manifest.
    fallback
        Whether something better was asked for.

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
            self._network = self._shared(path)
            self._request = self._network.create_infer_request()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InferenceError(f"{path}: OpenVINO refused it: {reason}") from error

    def _shared(self, path: Path) -> ov.CompiledModel:
        key = path, self.manifest.model_dump_json()
        with _opening:
            network = _networks.get(key)
            if network is None:
                network = _networks[key] = self._compile(path)
            return network

    def _compile(self, path: Path) -> ov.CompiledModel:
        core = ov.Core()
        model = self._with_preprocessing(core.read_model(path))
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        return core.compile_model(model, "CPU", hints)

    def _with_preprocessing(self, model: ov.Model) -> ov.Model:
        # The order of colours is not left to OpenVINO, which silently forgets it in networks that
        # ask for their shape.
        spec = self.manifest.input
        # One region at a time: a batch is no faster on a CPU, and each size of batch would take
        # tens of megabytes for good.
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
        answers = [self._infer(patch) for patch in batch]
        return {
            name: np.concatenate([answer[name] for answer in answers])
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
        """See `Engine.close`; OpenVINO frees what is no longer referred to."""
