import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto

from engines.precision import PrecisionError, quantise, to_fp16

ENGINES = ("face-centerface", "person-semantic")


def original(built, name):
    return onnx.load(built / name / "model.onnx")


def batch(built, name, hopper, count=2):
    from engines.manifest import load_manifest
    from installation.inference.crop import crop_resize

    spec = load_manifest(built / name).input
    rng = np.random.default_rng(7)
    corners = rng.uniform(0, 250, (count, 2))
    regions = np.hstack([corners, corners + rng.uniform(120, 260, (count, 1))]).astype(np.float32)
    pixels = np.stack([crop_resize(hopper, region, spec.width, spec.height) for region in regions])
    planes = (pixels[..., ::-1] - np.array(spec.mean)) * np.array(spec.scale)
    return planes.transpose(0, 3, 1, 2).astype(np.float32)


def answers(model, planes):
    compiled = ov.Core().compile_model(
        ov.Core().read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    kind = np.float16 if model.graph.input[0].type.tensor_type.elem_type == 10 else np.float32
    found = compiled(planes.astype(kind))
    return {output.get_any_name(): found[output].astype(np.float32) for output in compiled.outputs}


@pytest.mark.parametrize("name", ENGINES)
def test_a_converted_network_takes_float16_and_keeps_its_names(built, name):
    model, halved = original(built, name), to_fp16(original(built, name))
    (given,) = halved.graph.input
    assert given.name == model.graph.input[0].name
    assert given.type.tensor_type.elem_type == TensorProto.FLOAT16
    assert [(each.name, each.type.tensor_type.elem_type) for each in halved.graph.output] == [
        (each.name, TensorProto.FLOAT) for each in model.graph.output
    ]
    floats = [each for each in halved.graph.initializer if each.data_type == TensorProto.FLOAT]
    kept = sum(np.prod(each.dims) for each in floats)
    everything = sum(np.prod(each.dims) for each in model.graph.initializer)
    assert kept < 0.01 * everything


def test_converted_networks_compute_nearly_the_same(built, hopper):
    planes = batch(built, "person-semantic", hopper, 24)
    full = answers(original(built, "person-semantic"), planes)["log_probabilities"]
    half = answers(to_fp16(original(built, "person-semantic")), planes)["log_probabilities"]
    assert (full.argmax(1) == half.argmax(1)).mean() >= 0.9
    assert np.median(np.abs(full - half)) < 0.1


def test_conversion_does_not_modify_its_argument(built):
    model = original(built, "person-semantic")
    before = model.SerializeToString(deterministic=True)
    to_fp16(model)
    assert model.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("name", ENGINES)
def test_a_quantised_network_carries_its_scales(built, hopper, name):
    planes = batch(built, name, hopper, 4)
    quantised = quantise(original(built, name), [planes[:2], planes[2:]])
    kinds = {node.op_type for node in quantised.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert not any(each.data_type == TensorProto.INT32 for each in quantised.graph.initializer)
    full, small = answers(original(built, name), planes), answers(quantised, planes)
    assert full.keys() == small.keys()
    surest = "heatmap" if name == "face-centerface" else "log_probabilities"
    assert np.corrcoef(full[surest].ravel(), small[surest].ravel())[0, 1] > 0.8


def test_a_missing_converter_is_one_line(built, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxconverter_common.float16", None)
    with pytest.raises(PrecisionError, match="fp16 needs the Python package onnxconverter_common"):
        to_fp16(original(built, "face-centerface"))
