"""From an image file that Pillow has opened to pixels as people see them."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

# What turns an image of each EXIF orientation upright. Not `ImageOps.exif_transpose`: it fails if
# any other tag is odd.
_METHODS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB = ImageCms.createProfile("sRGB")
# Of an ICC profile (ICC.1:2022, 7.2 and 7.3): bytes of its header and of an entry of its tag table.
_HEADER_BYTES, _TAG_BYTES = 128, 12
_MAX_TAGS = 100
# Tags with multi-process elements: a few hundred bytes can keep a processor busy for minutes.
_COSTLY_TAGS = frozenset(f"{kind}{number}".encode() for kind in ("D2B", "B2D") for number in "0123")


def decode(image: Image.Image) -> NDArray[np.uint8]:
    """Decode an open image as people see it.

    It is rotated according to EXIF; colours are converted from the embedded ICC profile to sRGB;
    transparency is blended over white; 16-bit, greyscale and CMYK images are converted.

    Parameters
    ----------
    image
        As opened by Pillow; its pixels need not be loaded yet.

    Returns
    -------
    ndarray
        uint8 (height, width, 3), BGR.

    Raises
    ------
    Exception
        Almost anything if the data is damaged.
    """
    # Before the EXIF data is read: in a PNG it may follow the pixels.
    image.load()
    return _to_bgr(_to_srgb(_upright(image)))


def _upright(image: Image.Image) -> Image.Image:
    """Rotate an image according to its EXIF data; damaged EXIF data is ignored."""
    try:
        method = _METHODS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:
        return image
    return image if method is None else image.transpose(method)


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert an image's colours to sRGB; a damaged or unsuitable ICC profile is ignored."""
    profile = image.info.get("icc_profile")
    if not profile or not _is_simple(profile):
        return image
    if image.mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    if image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return image
    return converted or image


def _is_simple(profile: bytes) -> bool:
    """Return whether an ICC profile has few tags, and none that takes long to evaluate."""
    (count,) = struct.unpack_from(">I", profile.ljust(_HEADER_BYTES + 4, b"\0"), _HEADER_BYTES)
    tags = range(_HEADER_BYTES + 4, _HEADER_BYTES + 4 + _TAG_BYTES * count, _TAG_BYTES)
    return count <= _MAX_TAGS and not any(profile[at : at + 4] in _COSTLY_TAGS for at in tags)


def _to_bgr(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):
        grey = _to_grey(np.asarray(image).astype(np.float32), image.mode)
        return np.dstack([grey] * 3)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.ascontiguousarray(np.asarray(image.convert("RGB"), np.uint8)[..., ::-1])


def _to_grey(values: NDArray[np.float32], mode: str) -> NDArray[np.uint8]:
    """Scale values to 0..255, in place; 0 is black."""
    if not np.isfinite(values).all():
        raise ValueError("it contains NaN or infinite values; save it with 8 or 16 bits")
    # The white level is unknown: the full 16 bits, or the maximum if higher, or 1.0 for floats.
    white = max(float(values.max()), 1.0 if mode == "F" else 65535.0)
    np.clip(values, 0, white, out=values)
    values *= 255 / white
    return values.astype(np.uint8)
