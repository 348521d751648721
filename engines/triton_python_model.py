"""A model for Triton's Python backend that runs an engine with OpenVINO.

This file is copied into the model repository and run by the server, which needs OpenVINO. See the
Python backend's documentation for the methods that the server calls.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

# Without this OpenVINO sends usage data over the network.
sys.modules["openvino_telemetry"] = None

import openvino as ov  # noqa: E402
import triton_python_backend_utils as server  # noqa: E402


class TritonPythonModel:
    """See Triton's Python backend."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compile the network with one stream per core, for the highest throughput."""
        network = Path(args["model_repository"], args["model_version"], "model.onnx")
        hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
        core = ov.Core()
        model = core.read_model(network)
        model.reshape([1, *model.input(0).partial_shape[1:]])
        compiled = core.compile_model(model, "CPU", hints | {"NUM_STREAMS": os.cpu_count()})
        self._names = [each.any_name for each in compiled.outputs]
        self._outputs: dict[int, list[Any]] = {}
        self._queue = ov.AsyncInferQueue(compiled)
        self._queue.set_callback(self._collect)

    def _collect(self, request: ov.InferRequest, index: int) -> None:
        self._outputs[index] = [request.get_tensor(name).data.copy() for name in self._names]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Process a batch of requests."""
        batches = [server.get_input_tensor_by_name(each, "pixels").as_numpy() for each in requests]
        self._outputs.clear()
        for index, region in enumerate(np.concatenate(batches)):
            self._queue.start_async({0: ov.Tensor(region[None])}, index)
        self._queue.wait_all()
        responses, first = [], 0
        for batch in batches:
            parts = [self._outputs[index] for index in range(first, first + len(batch))]
            first += len(batch)
            responses.append(self._response(parts))
        return responses

    def _response(self, parts: list[list[Any]]) -> Any:
        """Return the response for one request's regions."""
        tensors = zip(self._names, map(np.concatenate, zip(*parts, strict=True)), strict=True)
        return server.InferenceResponse([server.Tensor(*each) for each in tensors])
