"""CenterFace as an engine: the published network with a free batch size and readable output names.

Xu, Yan, Yang, Li 2019, "CenterFace: Joint Face Detection and Alignment Using Face as Point"
(arXiv:1911.03599). Fully convolutional, stride 4; sides of the input are multiples of 32.
"""

from __future__ import annotations

import onnx

STRIDE = 4
_OUTPUTS = {
    "537": ("heatmap", 1),
    "538": ("size", 2),
    "539": ("offset", 2),
    "540": ("landmarks", 10),
}


def adapt(data: bytes, width: int, height: int) -> onnx.ModelProto:
    """Give the published file a free batch dimension, a fixed size and readable names.

    Parameters
    ----------
    data
        ``centerface.onnx`` as published.
    width, height
        Input size in pixels, multiples of 32.

    Returns
    -------
    ModelProto
        Input ``input``, float32 (N, 3, H, W), RGB 0..255. Outputs, float32 on the grid of H/4 by
        W/4 cells: ``heatmap`` (N, 1) probability of a face's centre, ``size`` (N, 2) log of height
        and width in cells, ``offset`` (N, 2) centre's y and x within its cell, ``landmarks``
        (N, 10) five points y, x as fractions of the box.
    """
    model = onnx.load_from_string(data)
    graph = model.graph
    constants = {constant.name for constant in graph.initializer}
    (source,) = (value for value in graph.input if value.name not in constants)
    names = {source.name: "input"} | {old: name for old, (name, _) in _OUTPUTS.items()}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]

    def value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    cells: list[int | str] = [height // STRIDE, width // STRIDE]
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.append(value("input", ["n", 3, height, width]))
    graph.output.extend(value(name, ["n", depth, *cells]) for name, depth in _OUTPUTS.values())
    onnx.checker.check_model(model)
    return model
