"""Detect and label the faces of single images, without tracking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from installation.config.model import Config
from installation.inference.open_engines import Progress
from installation.scene import Box, Frame, Label, Scene, Track, Verdict
from installation.vision.classifier import Classifier
from installation.vision.detector import Detector
from installation.vision.pipeline import open_vision

# Faces of 24 pixels are to be found; the detected size varies a little.
_MIN_FACE_PX = 20
_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """One face of an image.

    Attributes
    ----------
    box
        xyxy in pixels of the upright image.
    score
        The detector's score, 0 to 1.
    labels
        The best labels, best first.
    """

    box: Box
    score: float
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ImageResult:
    """The result for one image.

    Attributes
    ----------
    image
        uint8 (height, width, 3), BGR, upright.
    faces
        The faces, from left to right.
    whole
        Labels for the whole image, best first; empty if there are faces and it was not asked for.
    """

    image: NDArray[np.uint8]
    faces: tuple[LabelledFace, ...]
    whole: tuple[Label, ...]

    def scene(self) -> Scene:
        """Return the faces and their best labels as a scene, for drawing."""
        height, width = self.image.shape[:2]
        still = (0.0, 0.0, 0.0, 0.0)
        tracks = tuple(
            Track(index + 1, 0.0, face.box, still, Verdict(face.labels[0], True))
            for index, face in enumerate(self.faces)
        )
        whole = None if tracks else Verdict(self.whole[0], True)
        return Scene(0, 0.0, width, height, tracks, whole)


class ImageClassifier:
    """Detects and labels the faces of images. Not thread-safe.

    Parameters
    ----------
    detector, classifier
        The models.
    top
        Number of labels for each face.
    """

    def __init__(self, detector: Detector, classifier: Classifier, top: int) -> None:
        self._detector = detector
        self._classifier = classifier
        self._top = top

    @property
    def fallback(self) -> bool:
        """Whether any engine is on its fallback; see `Engine.fallback`."""
        return self._detector.fallback or self._classifier.fallback

    def classify(self, image: NDArray[np.uint8], *, always_whole: bool = False) -> ImageResult:
        """Detect and label the faces of an image.

        Parameters
        ----------
        image
            uint8 (height, width, 3), BGR.
        always_whole
            Whether to label the whole image even if it has faces.
        """
        frame = Frame.from_image(image)
        faces = self._detector.find(frame)
        faces = faces[np.argsort(faces.xyxy[:, 0], kind="stable")]
        scores = self._classifier.score_faces(frame, faces.xyxy)
        labelled = tuple(
            LabelledFace(
                (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                float(score),
                tuple(self._classifier.best(row, self._top)),
            )
            for box, score, row in zip(faces.xyxy, faces.scores, scores, strict=True)
        )
        whole: tuple[Label, ...] = ()
        if always_whole or not labelled:
            scores = self._classifier.score_whole(frame)
            whole = tuple(self._classifier.best(scores, self._top))
        return ImageResult(image, labelled, whole)


@contextmanager
def open_image_classifier(
    config: Config,
    top: int,
    progress: Progress = lambda _what, _done: True,
    raise_overload: bool = False,
) -> Iterator[ImageClassifier]:
    """Open an image classifier with a config's engines and policy; see `open_vision`."""
    opened = open_vision(config, _MIN_FACE_PX, _THRESHOLD, progress, raise_overload)
    with opened as (detector, classifier):
        yield ImageClassifier(detector, classifier, top)
