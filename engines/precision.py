"""Convert ONNX networks to lower precision, so that every TensorRT version computes the same.

Newer TensorRT takes types only from the network, no longer from builder flags.
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

# The lowest opset with per-channel quantisation.
_OPSET = 13
_MATRIX_PRODUCTS = ("MatMul", "Gemm")
# ONNX Runtime's log level for errors.
_LOG_ERRORS = 3


class PrecisionError(EngineError):
    """A network cannot be converted to a precision."""


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Convert a network to float16.

    Its input becomes float16. Its outputs stay float32, and so does everything from the softmax
    over classes on, because probabilities need more digits than float16 has. Matrix products are
    the exception: Turing GPUs accelerate them for float16 only.

    Raises
    ------
    PrecisionError
        ``onnxconverter-common`` is not installed or cannot convert this network.
    """
    try:
        from onnxconverter_common.float16 import convert_float_to_float16
    except ImportError as error:
        raise PrecisionError(_missing("fp16", error)) from error

    converted: onnx.ModelProto = _copy(model)
    excluded = [
        node.name for node in _after_softmax(converted) if node.op_type not in _MATRIX_PRODUCTS
    ]
    with suppress_warnings(), _translate_errors("fp16"):
        converted = convert_float_to_float16(
            converted, keep_io_types=True, node_block_list=excluded
        )
        # The converter does not update these.
        del converted.graph.value_info[:]
        _make_input_fp16(converted.graph)
        _make_outputs_fp32(converted.graph)
        onnx.checker.check_model(converted)
    return converted


def quantise(model: onnx.ModelProto, samples: Iterable[NDArray[np.float32]]) -> onnx.ModelProto:
    """Quantise a network to int8, with quantise/dequantise nodes (QDQ).

    Input and outputs stay float32, and so does everything from the softmax over classes on.

    Parameters
    ----------
    model
        A float32 network.
    samples
        Representative inputs, float32 (N, 3, height, width) each, for calibrating value ranges.

    Raises
    ------
    PrecisionError
        ``onnxruntime`` is not installed or cannot quantise this network.
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

    source = _copy(model)
    if source.opset_import[0].version < _OPSET:
        source = _copy(onnx.version_converter.convert_version(source, _OPSET))
    onnxruntime.set_default_logger_severity(_LOG_ERRORS)
    with suppress_warnings(), _translate_errors("int8"), tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch, "int8.onnx")
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[node.name for node in _after_softmax(source)],
            # TensorRT requires symmetric quantisation and float biases.
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
            },
        )
        return onnx.load(target)


@contextmanager
def _translate_errors(precision: Precision) -> Iterator[None]:
    """Raise whatever a converter raises as `PrecisionError` with one line."""
    try:
        yield
    except PrecisionError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise PrecisionError(f"the network cannot be converted to {precision}: {reason}") from error


def _missing(precision: Precision, error: ImportError) -> str:
    return f"{precision} needs the Python package {error.name}: pip install 'installation[gpu]'"


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy a network and name every node, because the converters identify nodes by name."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for number, node in enumerate(copy.graph.node):
        node.name = node.name or f"node{number}"
    return copy


def _after_softmax(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the first softmax over classes and all nodes that depend on it.

    The softmax of an attention layer, which has more than two axes, does not count.
    """
    shapes = {
        tensor.name: len(tensor.type.tensor_type.shape.dim)
        for tensor in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    found: list[onnx.NodeProto] = []
    dependent: set[str] = set()
    for node in model.graph.node:
        softmax = node.op_type in ("Softmax", "LogSoftmax") and shapes.get(node.input[0]) == 2
        if softmax or dependent & set(node.input):
            found.append(node)
            dependent |= set(node.output)
    return found


def _make_input_fp16(graph: onnx.GraphProto) -> None:
    """Replace the casts of a float32 input by a float16 input."""
    (source,) = graph.input
    casts = [node for node in graph.node if source.name in node.input]
    if any(node.op_type != "Cast" for node in casts):
        raise PrecisionError("expected the network to cast its input first")
    source.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    outputs = {cast.output[0] for cast in casts}
    for cast in casts:
        graph.node.remove(cast)
    for node in graph.node:
        node.input[:] = [source.name if name in outputs else name for name in node.input]


def _make_outputs_fp32(graph: onnx.GraphProto) -> None:
    """Make the casts before all outputs return float32; the converter misses some of them."""
    for output in graph.output:
        (cast,) = (node for node in graph.node if output.name in node.output)
        if cast.op_type != "Cast":
            raise PrecisionError(f"expected the network to cast its output, not {cast.op_type}")
        cast.attribute[0].i = onnx.TensorProto.FLOAT
        output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
