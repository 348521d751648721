"""An engine behind Triton's Python backend, over OpenVINO: for servers without other backends.

Copied beside the network it runs, and run there by the server alone; what it needs is OpenVINO. See
the Python backend's documentation for what the server calls.
"""

import os
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
        """Open the network, once for each core: many regions together then take the least work."""
        network = Path(args["model_repository"], args["model_version"], "model.onnx")
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
        core = ov.Core()
        model = core.read_model(network)
        model.reshape([1, *model.input(0).partial_shape[1:]])
        compiled = core.compile_model(model, "CPU", hints | {"NUM_STREAMS": os.cpu_count()})
        self._names = [each.any_name for each in compiled.outputs]
        self._answers: dict[int, list[Any]] = {}
        self._queue = ov.AsyncInferQueue(compiled)
        self._queue.set_callback(self._note)

    def _note(self, request: ov.InferRequest, index: int) -> None:
        self._answers[index] = [request.get_tensor(name).data.copy() for name in self._names]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer a batch of requests."""
        batches = [server.get_input_tensor_by_name(each, "pixels").as_numpy() for each in requests]
        self._answers.clear()
        for index, region in enumerate(np.concatenate(batches)):
            self._queue.start_async({0: ov.Tensor(region[None])}, index)
        self._queue.wait_all()
        responses, first = [], 0
        for batch in batches:
            parts = [self._answers[index] for index in range(first, first + len(batch))]
            first += len(batch)
            responses.append(self._response(parts))
        return responses

    def _response(self, parts: list[list[Any]]) -> Any:
        """Return what is said of one request's regions."""
        tensors = zip(self._names, map(np.concatenate, zip(*parts, strict=True)), strict=True)
        return server.InferenceResponse([server.Tensor(*each) for each in tensors])
