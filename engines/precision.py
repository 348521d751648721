"""Networks at lower precision: ONNX in, ONNX out, so that every TensorRT builds the same numbers.

Newer TensorRT takes types from the network alone; asking the builder for them is gone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.errors import EngineError
from engines.suppress_warnings import suppress_warnings

Precision = Literal["fp32", "fp16", "int8"]

# Quantisation per channel needs this version of the operators.
_OPSET = 13
_PRODUCTS = ("MatMul", "Gemm")
# ONNX Runtime's severity of what it shall still print.
_ERRORS = 3


class PrecisionError(EngineError):
    """A network cannot be brought to a precision."""


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Bring a network to 16-bit floats.

    Its input becomes float16. Its outputs stay float32, and so does everything from the softmax
    over classes on: probabilities, and what is made of them, differ in more digits than a half has.
    Matrix products are the exception, which Turing cards have for halves alone.

    Raises
    ------
    PrecisionError
        ``onnxconverter-common`` is not installed, or cannot convert this network.
    """
    try:
        from onnxconverter_common.float16 import convert_float_to_float16
    except ImportError as error:
        raise PrecisionError(_missing("fp16", error)) from error

    halved: onnx.ModelProto = _copy(model)
    beyond = [node.name for node in _after_softmax(halved) if node.op_type not in _PRODUCTS]
    with suppress_warnings(), _explained("fp16"):
        halved = convert_float_to_float16(halved, keep_io_types=True, node_block_list=beyond)
        # The converter leaves these as they were, which is no longer true.
        del halved.graph.value_info[:]
        _take_halves(halved.graph)
        _give_floats(halved.graph)
        onnx.checker.check_model(halved)
    return halved


def quantise(model: onnx.ModelProto, samples: Iterable[NDArray[np.float32]]) -> onnx.ModelProto:
    """Bring a network to 8-bit integers, the quantisation written into it (QDQ).

    Input and outputs stay float32, and so does everything from the
    softmax over classes on.

    Parameters
    ----------
    model
        A network in float32.
    samples
        Inputs as the network will meet them, float32 (N, 3, height, width) each: they tell which
        range of values to spread 8 bits over.

    Raises
    ------
    PrecisionError
        ``onnxruntime`` is not installed, or cannot quantise this network.
    """
    try:
        import onnxruntime
        from onnxruntime.quantization import (
            CalibrationDataReader,
            QuantFormat,
            QuantType,
            quantize_static,
        )
    except ImportError as error:
        raise PrecisionError(_missing("int8", error)) from error

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._samples = iter(samples)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            sample = next(self._samples, None)
            return None if sample is None else {model.graph.input[0].name: sample}

    whole = _copy(model)
    if whole.opset_import[0].version < _OPSET:
        whole = _copy(onnx.version_converter.convert_version(whole, _OPSET))
    onnxruntime.set_default_logger_severity(_ERRORS)
    with suppress_warnings(), _explained("int8"), tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "int8.onnx")
        quantize_static(
            whole,
            made,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[node.name for node in _after_softmax(whole)],
            # What TensorRT asks for: zero is zero, and biases stay floats.
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
        )
        return onnx.load(made)


@contextmanager
def _explained(precision: Precision) -> Iterator[None]:
    """Turn what converters raise over a network they do not understand into one line."""
    try:
        yield
    except PrecisionError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PrecisionError(f"the network cannot be brought to {precision}: {reason}") from error


def _missing(precision: Precision, error: ImportError) -> str:
    return f"{precision} needs the Python package {error.name}: pip install 'installation[gpu]'"


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a network, every node named: that is how the converters want to be told of nodes."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for number, node in enumerate(copy.graph.node):
        node.name = node.name or f"node{number}"
    return copy


def _after_softmax(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the first softmax over classes and all that depends on it.

    Those of attention, which have more than two axes, do not count.
    """
    shapes = {
        tensor.name: len(tensor.type.tensor_type.shape.dim)
        for tensor in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    found: list[onnx.NodeProto] = []
    touched: set[str] = set()
    for node in model.graph.node:
        softmax = node.op_type in ("Softmax", "LogSoftmax") and shapes.get(node.input[0]) == 2
        if softmax or touched & set(node.input):
            found.append(node)
            touched |= set(node.output)
    return found


def _take_halves(graph: onnx.GraphProto) -> None:
    """Let a network that begins by casting its input to float16 take float16 instead."""
    (given,) = graph.input
    casts = [node for node in graph.node if given.name in node.input]
    if any(node.op_type != "Cast" for node in casts):
        raise PrecisionError("expected the network to cast its input before all else")
    given.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    taken = {cast.output[0] for cast in casts}
    for cast in casts:
        graph.node.remove(cast)
    for node in graph.node:
        node.input[:] = [given.name if name in taken else name for name in node.input]


def _give_floats(graph: onnx.GraphProto) -> None:
    """Let the casts before the outputs give float32: the converter forgets some of them."""
    for given in graph.output:
        (cast,) = (node for node in graph.node if given.name in node.output)
        if cast.op_type != "Cast":
            raise PrecisionError(f"expected the network to cast its output, not {cast.op_type}")
        cast.attribute[0].i = onnx.TensorProto.FLOAT
        given.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
