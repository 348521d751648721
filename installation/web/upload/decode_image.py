"""A visitor's bytes to pixels: nothing is decoded before its header has been believed."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from installation.capture.stills import decode
from installation.web.upload.errors import RequestError

# What Pillow may open them as. HEIC is not among them: telephones that take it send JPEG to a page
# that asks for JPEG.
_FORMATS = ("JPEG", "PNG", "WEBP")
# Longer sides are shrunk to this many pixels: more shows nobody better, and takes longer.
LONGEST = 1600
# A progressive JPEG has about ten scans. Each costs a pass over all pixels, however few bytes it
# has: a small file of very many would take hours.
_SCAN = b"\xff\xda"
_MOST_SCANS = 100
# How other kinds of pictures begin, at which byte.
_OTHER_PICTURES = (
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
KINDS = "a JPEG, PNG or WebP picture"


def read_photo(data: bytes, megapixels: float) -> NDArray[np.uint8]:
    """Read a picture as people see it; whatever else the file says is left behind.

    Parameters
    ----------
    data
        JPEG, PNG or WebP.
    megapixels
        It may have.

    Returns
    -------
    ndarray
        uint8 (height, width, 3), BGR, upright, the longer side 1600 pixels at the most.

    Raises
    ------
    Trouble
        400 for what is no picture, 413 for too many pixels, 415 for other kinds of pictures, 422
        for a damaged one.
    """
    if not data:
        raise RequestError(400, "No picture was sent.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if image.width * image.height > megapixels * 1e6:
                    raise RequestError(
                        413, f"The picture has more than {megapixels:g} megapixels: send a smaller."
                    )
                if image.format in ("JPEG", "MPO") and data.count(_SCAN) > _MOST_SCANS:
                    raise RequestError(422, "The picture is damaged: send another.")
                # Of 16-bit pictures Pillow cannot average whole cells first.
                gap = None if image.mode.startswith("I;16") else 2.0
                image.thumbnail((LONGEST, LONGEST), reducing_gap=gap)
                return decode(image)
    except RequestError:
        raise
    except UnidentifiedImageError:
        if any(data.startswith(magic, start) for start, magic in _OTHER_PICTURES):
            raise RequestError(
                415, f"This kind of picture is not known here: send {KINDS}."
            ) from None
        raise RequestError(400, f"This is not {KINDS}.") from None
    except Exception as error:
        # Decoders raise almost anything on damaged data.
        raise RequestError(422, "The picture is damaged: send another.") from error
