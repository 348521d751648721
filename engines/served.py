"""An engine behind Triton's Python backend, over OpenVINO: for servers without other backends.

Copied beside the network it runs, and run there by the server alone; what it needs is OpenVINO. See
the Python backend's documentation for what the server calls.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

# It would report its use over the network.
sys.modules["openvino_telemetry"] = None

import openvino as ov  # noqa: E402
import triton_python_backend_utils as server  # noqa: E402


class TritonPythonModel:
    """See Triton's Python backend."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the network."""
        network = Path(args["model_repository"], args["model_version"], "model.onnx")
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        core = ov.Core()
        model = core.read_model(network)
        # As the clients' own CPUs do it: a batch is no faster, and takes memory for each size.
        model.reshape([1, *model.input(0).partial_shape[1:]])
        compiled = core.compile_model(model, "CPU", hints)
        self._names = [each.any_name for each in compiled.outputs]
        self._request = compiled.create_infer_request()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        pixels = server.get_input_tensor_by_name(request, "pixels").as_numpy()
        answers = []
        for each in pixels:
            self._request.infer({0: ov.Tensor(np.ascontiguousarray(each[None]))})
            answers.append([self._request.get_tensor(name).data.copy() for name in self._names])
        tensors = [
            server.Tensor(name, np.concatenate(parts))
            for name, parts in zip(self._names, zip(*answers, strict=True), strict=True)
        ]
        return server.InferenceResponse(tensors)
