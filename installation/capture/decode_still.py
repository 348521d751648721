"""From an image file that Pillow has opened to pixels as people see them."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

_SRGB = ImageCms.createProfile("sRGB")


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
    # Decode first: exif_transpose ignores decoding errors.
    image.load()
    return _to_bgr(_to_srgb(_upright(image)))


def _upright(image: Image.Image) -> Image.Image:
    """Rotate an image according to its EXIF data; damaged EXIF data is ignored."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert an image's colours to sRGB; a damaged or unsuitable ICC profile is ignored."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "RGBA", "CMYK"):
        return image
    # CMYK has no transparency; RGBA keeps its own.
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return image
    return converted or image


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
