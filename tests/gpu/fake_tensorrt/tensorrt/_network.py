"""Networks: what the parser reads from ONNX files, through OpenVINO."""

from __future__ import annotations

import functools
import os
import sys
import types

import onnx

from ._types import ONNX_TYPES, OPENVINO_TYPES, DataType, Dims, ILogger, checked
from ._versions import VERSION, has


@functools.cache
def openvino_module():
    # As in the installation itself: no telemetry, no warnings about containers.
    os.environ.setdefault("HWLOC_HIDE_ERRORS", "2")
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


def read_model(onnx_bytes):
    return openvino_module().Core().read_model(onnx_bytes, b"")


class Port:
    """An input or output of a network."""

    def __init__(self, port, name):
        self.name = name
        kind = port.element_type.get_type_name()
        if not hasattr(DataType, OPENVINO_TYPES.get(kind, "")):
            raise ValueError(f"{name}: TensorRT {VERSION} has no type for {kind}")
        self.dtype = DataType[OPENVINO_TYPES[kind]]
        self.shape = dims(port.partial_shape)


def dims(partial_shape):
    return Dims(-1 if d.is_dynamic else d.get_length() for d in partial_shape)


def ports(onnx_bytes):
    """Return inputs and outputs, in the order of the file."""
    graph = onnx.load_from_string(onnx_bytes).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in constants]
    model = read_model(onnx_bytes)
    return (
        [Port(model.input(name), name) for name in inputs],
        [Port(model.output(value.name), value.name) for value in graph.output],
    )


class ITensor:
    __slots__ = ("dtype", "is_network_input", "name", "shape")

    def __init__(self, port, is_input):
        self.name, self.dtype, self.shape = port.name, port.dtype, port.shape
        self.is_network_input = is_input


class INetworkDefinition:
    def __init__(self, flags):
        self._flags, self._onnx, self._inputs, self._outputs = flags, None, [], []
        self.name = "Unnamed Network 0"

    def get_flag(self, flag):
        return self._flags >> int(flag) & 1 == 1

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._outputs[index]

    @functools.cached_property
    def _layers(self):
        graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(self._onnx)).graph
        kinds = {
            tensor.name: tensor.type.tensor_type.elem_type
            for tensor in (*graph.value_info, *graph.output)
        }
        return [ILayer([kinds.get(name, 1) for name in node.output]) for node in graph.node]

    num_layers = property(lambda self: len(self._layers))

    def get_layer(self, index):
        return self._layers[index]


class ILayer:
    """A node, with what matters to its precision."""

    def __init__(self, kinds):
        self._kinds = kinds
        self.num_outputs = len(kinds)
        self.precision = None

    def get_output(self, index):
        return types.SimpleNamespace(dtype=ONNX_TYPES.get(self._kinds[index], DataType.INT32))


class ParserError:
    def __init__(self, text):
        self._text = text

    def desc(self):
        return self._text

    def code(self):
        return 6  # MODEL_DESERIALIZE_FAILED

    def node(self):
        return -1

    def __str__(self):
        return f"In node -1 with name:  and operator:  (parse): {self._text}"


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._logger, self._errors = network, checked(logger), []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index):
        return self._errors[index]

    def clear_errors(self):
        self._errors.clear()

    def parse(self, model, path=None):
        if has("a network must have EXPLICIT_BATCH") and not self._network.get_flag(0):
            return self._fail("This version of the ONNX parser only supports explicit batch")
        try:
            inputs, outputs = ports(bytes(model))
        except Exception as error:  # whatever protobuf and OpenVINO raise
            return self._fail(f"Failed to parse the ONNX model: {str(error).splitlines()[0]}")
        self._network._onnx = bytes(model)
        self._network._inputs = [ITensor(port, True) for port in inputs]
        self._network._outputs = [ITensor(port, False) for port in outputs]
        return True

    def parse_from_file(self, model):
        if not isinstance(model, str):
            raise TypeError(f"parse_from_file(): incompatible arguments: {model!r} is not a str")
        try:
            # With weights in files beside it.
            content = onnx.load(model).SerializeToString()
        except OSError:
            return self._fail(f"Failed to open file: {model}")
        except Exception as error:
            return self._fail(f"Failed to parse ONNX model from file: {model}: {error}")
        return self.parse(content)

    def _fail(self, text):
        self._errors.append(ParserError(text))
        self._logger.log(ILogger.ERROR, text)
        return False
