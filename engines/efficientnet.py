"""EfficientNet-Lite0 as an ONNX graph, from its published weights.

Architecture: Tan & Le 2019, "EfficientNet" (arXiv:1905.11946), in the Lite variant of Liu 2020:
inverted bottlenecks with ReLU6, without squeeze-and-excitation, stem and head unscaled.
Batch normalisation is folded into the convolutions before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.checkpoint import CheckpointError

OPSET = 13
INPUT_SIZE = 224
CLASSES = 1000
_EPSILON = 1e-3


@dataclass(frozen=True, slots=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


_STAGES = (
    _Stage(repeats=1, kernel=3, stride=1, expand=1, channels=16),
    _Stage(repeats=2, kernel=3, stride=2, expand=6, channels=24),
    _Stage(repeats=2, kernel=5, stride=2, expand=6, channels=40),
    _Stage(repeats=3, kernel=3, stride=2, expand=6, channels=80),
    _Stage(repeats=3, kernel=5, stride=1, expand=6, channels=112),
    _Stage(repeats=4, kernel=5, stride=2, expand=6, channels=192),
    _Stage(repeats=1, kernel=3, stride=1, expand=6, channels=320),
)


class GraphBuilder:
    """Collects nodes and constants of an ONNX graph; methods return the name of the new tensor."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, value: NDArray[Any]) -> str:
        """Add a constant tensor."""
        name = f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output, whose name is generated unless given."""
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def model(
        self, inputs: Mapping[str, list[int | str]], outputs: Mapping[str, list[int | str]]
    ) -> onnx.ModelProto:
        """Return the model; names map to float32 shapes, in which a string is a free dimension."""

        def values(shapes: Mapping[str, list[int | str]]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                for name, shape in shapes.items()
            ]

        graph = helper.make_graph(
            self.nodes, "engine", values(inputs), values(outputs), self.initializers
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        return model


class _Network:
    """Appends layers to a graph, with weights from the checkpoint."""

    def __init__(self, graph: GraphBuilder, weights: Mapping[str, NDArray[Any]]) -> None:
        self._graph = graph
        self._weights = weights
        self._size = INPUT_SIZE

    def _take(self, name: str) -> NDArray[Any]:
        try:
            return self._weights[name]
        except KeyError:
            raise CheckpointError(f"the checkpoint has no {name!r}") from None

    def convolution(self, x: str, conv: str, norm: str, stride: int = 1, groups: int = 1) -> str:
        """Add a convolution with TensorFlow's "same" padding and folded batch normalisation."""
        kernel = self._take(f"{conv}.weight").astype(np.float64)
        gain = self._take(f"{norm}.weight") / np.sqrt(
            self._take(f"{norm}.running_var").astype(np.float64) + _EPSILON
        )
        bias = self._take(f"{norm}.bias") - self._take(f"{norm}.running_mean") * gain
        side = kernel.shape[-1]
        pad = max((-(-self._size // stride) - 1) * stride + side - self._size, 0)
        before, after = pad // 2, pad - pad // 2
        self._size = -(-self._size // stride)
        return self._graph.node(
            "Conv",
            x,
            self._graph.constant((kernel * gain[:, None, None, None]).astype(np.float32)),
            self._graph.constant(bias.astype(np.float32)),
            kernel_shape=[side, side],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=groups,
        )

    def linear(self, x: str, name: str) -> str:
        weight, bias = self._take(f"{name}.weight"), self._take(f"{name}.bias")
        constants = self._graph.constant(weight), self._graph.constant(bias)
        return self._graph.node("Gemm", x, *constants, transB=1)

    def relu6(self, x: str) -> str:
        zero = self._graph.constant(np.array(0, np.float32))
        six = self._graph.constant(np.array(6, np.float32))
        return self._graph.node("Clip", x, zero, six)

    def block(self, x: str, name: str, stage: _Stage, channels: int, stride: int) -> str:
        """Add an inverted bottleneck: expand, convolve depthwise, project, add if shapes match."""
        expanded = channels * stage.expand
        y = x
        if stage.expand != 1:
            y = self.relu6(self.convolution(y, f"{name}._expand_conv", f"{name}._bn0"))
        depthwise = self.convolution(y, f"{name}._depthwise_conv", f"{name}._bn1", stride, expanded)
        y = self.convolution(self.relu6(depthwise), f"{name}._project_conv", f"{name}._bn2")
        same_shape = stride == 1 and channels == stage.channels
        return self._graph.node("Add", y, x) if same_shape else y


def add_backbone(graph: GraphBuilder, x: str, weights: Mapping[str, NDArray[Any]]) -> str:
    """Append EfficientNet-Lite0 to a graph.

    Parameters
    ----------
    graph
        Receives the nodes.
    x
        Name of the input, float32 (N, 3, 224, 224), RGB scaled to (value - 127) / 128.
    weights
        The published checkpoint, by tensor name.

    Returns
    -------
    str
        Name of the logits, float32 (N, 1000), ImageNet-1k classes by ascending wnid.

    Raises
    ------
    CheckpointError
        A tensor is missing.
    """
    network = _Network(graph, weights)
    y = network.relu6(network.convolution(x, "_conv_stem", "_bn0", stride=2))
    channels, index = 32, 0
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            y = network.block(y, f"_blocks.{index}", stage, channels, stride)
            channels, index = stage.channels, index + 1
    y = network.relu6(network.convolution(y, "_conv_head", "_bn1"))
    y = graph.node("Flatten", graph.node("GlobalAveragePool", y))
    return network.linear(y, "_fc")
