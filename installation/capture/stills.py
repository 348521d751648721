"""Image files, single or as a source."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from io import BufferedReader
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import PIL._imaging
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from installation.capture.decode_still import decode
from installation.capture.source import CaptureError
from installation.errors import printable

log = logging.getLogger(__name__)

# No camera has more, and decoding larger images could exhaust the memory.
_MAX_PIXELS = 150_000_000
_SHOW_EACH_S = 6.0
# Maximum texture size that all GPUs support.
_MAX_SIDE_PX = 8192
_MAX_REASON_LENGTH = 200
_PATH = re.compile(r"(^|\s|['\"])/\w")

# Image format by file name suffix.
FORMATS = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
# Formats that are read, whatever the suffix. Of the others that Pillow supports, EPS starts
# Ghostscript, which writes the image to a file, and ICO may contain images of any size.
_READABLE = (*sorted(set(FORMATS.values())), "AVIF", "JPEG2000", "PPM")
_FILE_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}

Image.MAX_IMAGE_PIXELS = None  # _MAX_PIXELS is lower and has a clearer message
# libtiff would print errors to standard error.
with suppress(AttributeError, OSError):
    ctypes.CDLL(PIL._imaging.__file__).TIFFSetErrorHandler(None)


def is_image_file(path: Path) -> bool:
    """Return whether a file is an image, judging by its suffix."""
    return path.suffix.lower() in FORMATS


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image file.

    The image is rotated according to EXIF; transparency is blended over white; 16-bit, greyscale
    and CMYK images are converted.

    Parameters
    ----------
    path
        JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000 or PPM; of several images in it the first.

    Returns
    -------
    ndarray
        uint8 (height, width, 3), BGR.

    Raises
    ------
    CaptureError
        The file is missing, not an image, damaged, or larger than 150 megapixels.
    """
    try:
        with _opened(path) as file:
            if not file.peek(1):
                raise CaptureError(f"{path}: the file is empty")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(file, formats=_readable()) as image:
                    _check_size(path, image)
                    return decode(image)
    except CaptureError:
        raise
    except FileNotFoundError:
        raise CaptureError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise CaptureError(f"{path}: not an image in a supported format") from None
    except Exception as error:
        raise CaptureError(f"{path}: cannot be read: {explain_error(error)}") from error


def _opened(path: Path) -> BufferedReader:
    """Open a regular file; opening other kinds could hang or have side effects."""
    _check_kind(path, path.stat())
    # O_NONBLOCK in case it has just been replaced by a pipe, or is a file in /proc that never ends.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb")
    try:
        _check_kind(path, os.fstat(file.fileno()))
    except CaptureError:
        file.close()
        raise
    return file


def _check_kind(path: Path, status: os.stat_result) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise CaptureError(f"{path}: {_FILE_KINDS.get(kind, 'a device')}, not an image")


def _check_size(path: Path, image: Image.Image) -> None:
    pixels = image.width * image.height
    if pixels > _MAX_PIXELS:
        raise CaptureError(
            f"{path}: {image.width} x {image.height} pixels are too many; "
            f"scale it down to {_MAX_PIXELS // 10**6} megapixels or fewer"
        )
    if pixels <= 0:
        raise CaptureError(f"{path}: it has no pixels ({image.width} x {image.height})")


@cache
def _readable() -> tuple[str, ...]:
    """Return the formats of `_READABLE` that the installed Pillow supports."""
    Image.init()
    return tuple(each for each in _READABLE if each in Image.OPEN)


def explain_error(error: Exception) -> str:
    """Return a short message for an exception that an image library raised.

    Decoders and encoders raise almost anything on invalid data. Texts that are no messages, such as
    the key of a `KeyError` or a path inside a library, are replaced.
    """
    if isinstance(error, MemoryError):
        return "not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    message = printable(" ".join(str(error).split()))[:_MAX_REASON_LENGTH]
    # Pillow reports libtiff's errors as numbers.
    message = re.sub("^(?=decoder error -)", "it is damaged, ", message)
    readable = isinstance(error, (OSError, ValueError, SyntaxError, EOFError))
    if message and readable and not isinstance(error, UnicodeError) and not _PATH.search(message):
        return message
    return f"it is damaged or of an unsupported kind ({type(error).__name__})"


def _limit_size(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = _MAX_SIDE_PX / max(height, width)
    if scale >= 1:
        return image
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


class Stills:
    """An image, or the images of a folder in turn, six seconds each.

    Files in a folder that cannot be read are skipped and logged once. Images that are too large for
    a GPU are scaled down.

    Parameters
    ----------
    path
        File or folder.
    fps
        Frames per second; each image is repeated.
    loop
        Whether to start again at the end.
    """

    def __init__(self, path: Path, fps: float, loop: bool) -> None:
        self.name = str(path)
        self.interval_s: float | None = 1 / fps
        self._path = path
        self._loop = loop
        self._repeats = max(round(_SHOW_EACH_S * fps), 1)
        self._remaining: list[Path] = []
        self._current: Iterator[NDArray[np.uint8]] = iter(())
        self._skipped: dict[Path, str] = {}

    def open(self) -> None:
        """See `Source.open`."""
        # Unlike Path.is_dir, os.path.isdir returns False if access is denied.
        folder = os.path.isdir(self._path)  # noqa: PTH112
        try:
            self._remaining = sorted(filter(is_image_file, self._path.iterdir())) if folder else []
        except OSError as error:
            raise CaptureError(f"{self.name}: cannot be read: {error.strerror}") from error
        if not folder:
            self._current = self._repeat(self._path)
        elif not self._next():
            raise CaptureError(f"{self.name}: no readable images in this folder")

    def _repeat(self, path: Path) -> Iterator[NDArray[np.uint8]]:
        return repeat(_limit_size(read_image(path)), self._repeats)

    def _next(self) -> bool:
        """Advance to the next readable image of the folder; return False if there is none."""
        while self._remaining:
            path = self._remaining.pop(0)
            try:
                self._current = self._repeat(path)
            except CaptureError as error:
                if self._skipped.get(path) != str(error):
                    log.warning("%s; skipped", error)
                self._skipped[path] = str(error)
            else:
                self._skipped.pop(path, None)
                return True
        return False

    def read(self) -> NDArray[np.uint8] | None:
        """See `Source.read`."""
        image = next(self._current, None)
        if image is not None:
            return image
        if not self._next():
            if not self._loop:
                return None
            self.open()
        return self.read()

    def close(self) -> None:
        """See `Source.close`."""
        self._remaining.clear()
        self._current = iter(())
