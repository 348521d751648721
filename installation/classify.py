"""Name the faces in picture files: what the web version of the work did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from installation.capture.stills import is_picture, read_picture
from installation.config import Config, Theme
from installation.display.paint import paint
from installation.errors import InstallationError
from installation.inference.device import Progress
from installation.scene import Box, Label, Scene, Track, Verdict
from installation.vision.classifier import Classifier
from installation.vision.detector import Detector
from installation.vision.observer import open_vision

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
class Found:
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

    def drawn(self, theme: Theme) -> NDArray[np.uint8]:
        """Draw boxes and best labels into a copy of the picture, BGR."""
        height, width = self.picture.shape[:2]
        still = (0.0, 0.0, 0.0, 0.0)
        tracks = tuple(
            Track(index + 1, 0.0, face.box, still, Verdict(face.labels[0], True))
            for index, face in enumerate(self.faces)
        )
        whole = None if tracks else Verdict(self.whole[0], True)
        return paint(self.picture, Scene(0, 0.0, width, height, tracks, whole), theme)


@dataclass(frozen=True, slots=True, eq=False)
class Reading(Found):
    """What was found in one file.

    Attributes
    ----------
    path
        Of the file.
    """

    path: Path

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``classify --json`` prints."""
        height, width = self.picture.shape[:2]
        return {
            "image": str(self.path),
            "width": width,
            "height": height,
            "faces": [
                {
                    "box": [round(side, 1) for side in face.box],
                    "score": round(face.score, 4),
                    "labels": _as_json(face.labels),
                }
                for face in self.faces
            ],
            "scene": {"labels": _as_json(self.whole)},
        }


def _as_json(labels: tuple[Label, ...]) -> list[dict[str, Any]]:
    return [
        {"wnid": label.wnid, "words": label.words, "score": float(f"{label.score:.6g}")}
        for label in labels
    ]


class PictureReader:
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

    def read(self, path: Path) -> Reading:
        """Read one file; raises `CaptureError` where it is no usable picture."""
        found = self.look(read_picture(path), always_whole=True)
        return Reading(found.picture, found.faces, found.whole, path)

    @property
    def fallback(self) -> bool:
        """Whether it runs on the CPU for now, though something better was asked for."""
        return self._detector.fallback or self._classifier.fallback

    def look(self, picture: NDArray[np.uint8], *, always_whole: bool = False) -> Found:
        """Find and name the faces in a picture.

        Parameters
        ----------
        picture
            uint8 (height, width, 3), BGR.
        always_whole
            Whether to name the picture as a whole also where it has faces.
        """
        faces = self._detector.find(picture)
        faces = faces[np.argsort(faces.xyxy[:, 0], kind="stable")]
        scores = self._classifier.score_faces(picture, faces.xyxy)
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
            scores = self._classifier.score_whole(picture)
            whole = tuple(self._classifier.best(scores, self._top))
        return Found(picture, named, whole)


@contextmanager
def open_reader(
    config: Config,
    top: int,
    progress: Progress = lambda _what, _done: True,
    waits: bool = False,
) -> Iterator[PictureReader]:
    """Open the engines and follow the policy a config names; see `open_vision`."""
    opened = open_vision(config, _SMALLEST_FACE, _THRESHOLD, progress, waits)
    with opened as (detector, classifier):
        yield PictureReader(detector, classifier, top)


class CopyFolder:
    """A folder that receives drawn-on copies; what lies in it already is never replaced.

    Parameters
    ----------
    folder
        Created if need be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InstallationError(f"{folder}: cannot be made: {error.strerror}") from error

    def save(self, original: Path, picture: NDArray[np.uint8]) -> Path:
        """Write a copy under its original's name, a number added where that is taken."""
        suffix = original.suffix if is_picture(original) else ".png"
        target, number = self._folder / f"{original.stem}{suffix}", 1
        while target.exists():
            number += 1
            target = self._folder / f"{original.stem}-{number}{suffix}"
        try:
            Image.fromarray(picture[..., ::-1]).save(target, quality=92)
        except OSError as error:
            raise InstallationError(f"{target}: cannot be written: {error}") from error
        return target
