"""Images that are made to take a decoder's time or memory, and sound ones that resemble them.

Each is small on its way and large, long or deep for whoever decodes it.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

from tests.odd_pictures import chunk, encoded, picture, png

_SIDE = 6324  # Its square is just below 40 megapixels.


def _segment(marker, data):
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def _scans(width, height, count):
    """Return a progressive JPEG of one colour with this many scans, the last one repeated."""
    jpeg = encoded(Image.new("RGB", (width, height), "grey"), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:-2] + jpeg[last:-2] * (count - jpeg.count(b"\xff\xda")) + jpeg[-2:]


def _arithmetic(width, height, count):
    """Return what claims to be coded arithmetically: no decoder may get that far."""
    jpeg = _scans(width, height, count).replace(b"\xff\xc2", b"\xff\xca", 1)
    return jpeg[:2] + _segment(0xCC, b"\0\0") + jpeg[2:]


def _riff(*chunks):
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _zeros(length):
    """Return zeros, deflated, without ever having them all in memory."""
    packer = zlib.compressobj(9)
    block, parts = bytes(1_000_000), []
    for start in range(0, length, len(block)):
        parts.append(packer.compress(block[: length - start]))
    return b"".join((*parts, packer.flush()))


def refused():
    """Yield name and data of images whose structure alone is reason to refuse them."""
    sound = encoded(picture(), "JPEG")
    yield "arithmetic coding", _arithmetic(8000, 5000, 60)
    yield "60 scans of 40 megapixels", _scans(8000, 5000, 60)
    yield "1000 scans of few pixels", _scans(64, 64, 1000)
    yield "590,000 segments of Exif", sound[:2] + _segment(0xE1, b"Exif\0\0") * 590_000 + sound[2:]
    yield "2,000 comments", sound[:2] + _segment(0xFE, b"x") * 2000 + sound[2:]
    scan = sound.index(b"\xff\xda")
    for name, padding in (("padding", b"\xff"), ("restarts", b"\xff\xd0"), ("starts", b"\xff\xd8")):
        yield f"4 MB of {name}", sound[:scan] + padding * (4_000_000 // len(padding)) + sound[scan:]
    yield "9 MB of metadata", sound[:2] + _segment(0xED, bytes(60_000)) * 150 + sound[2:]
    pixels = chunk(b"IDAT", zlib.compress(bytes((1 + 3 * 9) * 9)))
    yield "900,000 chunks", png(9, 9, *[chunk(b"IDAT", b"")] * 900_000, pixels)
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1_000_000)))
    yield "900 profiles", png(9, 9, *[profile] * 900, pixels)
    yield "9 MB of text", png(9, 9, *[chunk(b"tEXt", b"k\0" + b"x" * 99_000)] * 91, pixels)
    frame = encoded(picture(), "WEBP")[12:]
    yield "200,000 chunks of a WebP", _riff(*[(b"ABCD", b"")] * 200_000) + frame
    yield "one pixel wide", png(1, 39_000_000, chunk(b"IDAT", _zeros(39_000_000 * 4)))
    yield "one pixel high", png(39_000_000, 1, chunk(b"IDAT", _zeros(39_000_000 * 3 + 1)))
    frames = [picture(8, 8 + number % 2).resize((8, 8)) for number in range(400)]
    for kind in ("PNG", "WEBP"):
        moving = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        yield f"400 frames of a {kind}", moving
    for kind in ("PNG", "WEBP", "JPEG"):
        # Without the pixels: they are not looked at.
        large = encoded(Image.new("1" if kind == "PNG" else "L", (6400, 6400)), kind)
        yield f"41 megapixels of a {kind}", large


def heavy():
    """Yield name and data of images that are decoded, but take most of what is allowed."""
    yield "14 scans of 40 megapixels", _scans(8000, 5000, 14)
    for name, depth, colour, pixel_bytes in (
        ("grey", 8, 0, 1),
        ("colours", 8, 2, 3),
        ("transparent", 8, 6, 4),
        ("16 bits grey", 16, 0, 2),
        ("16 bits transparent", 16, 6, 8),
    ):
        data = chunk(b"IDAT", _zeros(_SIDE * (1 + _SIDE * pixel_bytes)))
        yield f"bomb of a PNG, {name}", png(_SIDE, _SIDE, data, depth=depth, colour=colour)
    for mode in ("RGB", "RGBA"):
        image = Image.new(mode, (_SIDE, _SIDE))
        yield f"bomb of a WebP, {mode}", encoded(image, "WEBP", lossless=True, quality=0, method=0)
    yield "bomb of a JPEG", encoded(Image.new("CMYK", (_SIDE, _SIDE)), "JPEG")


def sound(image):
    """Yield name and data of files around an image that have to be answered.

    Parameters
    ----------
    image
        A Pillow image.
    """
    jpeg = encoded(image, "JPEG")
    video = np.random.default_rng(0).bytes(3_000_000) + b"\xff\xda" * 200
    yield "motion photo", jpeg + b"\0\0\0\x18ftypmp42" + video
    yield "followed by a page", jpeg + b"<html><script>alert(1)</script>"
    yield "followed by an archive", encoded(image, "PNG") + b"PK\x03\x04" + bytes(999)
    yield "followed by noise", encoded(image, "WEBP") + video
    yield "several images", encoded(image, "MPO", save_all=True, append_images=[image, image])
    yield (
        "a profile in parts",
        (jpeg[:2] + b"".join(_segment(0xE2, b"ICC_PROFILE\0" + bytes(60_000)) for _ in range(20)))
        + jpeg[2:],
    )
    yield "progressive", encoded(image, "JPEG", progressive=True)
    # A resolution that is a text: libraries cannot write such metadata again.
    entries = struct.pack("<HHIIHHI4s", 0x0112, 3, 1, 6, 0x011A, 2, 3, b"72")
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + bytes(4)
    yield "turned, with odd metadata", encoded(image.rotate(90, expand=True), "JPEG", exif=exif)


def swapped_profile(image, kind="PNG", costly=False):
    """Return an image with red and blue exchanged, and an ICC profile that says so.

    Parameters
    ----------
    image
        A Pillow image, RGB or P.
    kind
        The file's format.
    costly
        Whether the profile has a tag that can be made to take minutes.
    """
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    # The tags of the primaries, whose names are four letters; ICC.1:2022, 9.2.
    first, last = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[first : first + 4], profile[last : last + 4] = b"bXYZ", b"rXYZ"
    if costly:
        tag = profile.index(b"cprt")
        profile[tag : tag + 4] = b"D2B0"
    red, green, blue = image.convert("RGB").split()
    swapped = Image.merge("RGB", (blue, green, red))
    if image.mode == "P":
        swapped = swapped.quantize(256)
    return encoded(swapped, kind, icc_profile=bytes(profile))
