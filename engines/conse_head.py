"""The semantic head: from what ImageNet-1k sees in a face to a word for a person.

The network knows a thousand things and no person. Three steps make a word of what it sees;
``docs/classifier.md`` says what each is good for:

1. What is special about this face: the class probabilities divided by their average over faces.
   Every face says "wig, suit, bikini" to ImageNet.
2. From things to persons: each of the ten strongest classes votes for the person synsets whose
   dictionary text lies near its own. Mixing the embeddings of the strongest classes is ConSE
   (Norouzi et al. 2014, arXiv:1312.5650); here their votes are mixed, so that one strong class is
   not drowned in the mean of ten. A synset near to everything is a hub, and its nearness is lowered
   by its mean nearness to its ten nearest classes (CSLS, Conneau et al. 2018, arXiv:1710.04087).
3. What is special about this word: the votes divided by their average over faces.

The averages come from ``engines/average``. Two sitters are few, so the first division is not taken
to its full power and the second is taken beyond it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.efficientnet import GraphBuilder

TOP_K = 10
# Powers to which the average class probability and the average vote divide.
CLASS_POWER = 0.7
WORD_POWER = 1.8
# Cosines of sentence embeddings differ by hundredths; this spreads them into votes.
SHARPNESS = 30.0
# A vote that every synset has, in parts of an equal share: what is not said is not impossible.
FLOOR = 0.1
_HERE = Path(__file__).parent


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = rows - rows.mean(0)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True), np.float32)


def load_embeddings() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read the derived matrices.

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
    """Read what is said of the average face.

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
    """How each class votes.

    Parameters
    ----------
    classes, persons
        See `load_embeddings`.

    Returns
    -------
    ndarray
        float32 (1000, 2832); every row has the mean 1.
    """
    nearness = (persons @ classes.T).astype(np.float64)
    hubness = np.sort(nearness, axis=1)[:, -TOP_K:].mean(1, keepdims=True)
    votes = np.exp(SHARPNESS * (nearness - hubness))
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
    spoken = graph.node("Log", graph.node("Add", votes, floor))
    special = graph.node("Sub", spoken, graph.constant(WORD_POWER * average_vote))
    graph.node("LogSoftmax", special, axis=1, output=output)


def add_votes(graph: GraphBuilder, logits: str, expected: NDArray[np.float32]) -> str:
    """Append the first two steps.

    Parameters
    ----------
    graph
        Receives the nodes.
    logits
        Name of the class logits, float32 (N, 1000).
    expected
        float32 (1000,): logits to be taken off as those of any face.

    Returns
    -------
    str
        Name of the votes, float32 (N, 2832), 0 or more; an equal share is 1.
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
