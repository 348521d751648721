"""How many different words people get, and how well the words hold: step by step.

    python -m tests.benchmarks.words [--json FILE]

Every face in some fifty photographs is looked at as the installation would, and again a little
moved, zoomed and mirrored. Each row is another way to make words of such looks:

different
    First words among 70 of the people, policy ``full``: the mean over 500 draws of 70.
commonest
    How many of the 70 get the most frequent of them.
again
    Share of the other looks at a face that give it the same first word.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from engines.build import add_imagenet_backbone, wheels
from engines.conse_head import (
    CLASS_POWER,
    FLOOR,
    TOP_K,
    WORD_POWER,
    load_average,
    load_embeddings,
    vote_matrix,
)
from engines.efficientnet import INPUT_SIZE, GraphBuilder
from engines.fetch import read_member
from installation.config import model as config
from installation.inference.crop import crop_resize
from installation.labels.policy import Policy, allowed
from installation.labels.synsets import load_synsets
from installation.scene import Frame
from installation.vision.boxes import shift_inside, squares
from installation.vision.classifier import CONTEXT
from installation.vision.pipeline import open_vision
from tests.benchmarks.people import read_photographs

Floats = NDArray[np.floating]

_SMALLEST_FACE = 30
_CERTAIN = 0.5
_PEOPLE = 70
_DRAWS = 500
# Shift, in parts of the face's longer side, and zoom; the first is the product's own look.
_LOOKS = ((0, 0, 1), (0.06, 0, 1), (-0.06, 0.03, 1), (0, -0.06, 1.06), (0.03, 0.06, 0.94))

_CLASSES, _PERSONS = load_embeddings()
_CLASS_AVERAGE, _WORD_AVERAGE = load_average()
_VOTES = vote_matrix(_CLASSES, _PERSONS)
_HUBNESS = np.sort(_PERSONS @ _CLASSES.T, axis=1)[:, -TOP_K:].mean(1)


def _strongest(seen: Floats) -> Floats:
    shares = np.exp(seen - seen.max(-1, keepdims=True))
    kept = np.where(shares >= np.sort(shares, axis=-1)[..., -TOP_K, None], shares, 0)
    return kept / kept.sum(-1, keepdims=True)


def _special(seen: Floats) -> Floats:
    return seen - CLASS_POWER * _CLASS_AVERAGE


def _texts(seen: Floats) -> Floats:
    mixed = _strongest(seen) @ _CLASSES
    return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True) @ _PERSONS.T


def _votes(seen: Floats) -> Floats:
    return np.log(_strongest(seen) @ _VOTES + FLOOR)


def _as_built(seen: Floats) -> Floats:
    return _votes(_special(seen)) - WORD_POWER * _WORD_AVERAGE


_STEPS: dict[str, Callable[[Floats], Floats]] = {
    "mixed texts (ConSE)": _texts,
    "mixed texts, hubs lowered (CSLS)": lambda seen: 2 * _texts(seen) - _HUBNESS,
    "mixed texts, hubs, classes divided": lambda seen: 2 * _texts(_special(seen)) - _HUBNESS,
    "mixed votes, hubs lowered": _votes,
    "mixed votes, hubs, classes divided": lambda seen: _votes(_special(seen)),
    "mixed votes, hubs, classes, words: as built": _as_built,
}


def _open_network(engines: Path) -> ov.CompiledModel:
    graph = GraphBuilder()
    logits = add_imagenet_backbone(graph, lambda *member: read_member(*member, wheels(engines)))
    graph.node("LogSoftmax", logits, axis=1, output="classes")
    model = graph.model({"input": ["n", 3, INPUT_SIZE, INPUT_SIZE]}, {"classes": ["n", 1000]})
    core = ov.Core()
    read = core.read_model(model.SerializeToString())
    return core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


class _Gaze:
    """Everybody's face, to be looked at in several ways."""

    def __init__(self, photographs: Path) -> None:
        settings = config.load("config.yaml")
        self._network = _open_network(settings.inference.engines)
        self._faces: list[tuple[NDArray[np.uint8], NDArray[np.float32]]] = []
        with open_vision(settings, _SMALLEST_FACE, _CERTAIN) as (detector, _):
            for picture in read_photographs(photographs):
                boxes = detector.find(Frame.from_image(picture)).xyxy
                tall = (boxes[:, 2:] - boxes[:, :2]).min(1) >= _SMALLEST_FACE
                self._faces += [(picture, box) for box in boxes[tall]]

    def look(self, context: float = CONTEXT, inside: bool = True) -> Floats:
        """Log-probabilities of classes, float32 (people, looks, as is or mirrored, 1000)."""
        return np.stack([self._look_at(*face, context, inside) for face in self._faces])

    def _look_at(
        self, picture: NDArray[np.uint8], box: NDArray[np.float32], context: float, inside: bool
    ) -> Floats:
        height, width = picture.shape[:2]
        crops = []
        for across, down, zoom in _LOOKS:
            shift = np.tile([across, down], 2) * (box[2:] - box[:2]).max()
            region = squares((box + shift)[None].astype(np.float32), context * zoom)
            if inside:
                region = shift_inside(region, width, height)
            crop = crop_resize(picture, region[0], INPUT_SIZE, INPUT_SIZE)
            crops += [crop, crop[:, ::-1]]
        inputs = (np.stack(crops)[..., ::-1].astype(np.float32) - 127) / 128
        seen = self._network(np.ascontiguousarray(inputs.transpose(0, 3, 1, 2)))[0]
        return np.asarray(seen.reshape(len(_LOOKS), 2, -1))


def _measure(first: NDArray[np.int64]) -> dict[str, float]:
    """Judge first words, (people, looks); the first look is the one that counts."""
    random = np.random.default_rng(0)
    draws = [
        Counter(first[random.choice(len(first), _PEOPLE, replace=False), 0]) for _ in range(_DRAWS)
    ]
    return {
        "different": float(np.mean([len(words) for words in draws])),
        "commonest": float(np.mean([max(words.values()) for words in draws])),
        "again": float((first[:, 1:] == first[:, :1]).mean()),
    }


def _first(words: Floats) -> NDArray[np.int64]:
    return np.asarray(words.argmax(-1))


def measure(photographs: Path) -> dict[str, object]:
    """Measure every row of the table."""
    gaze = _Gaze(photographs)
    seen = gaze.look()
    plain = seen[:, :, 0]
    rows = {name: _measure(_first(step(plain))) for name, step in _STEPS.items()}
    both = np.log(np.exp(seen).mean(2))
    rows["as built, mirrored too and averaged"] = _measure(_first(_as_built(both)))
    rows["as built, black outside the picture"] = _measure(
        _first(_as_built(gaze.look(inside=False)[:, :, 0]))
    )
    for context in (1.6, 2.0, 3.2):
        name = f"as built, {context} faces wide instead of {CONTEXT}"
        rows[name] = _measure(_first(_as_built(gaze.look(context)[:, :, 0])))
    words = _as_built(plain)
    for name in ("inoffensive", "safe"):
        hidden = ~allowed(load_synsets(), Policy(name))
        rows[f"as built, policy {name}"] = _measure(_first(np.where(hidden, -np.inf, words)))
    return {"people": len(seen), "rows": rows}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=Path, default=Path("engines/built/photographs"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.photographs)
    print(f"{found['people']} people\n\n{'':44}different  commonest  again")
    for name, row in found["rows"].items():
        print(f"{name:44}{row['different']:9.1f}  {row['commonest']:9.1f}  {row['again']:5.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
