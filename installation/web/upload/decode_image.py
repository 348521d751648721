"""From a visitor's bytes to pixels, with all limits checked before anything is decoded."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pi_heif
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from installation.capture.decode_still import decode
from installation.web.upload.errors import ACCEPTED, DAMAGED, TOO_COMPLEX, RequestError
from installation.web.upload.image_structure import trim_image

# Longer sides are shrunk to this: more detail helps nobody and takes longer.
MAX_SIDE_PX = 1600
# Libraries take memory for each row and column, however short.
_MAX_ENCODED_SIDE_PX = 32_767
# Images in one file. Only the first one is decoded.
_MAX_FRAMES = 300
_FORMATS = ("JPEG", "PNG", "WEBP", "HEIF")
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
    (4, b"ftypavif"),
)

Image.MAX_IMAGE_PIXELS = None  # `max_megapixels` is lower and has a clearer message
# Only the image itself is of interest.
pi_heif.register_heif_opener(
    thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
)


def decode_image(data: bytes, max_megapixels: float) -> NDArray[np.uint8]:
    """Decode an image as people see it: upright, in sRGB, transparent parts white.

    Parameters
    ----------
    data
        A JPEG, PNG, WebP or HEIC file, whatever its sender calls it.
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
        is damaged or would take too long to decode.
    MemoryError
        There is not enough memory for it.
    """
    if not data:
        raise RequestError(400, "No image was sent.")
    data = trim_image(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                _check_size(image, max_megapixels)
                # Pillow cannot pre-shrink images with 16 bits per channel.
                gap = None if image.mode.startswith("I;16") else 2.0
                image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX), reducing_gap=gap)
                return decode(image)
    except (RequestError, MemoryError):
        raise
    except UnidentifiedImageError:
        if any(data.startswith(magic, offset) for offset, magic in _OTHER_FORMATS):
            raise RequestError(
                415, f"This image format is not supported. Please send {ACCEPTED}."
            ) from None
        raise RequestError(400, f"This is not {ACCEPTED}.") from None
    except Exception as error:
        if "out of memory" in str(error):
            raise MemoryError from error
        # Decoders raise almost anything on damaged data.
        raise RequestError(422, DAMAGED) from error


def _check_size(image: Image.Image, max_megapixels: float) -> None:
    if image.width * image.height > max_megapixels * 1e6:
        raise RequestError(
            413,
            f"This image has more than {max_megapixels:g} megapixels. Please send a smaller one.",
        )
    if max(image.size) > _MAX_ENCODED_SIDE_PX or getattr(image, "n_frames", 1) > _MAX_FRAMES:
        raise RequestError(422, TOO_COMPLEX)
