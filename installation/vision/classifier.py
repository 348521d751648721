"""Regions to words: what the network makes of a face, or of the whole picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from installation.inference.engine import Engine, ManifestError
from installation.labels.policy import Policy, allowed
from installation.labels.synsets import Synset, load_synsets
from installation.runtime.advice import build_engines
from installation.scene import Frame, Label
from installation.vision.boxes import shift_inside, squares

# The network sees a square this many times the face: hair, collar and shoulders say more to a
# network that learned objects than the face alone.
CONTEXT = 2.6


def context_regions(xyxy: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Regions to look at for the faces in a picture.

    Squares, inside the picture: a black edge says "screen" to the network, not "edge".

    Parameters
    ----------
    xyxy
        Faces, float32 (N, 4).
    width, height
        Of the picture, pixels.

    Returns
    -------
    ndarray
        float32 (N, 4), xyxy.
    """
    return shift_inside(squares(xyxy, CONTEXT), width, height)


class Classifier:
    """Scores the labels a policy allows.

    Parameters
    ----------
    engine
        A classifying engine.
    wnids
        What its outputs stand for, in order.
    policy
        Excluded labels are gone before anything is chosen.
    glosses
        What labels mean, by wnid; nothing where nobody wants to know.

    Attributes
    ----------
    synsets
        The L labels that can be given, in the order of the scores.
    """

    def __init__(
        self,
        engine: Engine,
        wnids: tuple[str, ...],
        policy: Policy,
        glosses: Mapping[str, str] | None = None,
    ) -> None:
        if engine.manifest.decoder != "log-probabilities":
            raise ManifestError(
                f"a classifier is needed, but the engine's decoder is {engine.manifest.decoder!r}; "
                "set inference.classifier to a classifying engine"
            )
        known = {synset.wnid: synset for synset in load_synsets()}
        if unknown := [wnid for wnid in wnids if wnid not in known]:
            raise ManifestError(f"the classifier's label file names {unknown[0]}, no person synset")
        synsets = tuple(known[wnid] for wnid in wnids)
        self._engine = engine
        self._glosses = glosses or {}
        self._allowed = allowed(synsets, policy)
        self.synsets: tuple[Synset, ...] = tuple(
            synset for synset, shown in zip(synsets, self._allowed, strict=True) if shown
        )

    @property
    def fallback(self) -> bool:
        """Whether it runs on the CPU for now, though something better was asked for."""
        return self._engine.fallback

    def score(self, frame: Frame, regions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score every allowed label for every region.

        Parameters
        ----------
        frame
            Frame that the regions lie in.
        regions
            float32 (N, 4), xyxy in pixels of the frame.

        Returns
        -------
        ndarray
            float32 (N, L), log-probabilities among the allowed labels.
        """
        if not len(regions):
            return np.zeros((0, len(self.synsets)), np.float32)
        (name,) = self._engine.manifest.outputs
        outputs = self._engine.run(frame, regions)[name]
        if outputs.shape[1] != len(self._allowed):
            raise ManifestError(
                f"the classifier answers with {outputs.shape[1]} scores, but its label file has "
                f"{len(self._allowed)} lines; run `{build_engines()}`"
            )
        scores = outputs[:, self._allowed]
        top = scores.max(1, keepdims=True)
        total = top + np.log(np.exp(scores - top).sum(1, keepdims=True))
        return np.asarray(scores - total, np.float32)

    def score_faces(self, frame: Frame, xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score faces, given their boxes; see `score`."""
        return self.score(frame, context_regions(xyxy, frame.width, frame.height))

    def score_whole(self, frame: Frame) -> NDArray[np.float32]:
        """Score the whole frame, float32 (L,)."""
        whole = np.array([[0, 0, frame.width, frame.height]], np.float32)
        (scores,) = self.score(frame, whole)
        return np.asarray(scores, np.float32)

    def label(self, index: int, score: float) -> Label:
        """Put one of the L labels into words, with its score."""
        synset = self.synsets[index]
        return Label(synset.wnid, synset.words, score, self._glosses.get(synset.wnid, ""))

    def best(self, scores: NDArray[np.float32], count: int) -> list[Label]:
        """Put the best of L log-probabilities into words, best first."""
        order = np.argsort(-scores, kind="stable")[:count]
        return [self.label(int(index), float(np.exp(scores[index]))) for index in order]
