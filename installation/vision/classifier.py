"""Regions to labels: scores for faces, or for a whole frame."""

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

# Side of the region around a face, in multiples of the face: hair, collar and shoulders tell a
# network trained on objects more than the face alone.
CONTEXT = 2.6


def context_regions(xyxy: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Return the regions to classify for the faces in a frame.

    They are squares inside the frame: the network mistakes a black border for a screen.

    Parameters
    ----------
    xyxy
        Boxes of the faces, float32 (N, 4).
    width, height
        Size of the frame, pixels.

    Returns
    -------
    ndarray
        float32 (N, 4), xyxy.
    """
    return shift_inside(squares(xyxy, CONTEXT), width, height)


class Classifier:
    """Scores the labels that a policy allows.

    Parameters
    ----------
    engine
        A classifier.
    wnids
        The synsets of the engine's outputs, in order.
    policy
        Labels that it excludes are removed before any is chosen.
    glosses
        Dictionary definitions by wnid; None for no glosses.

    Attributes
    ----------
    synsets
        The L allowed labels, in the order of the scores.
    """

    def __init__(
        self,
        engine: Engine,
        wnids: tuple[str, ...],
        policy: Policy,
        glosses: Mapping[str, str] | None = None,
    ) -> None:
        decoder = engine.manifest.decoder
        if decoder != "log-probabilities":
            raise ManifestError(
                f"the classifier must be a classifying engine, but its decoder is {decoder!r}; "
                "set inference.classifier to another engine"
            )
        known = {synset.wnid: synset for synset in load_synsets()}
        if unknown := [wnid for wnid in wnids if wnid not in known]:
            raise ManifestError(
                f"the classifier's label file contains {unknown[0]}, which is not a person synset"
            )
        synsets = tuple(known[wnid] for wnid in wnids)
        self._engine = engine
        self._glosses = glosses or {}
        self._allowed = allowed(synsets, policy)
        self.synsets: tuple[Synset, ...] = tuple(
            synset for synset, allow in zip(synsets, self._allowed, strict=True) if allow
        )

    @property
    def fallback(self) -> bool:
        """See `Engine.fallback`."""
        return self._engine.fallback

    def score(self, frame: Frame, regions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score all allowed labels for regions of a frame.

        Parameters
        ----------
        frame
            The frame.
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
                f"the classifier returns {outputs.shape[1]} scores, but its label file has "
                f"{len(self._allowed)} lines; run `{build_engines()}`"
            )
        scores = outputs[:, self._allowed]
        top = scores.max(1, keepdims=True)
        total = top + np.log(np.exp(scores - top).sum(1, keepdims=True))
        return np.asarray(scores - total, np.float32)

    def score_faces(self, frame: Frame, xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score faces, given their boxes, float32 (N, 4); see `score`."""
        return self.score(frame, context_regions(xyxy, frame.width, frame.height))

    def score_whole(self, frame: Frame) -> NDArray[np.float32]:
        """Score the whole frame; returns float32 (L,)."""
        whole = np.array([[0, 0, frame.width, frame.height]], np.float32)
        (scores,) = self.score(frame, whole)
        return np.asarray(scores, np.float32)

    def label(self, index: int, score: float) -> Label:
        """Return one of the L labels with a score."""
        synset = self.synsets[index]
        return Label(synset.wnid, synset.words, score, self._glosses.get(synset.wnid, ""))

    def best(self, scores: NDArray[np.float32], count: int) -> list[Label]:
        """Return the labels with the highest log-probabilities, best first."""
        order = np.argsort(-scores, kind="stable")[:count]
        return [self.label(int(index), float(np.exp(scores[index]))) for index in order]
