"""The ONNX head against the same formulas in float64."""

import numpy as np
import openvino as ov
import pytest

from engines.conse_head import (
    CLASS_POWER,
    FLOOR,
    TOP_K,
    WORD_POWER,
    add_head,
    load_average,
    load_embeddings,
    vote_matrix,
)
from engines.efficientnet import GraphBuilder
from installation.labels.synsets import load_synsets

# Where ImageNet-1k has its saxophone.
SAX = 776


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    graph = GraphBuilder()
    add_head(graph, "logits", "log_probabilities")
    model = graph.model({"logits": ["n", 1000]}, {"log_probabilities": ["n", 2832]})
    path = tmp_path_factory.mktemp("head") / "head.onnx"
    path.write_bytes(model.SerializeToString())
    return ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def softmax(values):
    shares = np.exp(values - values.max())
    return shares / shares.sum()


def words(logits):
    classes, persons = (average.astype(np.float64) for average in load_average())
    evidence = softmax(logits - CLASS_POWER * classes)
    strongest = np.argsort(-evidence)[:TOP_K]
    shares = evidence[strongest] / evidence[strongest].sum()
    votes = shares @ vote_matrix(*load_embeddings())[strongest].astype(np.float64)
    return np.log(softmax(np.log(votes + FLOOR) - WORD_POWER * persons))


def test_the_graph_computes_the_formula_for_each_picture_of_a_batch(head):
    logits = np.random.default_rng(0).normal(0, 3, (6, 1000)).astype(np.float32)
    answer = head(logits)[0]
    for row, expected in zip(answer, map(words, logits.astype(np.float64)), strict=True):
        np.testing.assert_allclose(row, expected, atol=1e-3)


def test_outputs_are_log_probabilities(head):
    logits = np.random.default_rng(1).normal(0, 3, (3, 1000)).astype(np.float32)
    np.testing.assert_allclose(np.exp(head(logits)[0]).sum(1), 1, atol=1e-5)


def test_embeddings_are_centred_directions():
    for matrix, rows in zip(load_embeddings(), (1000, 2832), strict=True):
        assert matrix.shape == (rows, 384)
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-5)


def test_every_class_has_the_same_number_of_votes():
    votes = vote_matrix(*load_embeddings()).astype(np.float64)
    assert votes.shape == (1000, 2832)
    assert votes.min() > 0
    np.testing.assert_allclose(votes.mean(1), 1, rtol=1e-5)


def test_a_class_votes_for_persons_with_similar_text(head):
    logits = np.full((1, 1000), -5, np.float32)
    logits[0, SAX] = 5
    assert "saxophonist" in load_synsets()[int(head(logits)[0].argmax())].words


def test_the_average_face_gets_no_particular_label(head):
    # What every face says has no word: the first word for the average face is a weak one.
    classes, _ = load_average()
    special = classes.copy()
    special[SAX] += 6
    average, saxophonist = head(np.stack([classes, special]).astype(np.float32))[0]
    assert average.max() < saxophonist.max() - 1
