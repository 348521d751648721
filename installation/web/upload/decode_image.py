"""From a visitor's bytes to pixels, with all limits checked before anything is decoded."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from installation.capture.stills import decode
from installation.web.upload.errors import RequestError

# Not HEIC: phones that take it send JPEG to a page that asks for JPEG.
_FORMATS = ("JPEG", "PNG", "WEBP")
# Longer sides are shrunk to this: more detail helps nobody and takes longer.
MAX_SIDE_PX = 1600
# A progressive JPEG has about ten scans. Each costs a pass over all pixels, however few bytes it
# has: a small file with thousands of them would take hours.
_SCAN_MARKER = b"\xff\xda"
_MAX_SCANS = 100
# Offset and first bytes of other image formats.
_OTHER_FORMATS = (
    (0, b"GIF8"),
    (0, b"BM"),
    (0, b"II*\x00"),
    (0, b"MM\x00*"),
    (0, b"\x00\x00\x01\x00"),
    (0, b"\x00\x00\x00\x0cJXL "),
    (0, b"\x00\x00\x00\x0cjP  "),
    (0, b"\xff\x0a"),
    (0, b"8BPS"),
    (4, b"ftypheic"),
    (4, b"ftypheix"),
    (4, b"ftypmif1"),
    (4, b"ftypavif"),
)
ACCEPTED = "a JPEG, PNG or WebP image"
_DAMAGED = "This image file is damaged. Please try another one."


def decode_image(data: bytes, max_megapixels: float) -> NDArray[np.uint8]:
    """Decode an image as people see it: upright, transparent parts white; metadata is dropped.

    Parameters
    ----------
    data
        A JPEG, PNG or WebP file.
    max_megapixels
        Largest size that is accepted.

    Returns
    -------
    ndarray
        uint8 (height, width, 3), BGR; the longer side is at most 1600 pixels.

    Raises
    ------
    RequestError
        400 if it is no image, 413 if it has too many pixels, 415 for other image formats, 422 if it
        is damaged.
    """
    if not data:
        raise RequestError(400, "No image was sent.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if image.width * image.height > max_megapixels * 1e6:
                    raise RequestError(
                        413,
                        f"This image has more than {max_megapixels:g} megapixels. "
                        "Please send a smaller one.",
                    )
                if image.format in ("JPEG", "MPO") and data.count(_SCAN_MARKER) > _MAX_SCANS:
                    raise RequestError(422, _DAMAGED)
                # Pillow cannot pre-shrink images with 16 bits per channel.
                gap = None if image.mode.startswith("I;16") else 2.0
                image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), reducing_gap=gap)
                return decode(image)
    except RequestError:
        raise
    except UnidentifiedImageError:
        if any(data.startswith(magic, offset) for offset, magic in _OTHER_FORMATS):
            raise RequestError(
                415, f"This image format is not supported. Please send {ACCEPTED}."
            ) from None
        raise RequestError(400, f"This is not {ACCEPTED}.") from None
    except Exception as error:
        # Decoders raise almost anything on damaged data.
        raise RequestError(422, _DAMAGED) from error
