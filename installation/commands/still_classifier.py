"""Name the faces in picture files: what the web version of the work did."""

from __future__ import annotations

import errno
import io
import itertools
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from installation.capture.source import CaptureError
from installation.capture.stills import FORMATS, read_picture, reason
from installation.config.model import Config, Theme
from installation.display.draw_still import paint
from installation.errors import EXPECTED_ERRORS, InstallationError
from installation.inference.open_engines import Progress
from installation.scene import Box, Label, Scene, Track, Verdict
from installation.vision.classifier import Classifier
from installation.vision.detector import Detector
from installation.vision.pipeline import open_vision

# Faces of 24 pixels and more are to be found; the network's idea of their size varies a little.
_SMALLEST_FACE = 20
_THRESHOLD = 0.5
# Pixels of a side beyond which a format cannot hold a picture.
_LONGEST_SIDES = {"WEBP": 16_383, "JPEG": 65_500, "GIF": 65_535}
# What is wrong with a name or a size, not with the disk.
_ONE_FILES_ERRORS = frozenset({errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.EFBIG})


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
class FileResult(ImageResult):
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

    def read(self, path: Path) -> FileResult:
        """Read one file; raises `CaptureError` where it is no usable picture."""
        picture = read_picture(path)
        with _told_of(path, "cannot be looked at"):
            found = self.look(picture, always_whole=True)
        return FileResult(found.picture, found.faces, found.whole, path)

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
        return ImageResult(picture, named, whole)


@contextmanager
def open_reader(
    config: Config,
    top: int,
    progress: Progress = lambda _what, _done: True,
    waits: bool = False,
) -> Iterator[ImageClassifier]:
    """Open the engines and follow the policy a config names; see `open_vision`."""
    opened = open_vision(config, _SMALLEST_FACE, _THRESHOLD, progress, waits)
    with opened as (detector, classifier):
        yield ImageClassifier(detector, classifier, top)


class OutputError(InstallationError):
    """A folder can take no copy at all, whatever the picture."""


class OutputFolder:
    """A folder that receives drawn-on copies; what lies in it already is never replaced.

    Parameters
    ----------
    folder
        Created if need be.
    theme
        How boxes and labels look.

    Raises
    ------
    OutputError
        It cannot be made, or nothing can be written in it.
    """

    def __init__(self, folder: Path, theme: Theme) -> None:
        self._folder = folder
        self._theme = theme
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Told before the first picture is looked at, not after.
            with tempfile.TemporaryFile(dir=folder):
                pass
            longest = os.pathconf(folder, "PC_NAME_MAX")
        except FileExistsError as error:
            raise OutputError(f"{folder}: a file, not a folder for copies") from error
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written to: {error.strerror}") from error
        # Bytes; negative where there is no limit.
        self._longest_name = longest if longest > 0 else sys.maxsize

    def save(self, reading: FileResult) -> Path:
        """Write a copy under its original's name, a number added where that is taken.

        Its format is the one that its name tells, or PNG where that cannot hold the picture.

        Raises
        ------
        CaptureError
            This picture cannot be drawn or saved; others can.
        OutputError
            No other could be saved either, as when the disk is full.
        """
        original = reading.path
        with _told_of(original, "cannot be drawn"):
            picture = Image.fromarray(reading.drawn(self._theme)[..., ::-1])
        with _told_of(original, "cannot be saved"):
            data, suffix = _encoded(picture, original.suffix)
        target = self._folder / original.name
        try:
            for number in itertools.count(1):
                addition = "" if number == 1 else f"-{number}"
                target = self._folder / self._name(original.stem, f"{addition}{suffix}")
                # Not even what a link leads to.
                with suppress(FileExistsError), target.open("xb") as file:
                    _fill(target, file, data)
                    break
        except OSError as error:
            kind = CaptureError if error.errno in _ONE_FILES_ERRORS else OutputError
            raise kind(f"{target}: cannot be written: {error.strerror}") from error
        return target

    def _name(self, stem: str, ending: str) -> str:
        """Return a name that is not too long for the folder."""
        while len(os.fsencode(f"{stem}{ending}")) > self._longest_name:
            stem = stem[:-1]
        return f"{stem}{ending}"


def _encoded(picture: Image.Image, suffix: str) -> tuple[bytes, str]:
    """Return a picture as its suffix says, or as PNG where that is impossible, and its suffix."""
    form = FORMATS.get(suffix.lower())
    if form is not None and max(picture.size) <= _LONGEST_SIDES.get(form, math.inf):
        # There may be other limits than those that are known here.
        with suppress(Exception):
            return _saved(picture, form), suffix
    return _saved(picture, "PNG"), ".png"


def _saved(picture: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, quality=92)
    return buffer.getvalue()


def _fill(target: Path, file: BinaryIO, data: bytes) -> None:
    """Write a file that was begun; half of it is not left behind."""
    try:
        file.write(data)
        file.flush()
    except OSError:
        target.unlink(missing_ok=True)
        raise


@contextmanager
def _told_of(path: Path, what: str) -> Iterator[None]:
    """Make whatever odd pictures raise in libraries an error of their file."""
    try:
        yield
    except EXPECTED_ERRORS:
        raise
    except Exception as error:
        raise CaptureError(f"{path}: {what}: {reason(error)}") from error
