"""Image files that are classified, and the folder for copies with boxes and labels."""

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
from installation.capture.stills import FORMATS, explain_error, read_image
from installation.config.model import Theme
from installation.display.draw_still import draw_scene
from installation.errors import EXPECTED_ERRORS, InstallationError
from installation.scene import Label
from installation.vision.still_classifier import ImageClassifier, ImageResult

# Longest side a format can hold, pixels.
_MAX_SIDE_PX = {"WEBP": 16_383, "JPEG": 65_500, "GIF": 65_535}
# Errors of one file's name or size, not of the disk.
_FILE_ERRNOS = frozenset({errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG, errno.EFBIG})


@dataclass(frozen=True, slots=True, eq=False)
class FileResult(ImageResult):
    """The result for one file.

    Attributes
    ----------
    path
        The file.
    """

    path: Path

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``classify --json`` prints."""
        height, width = self.image.shape[:2]
        return {
            "image": str(self.path),
            "width": width,
            "height": height,
            "faces": [
                {
                    "box": [round(side, 1) for side in face.box],
                    "score": round(face.score, 4),
                    "labels": _labels_as_json(face.labels),
                }
                for face in self.faces
            ],
            "scene": {"labels": _labels_as_json(self.whole)},
        }


def _labels_as_json(labels: tuple[Label, ...]) -> list[dict[str, Any]]:
    return [
        {"wnid": label.wnid, "words": label.words, "score": float(f"{label.score:.6g}")}
        for label in labels
    ]


def classify_file(classifier: ImageClassifier, path: Path) -> FileResult:
    """Classify one image file.

    Raises
    ------
    CaptureError
        It is not a usable image.
    """
    image = read_image(path)
    with _name_file_in_errors(path, "cannot be classified"):
        result = classifier.classify(image, always_whole=True)
    return FileResult(result.image, result.faces, result.whole, path)


class OutputError(InstallationError):
    """The folder cannot take any copy, whatever the image."""


class OutputFolder:
    """Folder for copies with boxes and labels; existing files are never replaced.

    Parameters
    ----------
    folder
        Created if it does not exist.
    theme
        Look of boxes and labels.

    Raises
    ------
    OutputError
        The folder cannot be created or written to.
    """

    def __init__(self, folder: Path, theme: Theme) -> None:
        self._folder = folder
        self._theme = theme
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Fail before the first image is classified, not after.
            with tempfile.TemporaryFile(dir=folder):
                pass
            max_bytes = os.pathconf(folder, "PC_NAME_MAX")
        except FileExistsError as error:
            raise OutputError(f"{folder}: a file, not a folder for copies") from error
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written to: {error.strerror}") from error
        # Negative: no limit.
        self._max_name_bytes = max_bytes if max_bytes > 0 else sys.maxsize

    def save(self, result: FileResult) -> Path:
        """Save a copy under the original's name, with a number if that is taken.

        Its format is that of the name's suffix, or PNG if that cannot hold the image.

        Returns
        -------
        Path
            The copy.

        Raises
        ------
        CaptureError
            This image cannot be drawn or saved; others may.
        OutputError
            No image can be saved, as when the disk is full.
        """
        original = result.path
        with _name_file_in_errors(original, "cannot be drawn"):
            drawn = draw_scene(result.image, result.scene(), self._theme)
            image = Image.fromarray(drawn[..., ::-1])
        with _name_file_in_errors(original, "cannot be saved"):
            data, suffix = _encode(image, original.suffix)
        target = self._folder / original.name
        try:
            for number in itertools.count(1):
                addition = "" if number == 1 else f"-{number}"
                target = self._folder / self._name(original.stem, f"{addition}{suffix}")
                # Exclusive creation does not follow a link that is in the way.
                with suppress(FileExistsError), target.open("xb") as file:
                    _write_all(target, file, data)
                    break
        except OSError as error:
            kind = CaptureError if error.errno in _FILE_ERRNOS else OutputError
            raise kind(f"{target}: cannot be written: {error.strerror}") from error
        return target

    def _name(self, stem: str, ending: str) -> str:
        """Return a name short enough for the folder."""
        while len(os.fsencode(f"{stem}{ending}")) > self._max_name_bytes:
            stem = stem[:-1]
        return f"{stem}{ending}"


def _encode(image: Image.Image, suffix: str) -> tuple[bytes, str]:
    """Encode an image in its suffix's format, else as PNG; return the bytes and their suffix."""
    image_format = FORMATS.get(suffix.lower())
    if image_format and max(image.size) <= _MAX_SIDE_PX.get(image_format, math.inf):
        # Encoders may have other limits than the known ones.
        with suppress(Exception):
            return _encode_as(image, image_format), suffix
    return _encode_as(image, "PNG"), ".png"


def _encode_as(image: Image.Image, image_format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, quality=92)
    return buffer.getvalue()


def _write_all(target: Path, file: BinaryIO, data: bytes) -> None:
    """Write to a new file; delete it if that fails."""
    try:
        file.write(data)
        file.flush()
    except OSError:
        target.unlink(missing_ok=True)
        raise


@contextmanager
def _name_file_in_errors(path: Path, failure: str) -> Iterator[None]:
    """Turn whatever libraries raise about an odd image into an error that names its file."""
    try:
        yield
    except EXPECTED_ERRORS:
        raise
    except Exception as error:
        raise CaptureError(f"{path}: {failure}: {explain_error(error)}") from error
