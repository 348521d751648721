"""Derive the network's average outputs over faces.

Run it only to reproduce the committed files, after ``installation engines build``::

    python -m engines.average.derive

It paints 1,800 portraits from each of two photographs (see ``portraits.py``), runs the network on
them as the installation does on faces, and writes next to this file

``classes.npy``
    float16 (1000,): mean log-probability of each ImageNet-1k class, that is, the logarithm of the
    geometric mean of its probability.
``persons.npy``
    float16 (2832,): logarithm of each person synset's mean vote plus `FLOOR`.

Both are averages over all portraits; nothing else of a portrait is kept. Two runs differ by
rounding in OpenCV and OpenVINO; the files are committed so that all machines give the same labels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engines.average.portraits import SIZE, paint, read_sources
from engines.build import add_imagenet_backbone, wheels
from engines.conse_head import CLASS_POWER, FLOOR, add_votes
from engines.efficientnet import GraphBuilder
from engines.fetch import read_member

HERE = Path(__file__).parent
PORTRAITS = 1800
SEED = 2019
_BATCH = 20


def _compile(
    graph: GraphBuilder, inputs: dict[str, list[int | str]], output: str, width: int
) -> ov.CompiledModel:
    model = graph.model(inputs, {output: ["n", width]})
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    core = ov.Core()
    return core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings)


def _batches(folder: Path) -> Iterator[NDArray[np.float32]]:
    random = np.random.default_rng(SEED)
    for source in read_sources(folder):
        for _ in range(PORTRAITS // _BATCH):
            painted = np.stack([paint(source, random) for _ in range(_BATCH)])
            yield np.ascontiguousarray(
                ((painted[..., ::-1].astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)
            )


def main() -> None:
    """Write ``classes.npy`` and ``persons.npy``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", type=Path, default=Path("engines/built"))
    engines = parser.parse_args().engines
    backbone = GraphBuilder()
    logits = add_imagenet_backbone(
        backbone, lambda package, member: read_member(package, member, wheels(engines))
    )
    backbone.node("LogSoftmax", logits, axis=1, output="classes")
    classify = _compile(backbone, {"input": ["n", 3, SIZE, SIZE]}, "classes", 1000)
    scores = np.concatenate([classify(batch)[0] for batch in _batches(engines / "demo-visitors")])
    classes = scores.mean(0).astype(np.float16)
    head = GraphBuilder()
    votes = add_votes(head, "classes", CLASS_POWER * classes.astype(np.float32))
    vote = _compile(head, {"classes": ["n", 1000]}, votes, 2832)
    persons = np.log(vote(scores)[0].astype(np.float64).mean(0) + FLOOR).astype(np.float16)
    np.save(HERE / "classes.npy", classes)
    np.save(HERE / "persons.npy", persons)
    print(f"{len(scores)} portraits")


if __name__ == "__main__":
    main()
