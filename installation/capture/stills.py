"""Pictures from files."""

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
from PIL import Image, ImageOps, UnidentifiedImageError

from installation.capture.source import CaptureError
from installation.errors import printable

log = logging.getLogger(__name__)

# More cannot come from a camera, and decoding it could take all memory.
_MAX_PIXELS = 150_000_000
_SECONDS_EACH = 6.0
# Pixels of a side that every graphics card can draw, and no screen shows more.
_LONGEST_SHOWN = 8192
_LONGEST_REASON = 200
_PATH = re.compile(r"(^|\s|['\"])/\w")

# The format that a name's ending stands for.
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
# What files may hold whatever their ending. Pillow knows more, but hands EPS to Ghostscript, which
# keeps what it draws in a file, and finds pictures of any size inside ICO.
_READABLE = (*sorted(set(FORMATS.values())), "AVIF", "JPEG2000", "PPM")
_NO_FILES = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}

Image.MAX_IMAGE_PIXELS = None  # our own, lower limit speaks more clearly
# libtiff writes what is wrong with a file to standard error, past the log.
with suppress(AttributeError, OSError):
    ctypes.CDLL(PIL._imaging.__file__).TIFFSetErrorHandler(None)


def is_picture(path: Path) -> bool:
    """Tell a picture from a film by its name."""
    return path.suffix.lower() in FORMATS


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture file as people see it.

    Turned upright as EXIF says; transparency over white; 16-bit, grey and CMYK converted.

    Parameters
    ----------
    path
        JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000 or PPM; of several pictures in it the
        first.

    Returns
    -------
    ndarray
        uint8 (height, width, 3), BGR.

    Raises
    ------
    CaptureError
        Missing, not a picture, damaged or larger than 150 megapixels; whatever is wrong with it.
    """
    try:
        with _opened(path) as file:
            if not file.peek(1):
                raise CaptureError(f"{path}: the file is empty")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(file, formats=_readable()) as image:
                    _check_size(path, image)
                    return as_seen(image)
    except CaptureError:
        raise
    except FileNotFoundError:
        raise CaptureError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise CaptureError(f"{path}: not a picture in a format known here") from None
    except Exception as error:
        raise CaptureError(f"{path}: cannot be read: {reason(error)}") from error


def _opened(path: Path) -> BufferedReader:
    """Open a file; nothing else is even touched, as that can hang, or start something."""
    _check_kind(path, path.stat())
    # In case it has become a pipe meanwhile. Of some files in /proc, too, reading never ends.
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
        raise CaptureError(f"{path}: {_NO_FILES.get(kind, 'a device')}, not a picture")


def _check_size(path: Path, image: Image.Image) -> None:
    pixels = image.width * image.height
    if pixels > _MAX_PIXELS:
        raise CaptureError(
            f"{path}: {image.width} x {image.height} pixels are too many; "
            f"scale it down to {_MAX_PIXELS // 10**6} megapixels or fewer"
        )
    if pixels <= 0:
        raise CaptureError(f"{path}: {image.width} x {image.height} pixels are none at all")


@cache
def _readable() -> tuple[str, ...]:
    """Return what this Pillow was built to read of `_READABLE`."""
    Image.init()
    return tuple(each for each in _READABLE if each in Image.OPEN)


def reason(error: Exception) -> str:
    """Say in a few words why a library cannot do something with a picture.

    Decoders and encoders raise almost anything on odd data. What is no message for people, such as
    the key of a `KeyError` or a path inside a library, is left out.
    """
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = printable(" ".join(str(error).split()))[:_LONGEST_REASON]
    # Pillow has no better words for what libtiff found.
    said = re.sub("^(?=decoder error -)", "it is damaged, ", said)
    told = isinstance(error, (OSError, ValueError, SyntaxError, EOFError))
    if said and told and not isinstance(error, UnicodeError) and not _PATH.search(said):
        return said
    return f"it is damaged or of a rare kind ({type(error).__name__})"


def as_seen(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an open picture as people see them; see `read_picture`.

    Decoders raise almost anything on damaged data.
    """
    # Not left to what turns it: that would go on without.
    image.load()
    return _to_bgr(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF says; damaged EXIF spoils no picture."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _to_bgr(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):
        grey = _to_grey(np.asarray(image).astype(np.float32), image.mode)
        return np.dstack([grey] * 3)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.ascontiguousarray(np.asarray(image.convert("RGB"), np.uint8)[..., ::-1])


def _to_grey(values: NDArray[np.float32], mode: str) -> NDArray[np.uint8]:
    """Bring numbers to 0 to 255, black being 0; they are overwritten."""
    if not np.isfinite(values).all():
        raise ValueError("it has pixels that are NaN or infinite; save it with 8 or 16 bits")
    # What is white is not told: 16 bits are used in full, or more than these, or 0 to 1.
    white = max(float(values.max()), 1.0 if mode == "F" else 65535.0)
    np.clip(values, 0, white, out=values)
    values *= 255 / white
    return values.astype(np.uint8)


def _fit_to_draw(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    scale = _LONGEST_SHOWN / max(height, width)
    if scale >= 1:
        return picture
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


class Stills:
    """A picture, or a folder of pictures one after the other, six seconds each.

    In a folder, what cannot be read is left out, and told once. Pictures that graphics cards cannot
    draw are scaled down.

    Parameters
    ----------
    path
        File or folder.
    fps
        Pictures a second; a still is repeated.
    loop
        Begin again at the end.
    """

    def __init__(self, path: Path, fps: float, loop: bool) -> None:
        self.name = str(path)
        self.interval_s: float | None = 1 / fps
        self._path = path
        self._loop = loop
        self._times = max(round(_SECONDS_EACH * fps), 1)
        self._queue: list[Path] = []
        self._showing: Iterator[NDArray[np.uint8]] = iter(())
        self._left_out: dict[Path, str] = {}

    def open(self) -> None:
        """See `Source.open`."""
        # Unlike the method of a path, this is False also for what may not be looked at.
        folder = os.path.isdir(self._path)  # noqa: PTH112
        try:
            self._queue = sorted(filter(is_picture, self._path.iterdir())) if folder else []
        except OSError as error:
            raise CaptureError(f"{self.name}: cannot be read: {error.strerror}") from error
        if not folder:
            self._showing = self._repeat(self._path)
        elif not self._next():
            raise CaptureError(f"{self.name}: no pictures in this folder that can be read")

    def _repeat(self, path: Path) -> Iterator[NDArray[np.uint8]]:
        return repeat(_fit_to_draw(read_picture(path)), self._times)

    def _next(self) -> bool:
        """Go on to the next readable picture of the folder, if there is one."""
        while self._queue:
            path = self._queue.pop(0)
            try:
                self._showing = self._repeat(path)
            except CaptureError as error:
                if self._left_out.get(path) != str(error):
                    log.warning("%s; left out", error)
                self._left_out[path] = str(error)
            else:
                self._left_out.pop(path, None)
                return True
        return False

    def read(self) -> NDArray[np.uint8] | None:
        """See `Source.read`."""
        picture = next(self._showing, None)
        if picture is not None:
            return picture
        if not self._next():
            if not self._loop:
                return None
            self.open()
        return self.read()

    def close(self) -> None:
        """See `Source.close`."""
        self._queue.clear()
        self._showing = iter(())
