"""Real engines, built by TensorRT-RTX, which needs no GPU for that."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines.precision import to_fp16
from engines.tensorrt_library import find_library
from engines.trt_builder import BatchRange, CancelledError, PlanError, build_plan

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is made for x86-64 and Windows only")
KINDS = (75, 86, 89, 120)


@pytest.fixture(scope="module")
def library():
    return find_library(None)


@pytest.fixture(scope="module")
def small():
    weights = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "w"], ["output"], pads=[1, 1, 1, 1])],
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 8, 32, 32])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def definition(library, network):
    """Read back, through TensorRT's own eyes, what a plan is made of."""
    trt = library.module
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    made = builder.create_network(0)
    parser = trt.OnnxParser(made, logger)
    assert parser.parse(network)
    tensors = [
        *(made.get_input(index) for index in range(made.num_inputs)),
        *(made.get_output(index) for index in range(made.num_outputs)),
    ]
    return {tensor.name: (tuple(tensor.shape), tensor.dtype) for tensor in tensors}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        (
            "face-centerface",
            {
                "input": (-1, 3, 352, 640),
                "heatmap": (-1, 1, 88, 160),
                "size": (-1, 2, 88, 160),
                "offset": (-1, 2, 88, 160),
                "landmarks": (-1, 10, 88, 160),
            },
        ),
        ("person-semantic", {"input": (-1, 3, 224, 224), "log_probabilities": (-1, 2832)}),
    ],
)
def test_both_networks_become_plans_for_gpus_of_other_machines(built, library, name, shapes, kind):
    network = to_fp16(onnx.load(built / name / "model.onnx")).SerializeToString()
    plan, timings = build_plan(library, network, BatchRange(), target_sm=kind)
    assert len(plan) > 1_000_000
    assert timings == b""
    trt = library.module
    assert definition(library, network) == {
        tensor: (shape, trt.DataType.HALF if tensor == "input" else trt.DataType.FLOAT)
        for tensor, shape in shapes.items()
    }


def test_the_plan_contains_the_profile(library, small):
    """No card can be asked, but a plan for other batches is another plan."""
    plans = {
        batches: build_plan(library, small, batches, target_sm=86)[0]
        for batches in (BatchRange(), BatchRange(1, 2, 3))
    }
    assert len(set(plans.values())) == 2


def test_progress_only_grows_and_stays_within_bounds(library, small):
    told = []

    def report(done):
        told.append(done)
        return True

    build_plan(library, small, BatchRange(), target_sm=86, progress=report)
    assert len(told) > 10
    assert told == sorted(told)
    assert 0 < told[0] < told[-1] <= 1


def test_it_can_be_cancelled(library, small):
    with pytest.raises(CancelledError):
        build_plan(library, small, BatchRange(), target_sm=86, progress=lambda _done: False)


def test_too_small_a_workspace_is_enlarged(built, library):
    network = to_fp16(onnx.load(built / "person-semantic" / "model.onnx")).SerializeToString()
    with pytest.raises(PlanError, match=r"(?i)memory|workspace"):
        build_plan(library, network, BatchRange(), target_sm=86, workspaces=(1, 2))
    assert build_plan(library, network, BatchRange(), target_sm=86, workspaces=(1, 256 << 20))[0]


@pytest.mark.parametrize("network", [b"", b"no network", b"\x08\x07" * 5])
def test_an_invalid_network_is_one_line(library, network):
    with pytest.raises(PlanError, match=r"TensorRT-RTX .* cannot build a plan: ") as caught:
        build_plan(library, network, BatchRange(), target_sm=86)
    assert "\n" not in str(caught.value)


def test_an_invalid_batch_range_is_one_line(library, small):
    with pytest.raises(PlanError, match="cannot build a plan") as caught:
        build_plan(library, small, BatchRange(4, 2, 1), target_sm=86)
    assert "\n" not in str(caught.value)
