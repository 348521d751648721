"""Find and label the faces of one image, without tracking."""

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

# Faces of 24 pixels and more are to be found; the network's idea of their size varies a little.
_SMALLEST_FACE = 20
_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class NamedFace:
    """One face of a picture.

    Attributes
    ----------
    box
        xyxy in pixels of the upright picture.
    score
        How sure the detector is, 0 to 1.
    labels
        Best first.
    """

    box: Box
    score: float
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ImageResult:
    """What was found in one picture.

    Attributes
    ----------
    picture
        uint8 (height, width, 3), BGR, upright.
    faces
        From left to right.
    whole
        Labels for the picture as a whole, best first; empty where there are faces and nobody asked.
    """

    picture: NDArray[np.uint8]
    faces: tuple[NamedFace, ...]
    whole: tuple[Label, ...]

    def scene(self) -> Scene:
        """Return faces and best labels as a scene to draw over the image."""
        height, width = self.picture.shape[:2]
        still = (0.0, 0.0, 0.0, 0.0)
        tracks = tuple(
            Track(index + 1, 0.0, face.box, still, Verdict(face.labels[0], True))
            for index, face in enumerate(self.faces)
        )
        whole = None if tracks else Verdict(self.whole[0], True)
        return Scene(0, 0.0, width, height, tracks, whole)


class ImageClassifier:
    """Finds and names the faces in pictures.

    Parameters
    ----------
    detector, classifier
        Used from the calling thread alone.
    top
        How many labels to give each face.
    """

    def __init__(self, detector: Detector, classifier: Classifier, top: int) -> None:
        self._detector = detector
        self._classifier = classifier
        self._top = top

    @property
    def fallback(self) -> bool:
        """Whether it runs on the CPU for now, though something better was asked for."""
        return self._detector.fallback or self._classifier.fallback

    def look(self, picture: NDArray[np.uint8], *, always_whole: bool = False) -> ImageResult:
        """Find and name the faces in a picture.

        Parameters
        ----------
        picture
            uint8 (height, width, 3), BGR.
        always_whole
            Whether to name the picture as a whole also where it has faces.
        """
        frame = Frame.from_image(picture)
        faces = self._detector.find(frame)
        faces = faces[np.argsort(faces.xyxy[:, 0], kind="stable")]
        scores = self._classifier.score_faces(frame, faces.xyxy)
        named = tuple(
            NamedFace(
                (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                float(certainty),
                tuple(self._classifier.best(row, self._top)),
            )
            for box, certainty, row in zip(faces.xyxy, faces.scores, scores, strict=True)
        )
        whole: tuple[Label, ...] = ()
        if always_whole or not named:
            scores = self._classifier.score_whole(frame)
            whole = tuple(self._classifier.best(scores, self._top))
        return ImageResult(picture, named, whole)


@contextmanager
def open_image_classifier(
    config: Config,
    top: int,
    progress: Progress = lambda _what, _done: True,
    waits: bool = False,
) -> Iterator[ImageClassifier]:
    """Open the engines and follow the policy a config names; see `open_vision`."""
    opened = open_vision(config, _SMALLEST_FACE, _THRESHOLD, progress, waits)
    with opened as (detector, classifier):
        yield ImageClassifier(detector, classifier, top)
