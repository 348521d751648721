"""Pictures from files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from installation.capture.source import CaptureError

log = logging.getLogger(__name__)

# More cannot come from a camera, and decoding it could take all memory.
_MAX_PIXELS = 150_000_000
_SECONDS_EACH = 6.0
_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

Image.MAX_IMAGE_PIXELS = None  # our own, lower limit speaks more clearly


def is_picture(path: Path) -> bool:
    """Tell a picture from a film by its name."""
    return path.suffix.lower() in _SUFFIXES


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture file as people see it.

    Turned upright as EXIF says; transparency over white; 16-bit, grey and CMYK converted.

    Parameters
    ----------
    path
        JPEG, PNG, WebP, TIFF, BMP or GIF (its first picture).

    Returns
    -------
    ndarray
        uint8 (height, width, 3), BGR.

    Raises
    ------
    CaptureError
        Missing, not a picture, damaged or larger than 150 megapixels.
    """
    if path.exists() and not path.is_file():
        raise CaptureError(f"{path}: {'a folder' if path.is_dir() else 'a device'}, not a picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > _MAX_PIXELS:
                    raise CaptureError(
                        f"{path}: {image.width} x {image.height} pixels are too many; "
                        f"scale it down to {_MAX_PIXELS // 10**6} megapixels or fewer"
                    )
                return as_seen(image)
    except CaptureError:
        raise
    except FileNotFoundError:
        raise CaptureError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        reason = "the file is empty" if empty else "not a picture in a format known here"
        raise CaptureError(f"{path}: {reason}") from None
    except Exception as error:
        # Decoders raise almost anything on damaged data.
        raise CaptureError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error


def as_seen(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an open picture as people see them; see `read_picture`.

    Decoders raise almost anything on damaged data.
    """
    return _to_bgr(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF says; damaged EXIF spoils no picture."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _to_bgr(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float64)
        white = {"I": 65535, "F": max(float(values.max()), 1.0)}.get(image.mode, 65535)
        grey = np.clip(values * (255 / white), 0, 255).astype(np.uint8)
        return np.dstack([grey] * 3)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.ascontiguousarray(np.asarray(image.convert("RGB"), np.uint8)[..., ::-1])


class Stills:
    """A picture, or a folder of pictures one after the other, six seconds each.

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

    def open(self) -> None:
        """See `Source.open`. In a folder, what cannot be read is left out."""
        try:
            folder = self._path.is_dir()
            self._queue = sorted(filter(is_picture, self._path.iterdir())) if folder else []
        except OSError as error:
            raise CaptureError(f"{self.name}: cannot be read: {error.strerror}") from error
        if not folder:
            self._showing = self._repeat(self._path)
        elif not self._next():
            raise CaptureError(f"{self.name}: no pictures in this folder that can be read")

    def _repeat(self, path: Path) -> Iterator[NDArray[np.uint8]]:
        return repeat(read_picture(path), self._times)

    def _next(self) -> bool:
        """Go on to the next readable picture of the folder, if there is one."""
        while self._queue:
            try:
                self._showing = self._repeat(self._queue.pop(0))
            except CaptureError as error:
                log.warning("%s; left out", error)
            else:
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
