"""The semantic head: from ImageNet-1k class scores of a face to labels for persons.

The network knows a thousand things and no kind of person. Three steps turn its output into labels;
``docs/classifier.md`` explains what each contributes:

1. What is special about this face: class probabilities are divided by their average over faces.
   Without this every face is "wig, suit, bikini".
2. From things to persons: each of the ten strongest classes votes for the person synsets whose
   dictionary text is similar to its own. ConSE (Norouzi et al. 2014, arXiv:1312.5650) averages the
   embeddings of the strongest classes; here their votes are averaged, so that one strong class is
   not lost in the mean of ten. Synsets similar to everything are hubs; their similarity is reduced
   by its mean over their ten nearest classes (CSLS, Conneau et al. 2018, arXiv:1710.04087).
3. What is special about this label: votes are divided by their average over faces.

The averages come from ``engines/average``. They are made from two portraits only, so the first
division uses an exponent below 1 and the second one above 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.efficientnet import GraphBuilder

TOP_K = 10
# Exponents of the average class probability and the average vote in these divisions.
CLASS_POWER = 0.7
WORD_POWER = 1.8
# Inverse softmax temperature: cosines of sentence embeddings differ only by hundredths.
SHARPNESS = 30.0
# Added to every synset's vote, as a fraction of an equal share, so that none is impossible.
FLOOR = 0.1
_HERE = Path(__file__).parent


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = rows - rows.mean(0)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True), np.float32)


def load_embeddings() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read the embeddings of classes and person synsets.

    Returns
    -------
    classes, persons
        float32 (1000, 384) and (2832, 384), each centred on its own mean, rows of unit length.
    """
    classes, persons = (
        np.load(_HERE / "embeddings" / f"{name}.npy").astype(np.float32)
        for name in ("classes", "persons")
    )
    return _unit(classes), _unit(persons)


def load_average() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read the average outputs over faces.

    Returns
    -------
    classes, persons
        float32 (1000,), mean log-probability of each class, and float32 (2832,), logarithm of each
        synset's mean vote, where an equal share of the votes is 1.
    """
    classes, persons = (
        np.load(_HERE / "average" / f"{name}.npy").astype(np.float32)
        for name in ("classes", "persons")
    )
    return classes, persons


def vote_matrix(classes: NDArray[np.float32], persons: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute how each class votes.

    Parameters
    ----------
    classes, persons
        See `load_embeddings`.

    Returns
    -------
    ndarray
        float32 (1000, 2832); each row has the mean 1, an equal share.
    """
    similarity = (persons @ classes.T).astype(np.float64)
    hubness = np.sort(similarity, axis=1)[:, -TOP_K:].mean(1, keepdims=True)
    votes = np.exp(SHARPNESS * (similarity - hubness))
    return np.asarray((votes / votes.mean(0)).T, np.float32)


def add_head(graph: GraphBuilder, logits: str, output: str) -> None:
    """Append the head to a graph.

    Parameters
    ----------
    graph
        Receives the nodes.
    logits
        Name of the class logits, float32 (N, 1000).
    output
        Name to give to the log-probabilities, float32 (N, 2832).
    """
    average_class, average_vote = load_average()
    votes = add_votes(graph, logits, CLASS_POWER * average_class)
    floor = graph.constant(np.array(FLOOR, np.float32))
    log_votes = graph.node("Log", graph.node("Add", votes, floor))
    relative = graph.node("Sub", log_votes, graph.constant(WORD_POWER * average_vote))
    graph.node("LogSoftmax", relative, axis=1, output=output)


def add_votes(graph: GraphBuilder, logits: str, expected: NDArray[np.float32]) -> str:
    """Append the first two steps of the head.

    Parameters
    ----------
    graph
        Receives the nodes.
    logits
        Name of the class logits, float32 (N, 1000).
    expected
        float32 (1000,): logits of an average face, to be subtracted.

    Returns
    -------
    str
        Name of the votes, float32 (N, 2832), not negative, 1 being an equal share.
    """
    evidence = graph.node("Sub", logits, graph.constant(expected))
    probability = graph.node("Softmax", evidence, axis=1)
    top = f"{probability}_top"
    count = graph.constant(np.array([TOP_K], np.int64))
    graph.nodes.append(helper.make_node("TopK", [probability, count], [top, f"{top}_at"], axis=1))
    last = graph.node(
        "Slice",
        top,
        graph.constant(np.array([TOP_K - 1], np.int64)),
        graph.constant(np.array([TOP_K], np.int64)),
        graph.constant(np.array([1], np.int64)),
    )
    kept = graph.node("Cast", graph.node("GreaterOrEqual", probability, last), to=TensorProto.FLOAT)
    strongest = graph.node("Mul", probability, kept)
    total = graph.node("ReduceSum", strongest, graph.constant(np.array([1], np.int64)), keepdims=1)
    shares = graph.node("Div", strongest, total)
    return graph.node("MatMul", shares, graph.constant(vote_matrix(*load_embeddings())))
