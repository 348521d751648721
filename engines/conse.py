"""The semantic head: from what ImageNet-1k sees to a word for a person.

ConSE (Norouzi et al. 2014, arXiv:1312.5650): the class probabilities, cut to the ten largest,
mix the text embeddings of those classes; the person synset whose own embedding lies nearest by
cosine is the answer. Both sets of embeddings are centred first. Nearest neighbours in such spaces
favour a few "hubs", so each label's similarity is lowered by its mean similarity to the ten class
prototypes nearest to it (the static half of CSLS, Conneau et al. 2018, arXiv:1710.04087).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from engines.efficientnet import GraphBuilder

TOP_K = 10
# Cosines of sentence embeddings differ by hundredths; this spreads them into probabilities.
TEMPERATURE = 0.1
_EMBEDDINGS = Path(__file__).with_name("embeddings")


def _unit(rows: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def load_embeddings() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read the derived matrices.

    Returns
    -------
    classes, persons
        float32 (1000, 384) and (2832, 384), each centred on its own mean, rows of unit length.
    """
    classes, persons = (
        np.load(_EMBEDDINGS / f"{name}.npy").astype(np.float32) for name in ("classes", "persons")
    )
    return _unit(classes - classes.mean(0)), _unit(persons - persons.mean(0))


def hubness(classes: NDArray[np.float32], persons: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean cosine of each person synset to its ten nearest classes, float32 (2832,)."""
    similarity = np.sort(persons @ classes.T, axis=1)
    return np.asarray(similarity[:, -TOP_K:].mean(1), dtype=np.float32)


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
    classes, persons = load_embeddings()
    probability = graph.node("Softmax", logits, axis=1)
    top = f"{output}_top"
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
    mixed = graph.node("MatMul", graph.node("Mul", probability, kept), graph.constant(classes))
    query = graph.node("Div", mixed, graph.node("ReduceL2", mixed, axes=[1], keepdims=1))
    cosine = graph.node("MatMul", query, graph.constant(persons.T))
    doubled = graph.node("Mul", cosine, graph.constant(np.array([2 / TEMPERATURE], np.float32)))
    fair = graph.node("Sub", doubled, graph.constant(hubness(classes, persons) / TEMPERATURE))
    graph.node("LogSoftmax", fair, axis=1, output=output)
