"""The ONNX head against the same formulas in float64."""

import numpy as np
import openvino as ov
import pytest

from engines.conse import TEMPERATURE, TOP_K, add_head, hubness, load_embeddings
from engines.efficientnet import GraphBuilder


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    graph = GraphBuilder()
    add_head(graph, "logits", "log_probabilities")
    model = graph.model({"logits": ["n", 1000]}, {"log_probabilities": ["n", 2832]})
    path = tmp_path_factory.mktemp("head") / "head.onnx"
    path.write_bytes(model.SerializeToString())
    return ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def conse(logits):
    classes, persons = (matrix.astype(np.float64) for matrix in load_embeddings())
    probability = np.exp(logits - logits.max())
    probability /= probability.sum()
    top = np.argsort(-probability)[:TOP_K]
    query = probability[top] @ classes[top]
    cosine = persons @ (query / np.linalg.norm(query))
    nearest = np.sort(persons @ classes.T, axis=1)[:, -TOP_K:].mean(1)
    score = (2 * cosine - nearest) / TEMPERATURE
    return score - score.max() - np.log(np.exp(score - score.max()).sum())


def test_the_graph_computes_the_formula(head):
    logits = np.random.default_rng(0).normal(0, 3, (6, 1000)).astype(np.float32)
    answer = head(logits)[0]
    for row, expected in zip(answer, map(conse, logits.astype(np.float64)), strict=True):
        np.testing.assert_allclose(row, expected, atol=1e-3)


def test_answers_are_log_probabilities(head):
    logits = np.random.default_rng(1).normal(0, 3, (3, 1000)).astype(np.float32)
    np.testing.assert_allclose(np.exp(head(logits)[0]).sum(1), 1, atol=1e-5)


def test_embeddings_are_centred_directions():
    for matrix, rows in zip(load_embeddings(), (1000, 2832), strict=True):
        assert matrix.shape == (rows, 384)
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-5)


def test_hubness_lies_between_the_mean_and_the_nearest():
    classes, persons = load_embeddings()
    cosine = persons @ classes.T
    assert (hubness(classes, persons) <= cosine.max(1) + 1e-6).all()
    assert (hubness(classes, persons) > cosine.mean(1)).all()
