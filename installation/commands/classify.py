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

from PIL import Image

from installation.capture.source import CaptureError
from installation.capture.stills import FORMATS, read_picture, reason
from installation.config.model import Theme
from installation.display.draw_still import draw_scene
from installation.errors import EXPECTED_ERRORS, InstallationError
from installation.scene import Label
from installation.vision.still_classifier import ImageClassifier, ImageResult

# Pixels of a side beyond which a format cannot hold a picture.
_LONGEST_SIDES = {"WEBP": 16_383, "JPEG": 65_500, "GIF": 65_535}
# What is wrong with a name or a size, not with the disk.
_ONE_FILES_ERRORS = frozenset({errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.EFBIG})


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


def read_file(classifier: ImageClassifier, path: Path) -> FileResult:
    """Classify one file; raises `CaptureError` where it is no usable image."""
    picture = read_picture(path)
    with _told_of(path, "cannot be looked at"):
        found = classifier.look(picture, always_whole=True)
    return FileResult(found.picture, found.faces, found.whole, path)


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
            picture = Image.fromarray(
                draw_scene(reading.picture, reading.scene(), self._theme)[..., ::-1]
            )
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
