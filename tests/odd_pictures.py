"""Picture files of every kind that is rare, wrong or hostile, made here.

Each is named for what it is. Those that begin with ``good`` are pictures, those with ``bad`` are
none, and ``any`` may be read or refused; nothing may crash, hang or end at any of them.
"""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib

import numpy as np
from PIL import Image, TiffImagePlugin, features
from PIL.PngImagePlugin import PngInfo

WIDTH, HEIGHT = 40, 30


def picture(width=WIDTH, height=HEIGHT):
    """Return a picture in which every pixel differs from its neighbours."""
    random = np.random.default_rng(width * height)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, data):
    """Return a chunk of a PNG, its checksum right."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *chunks, depth=8, colour=2):
    """Return a PNG that claims a size, whatever its chunks hold."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join((chunk(b"IHDR", head), *chunks, chunk(b"IEND", b"")))


def rows(width, height):
    """Return the pixels of such a PNG: all black."""
    return chunk(b"IDAT", zlib.compress(bytes((1 + 3 * width) * height), 9))


def tiff(*entries, pixels=b"", onward=0):
    """Return a TIFF of one directory: entries are tag, type, count and value."""
    ordered = sorted(entries)
    table = b"".join(struct.pack("<HHII", *entry) for entry in ordered)
    begin = 8 + 2 + len(table) + 4
    assert begin <= 512
    directory = struct.pack("<H", len(ordered)) + table + struct.pack("<I", onward)
    return (b"II*\x00" + struct.pack("<I", 8) + directory).ljust(512, b"\0") + pixels


def grey_tiff(width, height, bits, kind, pixels, **more):
    """Return an uncompressed grey TIFF; ``kind``: 1 unsigned, 2 signed, 3 floating point."""
    entries = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, bits), (259, 3, 1, 1)),
        *((262, 3, 1, 1), (273, 4, 1, 512), (277, 3, 1, 1), (278, 4, 1, height)),
        *((279, 4, 1, len(pixels)), (339, 3, 1, kind)),
    ]
    return tiff(*entries, pixels=pixels, **more)


def _formats():
    image = picture()
    found = {
        "jpg": encoded(image, "JPEG", quality=90),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "png": encoded(image, "PNG"),
        "bmp": encoded(image, "BMP"),
        "gif": encoded(image, "GIF"),
        "interlaced.gif": encoded(image, "GIF", interlace=1),
        "webp": encoded(image, "WEBP"),
        "lossless.webp": encoded(image, "WEBP", lossless=True),
        "tif": encoded(image, "TIFF"),
    }
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        found[f"{compression}.tif"] = encoded(image, "TIFF", compression=compression)
    found["group4.tif"] = encoded(image.convert("1"), "TIFF", compression="group4")
    others = [picture() for _ in range(3)]
    animation = {"save_all": True, "append_images": others}
    found |= {
        "animated.gif": encoded(image, "GIF", **animation),
        "animated.webp": encoded(image, "WEBP", **animation),
        "animated.png": encoded(image, "PNG", **animation),
        "pages.tif": encoded(image, "TIFF", **animation),
        "several.jpg": encoded(image, "MPO", **animation),
    }
    return found


def _readable(data):
    """Return whether Pillow reads what it has written: 12.3 does not, if that is YCbCr."""
    try:
        Image.open(io.BytesIO(data)).load()
    except OSError:
        return False
    return True


def _modes():
    image = picture()
    for mode in (
        "1",
        "L",
        "LA",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBX",
        "CMYK",
        "YCbCr",
        "LAB",
        "I",
        "F",
    ):
        kind = "PNG" if mode == "PA" else "TIFF"
        source = image.convert("RGBA").quantize(16).convert("PA") if mode == "PA" else None
        if mode == "LAB":
            from PIL import ImageCms

            srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
            source = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
        try:
            data = encoded(source or image.convert(mode), kind)
        except (OSError, ValueError):
            continue  # This Pillow cannot write it.
        quality = "good" if _readable(data) else "any"
        yield f"{quality} mode {mode}.{'png' if kind == 'PNG' else 'tif'}", data
    for name, kind in (("CMYK", "JPEG"), ("L", "JPEG"), ("1", "PNG"), ("LA", "PNG"), ("P", "GIF")):
        yield f"good mode {name}.{kind.lower()[:3]}", encoded(image.convert(name), kind)
    deep = np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 50
    yield "good 16 bits.png", encoded(Image.fromarray(deep), "PNG")
    yield "good 16 bits.tif", encoded(Image.fromarray(deep), "TIFF")
    big_endian = np.asarray(deep, ">u2").tobytes()
    yield "any 16 bits, other order.tif", grey_tiff(WIDTH, HEIGHT, 16, 1, big_endian)
    count = WIDTH * HEIGHT
    numbers = np.arange(count)
    for name, bits, kind, pixels in (
        ("32 bits unsigned", 32, 1, np.linspace(0, 2**32 - 1, count).astype("<u4")),
        ("32 bits signed", 32, 2, np.linspace(-(2**31), 2**31 - 1, count).astype("<i4")),
        ("16 bits signed", 16, 2, numbers.astype("<i2")),
        ("8 bits signed", 8, 2, numbers.astype("i1")),
        ("16 bits floating", 16, 3, np.linspace(0, 1, count).astype("<f2")),
        ("64 bits floating", 64, 3, np.linspace(0, 1, count).astype("<f8")),
        ("64 bits unsigned", 64, 1, numbers.astype("<u8")),
        ("5 bits", 5, 1, numbers.astype("u1")),
    ):
        yield f"any {name}.tif", grey_tiff(WIDTH, HEIGHT, bits, kind, pixels.tobytes())
    ramp = np.linspace(-5, 900, count).astype("<f4")
    yield "good floating.tif", grey_tiff(WIDTH, HEIGHT, 32, 3, ramp.tobytes())
    yield "good floating, all black.tif", grey_tiff(WIDTH, HEIGHT, 32, 3, bytes(4 * count))
    yield "good floating, below black.tif", grey_tiff(WIDTH, HEIGHT, 32, 3, (-ramp - 9).tobytes())
    largest = np.full(count, np.finfo("<f4").max, "<f4")
    yield "good floating, largest.tif", grey_tiff(WIDTH, HEIGHT, 32, 3, largest.tobytes())
    for name, value in (("nan", np.nan), ("infinite", np.inf), ("minus infinite", -np.inf)):
        ramp[7] = value
        yield f"bad {name}.tif", grey_tiff(WIDTH, HEIGHT, 32, 3, ramp.tobytes())
        ramp[7] = 0
    yield (
        "bad all nan.tif",
        grey_tiff(WIDTH, HEIGHT, 32, 3, np.full(count, np.nan, "<f4").tobytes()),
    )


def _sizes():
    for width, height in ((1, 1), (1, 2), (3, 1), (1, 60_000), (60_000, 1), (70_000, 3)):
        yield f"good {width} x {height}.png", png(width, height, rows(width, height))
    yield "good wide in a png.webp", png(70_000, 16, rows(70_000, 16))
    yield "good wide in a png.jpg", png(70_000, 2, rows(70_000, 2))
    yield "good high in a png.gif", png(2, 70_000, rows(2, 70_000))
    yield "good wide in a png.bmp", png(70_000, 2, rows(70_000, 2))
    yield "good wide in a png.tiff", png(70_000, 2, rows(70_000, 2))
    yield "good widest.webp", encoded(Image.new("RGB", (16_383, 2)), "WEBP")
    yield "good widest.jpg", encoded(Image.new("RGB", (65_500, 2)), "JPEG")
    for width, height in ((0, 0), (0, 9), (9, 0), (60_000, 60_000), (2**31 - 1, 2**31 - 1)):
        yield f"bad {width} x {height}.png", png(width, height, rows(1, 1))
    yield "bad 4 billion.png", png(2**32 - 1, 2**32 - 1, rows(1, 1))
    yield "bad claims more rows than it has.png", png(3000, 3000, rows(1, 1))
    for width, height in ((0, 0), (65_535, 65_535)):
        screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
        frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"
        yield f"bad {width} x {height}.gif", b"GIF89a" + screen + frame
    beyond = b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0) + bytes(6)
    beyond += b"," + struct.pack("<HHHHB", 60_000, 60_000, 60_000, 60_000, 0)
    yield "any frame beyond its screen.gif", beyond + b"\x02\x02\x4c\x01\x00;"
    jpeg = bytearray(encoded(picture(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    for height, width in ((0, WIDTH), (HEIGHT, 0), (65_535, 65_535), (1500, 1500)):
        jpeg[at : at + 4] = struct.pack(">HH", height, width)
        yield f"any claims {width} x {height}.jpg", bytes(jpeg)
    for width, height in ((0, 0), (9, 0), (2**31 - 1, 9), (9, -(2**31)), (-9, 9), (60_000, 60_000)):
        head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        yield f"bad {width} x {height}.bmp", b"BM" + struct.pack("<IHHI", 99, 0, 0, 54) + head
    extended = b"VP8X" + struct.pack("<IB3x", 10, 0) + b"\xff\xff\xff\xff\xff\xff"
    yield "bad 16 million.webp", b"RIFF" + struct.pack("<I", len(extended) + 4) + b"WEBP" + extended
    for width, height in ((0, 0), (2**32 - 1, 2**32 - 1), (60_000, 60_000), (12_000, 12_000)):
        yield f"bad {width} x {height}.tif", grey_tiff(width, height, 8, 1, b"\0" * 9)


def _metadata():
    image = picture()
    for orientation in range(9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"good orientation {orientation}.jpg", encoded(image, "JPEG", exif=exif)
        yield f"good orientation {orientation}.png", encoded(image, "PNG", exif=exif)
        yield f"good orientation {orientation}.webp", encoded(image, "WEBP", exif=exif)
    exif[0x0112], exif[0x010F], exif[0x8769] = 6, "camera", {0x9003: "yesterday"}
    whole = exif.tobytes()
    random = np.random.default_rng(0)
    for number in range(12):
        damaged = bytearray(whole)
        for place in random.integers(6, len(damaged), 4):
            damaged[place] = random.integers(0, 256)
        yield f"good damaged exif {number}.jpg", encoded(image, "JPEG", exif=bytes(damaged))
        yield f"any damaged exif {number}.webp", encoded(image, "WEBP", exif=bytes(damaged))
    # A directory that leads to itself, and an orientation that is a text, a list, enormous.
    loop = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + b"\x08\0\0\0"
    yield "good looping exif.jpg", encoded(image, "JPEG", exif=loop)
    for kind, count in ((2, 4), (3, 2), (3, 2**31), (12, 1), (99, 1), (5, 1)):
        entry = struct.pack("<HHII", 0x0112, kind, count, 6)
        odd = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
        yield f"good orientation of type {kind} x {count}.jpg", encoded(image, "JPEG", exif=odd)
    for name, profile in (("garbage", b"garbage" * 50), ("empty", b""), ("short", b"x")):
        for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
            data = encoded(image, kind, icc_profile=profile)
            yield f"good {name} profile in {kind}.{kind.lower()[:4].replace('jpeg', 'jpg')}", data
    huge = zlib.compress(bytes(80_000_000), 9)
    pixels = chunk(b"IDAT", zlib.compress(bytes((1 + 3 * 9) * 9)))
    for kind, data in ((b"zTXt", b"a\0\0" + huge), (b"iCCP", b"a\0\0" + huge)):
        yield f"any bomb in {kind.decode()}.png", png(9, 9, chunk(kind, data), pixels)
    yield "any bomb in iTXt.png", png(9, 9, chunk(b"iTXt", b"a\0\1\0\0\0" + huge), pixels)
    texts = PngInfo()
    for number in range(70):
        texts.add_text(f"key {number}", "x" * 1_000_000, zip=True)
    yield "any much text.png", encoded(image, "PNG", pnginfo=texts)
    yield "any bomb of pixels.png", png(9, 9, chunk(b"IDAT", huge))
    yield "any xmp garbage.jpg", encoded(image, "JPEG", xmp=b"<x:xmpmeta>" + b"<a>" * 5000)
    yield "any exif of 60 KB.jpg", encoded(image, "JPEG", exif=b"Exif\0\0" + b"II*\0" * 15_000)
    ifd = TiffImagePlugin.ImageFileDirectory_v2()
    for tag in range(40_000, 40_300):
        ifd[tag] = "x" * 100
    yield "good many tags.tif", encoded(image, "TIFF", tiffinfo=ifd)


def _damaged(formats):
    random = np.random.default_rng(1)
    for name, data in formats.items():
        for share in (0.02, 0.5, 0.9):
            yield f"any cut at {share:.0%}.{name}", data[: max(int(len(data) * share), 9)]
        yield f"any cut by one.{name}", data[:-1]
        yield f"any longer.{name}", data + b"\0" * 99 + b"\xff" * 99
        for number in range(4):
            altered = bytearray(data)
            for place in random.integers(0, len(data), 1 + 4 * number):
                altered[place] = random.integers(0, 256)
            yield f"any altered {number}.{name}", bytes(altered)
        for number in range(2):
            zeroed = bytearray(data)
            begin = int(random.integers(4, len(data)))
            zeroed[begin : begin + 40] = bytes(len(zeroed[begin : begin + 40]))
            yield f"any zeroed {number}.{name}", bytes(zeroed)


def _structures():
    size = (256, 4, 1, WIDTH), (257, 4, 1, HEIGHT), (258, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)
    strips = (273, 4, 1, 512), (278, 4, 1, HEIGHT), (279, 4, 1, WIDTH * HEIGHT)
    pixels = bytes(WIDTH * HEIGHT)
    yield "any looping pages.tif", tiff(*size, (259, 3, 1, 1), *strips, pixels=pixels, onward=8)
    for compression in (0, 2, 4, 5, 6, 7, 8, 9, 32_773, 32_946, 34_712, 34_925, 50_000, 65_535):
        garbage = tiff(*size, (259, 3, 1, compression), *strips, pixels=b"\x55" * WIDTH * HEIGHT)
        yield f"any compression {compression}.tif", garbage
    tiles = (324, 4, 1, 512), (325, 4, 1, 99)
    for across, down in ((0, 0), (16, 16), (2**31 - 1, 2**31 - 1), (2**16, 2**16), (7, 7)):
        where = (322, 4, 1, across), (323, 4, 1, down)
        for compression in (1, 5):
            entries = (*size, (259, 3, 1, compression), *tiles, *where)
            yield (
                f"any tiles of {across} x {down}, {compression}.tif",
                tiff(*entries, pixels=pixels),
            )
    yield (
        "any strips at the end of the earth.tif",
        tiff(*size, (259, 3, 1, 1), (273, 4, 1, 2**32 - 1), (278, 4, 1, 1), (279, 4, 1, 2**32 - 1)),
    )
    yield (
        "any strips without end.tif",
        tiff(
            *size, (259, 3, 1, 1), (273, 4, 2**32 - 1, 64), (278, 4, 1, 1), (279, 4, 2**32 - 1, 64)
        ),
    )
    yield "any no strips.tif", tiff(*size, (259, 3, 1, 1))
    yield "any no directory.tif", b"II*\0\xff\xff\xff\xff"
    yield "any large.tif", b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63) + bytes(99)
    good = chunk(b"IDAT", zlib.compress(bytes((1 + 3 * 9) * 9)))
    yield "any no pixels.png", png(9, 9)
    yield "any no palette.png", png(9, 9, chunk(b"IDAT", zlib.compress(bytes(90))), colour=3)
    yield (
        "any short palette.png",
        png(9, 9, chunk(b"PLTE", b"abc"), chunk(b"IDAT", zlib.compress(b"\0\xff" * 45)), colour=3),
    )
    yield "any transparency of nothing.png", png(9, 9, chunk(b"tRNS", b"\1"), good)
    yield "any filter of no kind.png", png(9, 9, chunk(b"IDAT", zlib.compress(b"\x77" * 252)))
    yield "any pixels that are no stream.png", png(9, 9, chunk(b"IDAT", b"hello" * 50))
    for depth, colour in ((16, 2), (16, 6), (16, 4), (3, 0), (8, 1), (8, 7), (255, 255)):
        data = chunk(b"IDAT", zlib.compress(bytes(9 * (1 + 8 * 9))))
        yield f"any depth {depth} colour {colour}.png", png(9, 9, data, depth=depth, colour=colour)
    yield (
        "any frames without end.png",
        png(9, 9, chunk(b"acTL", struct.pack(">II", 2**31, 0)), good, chunk(b"fdAT", b"\0" * 9)),
    )
    yield "any chunk of 2 GB.png", png(9, 9)[:33] + struct.pack(">I", 2**31 - 1) + b"IDATabc"
    yield "any chunk with a bad name.png", png(9, 9, chunk(b"\0\1\2\3", b"x"), good)
    yield "any trailing rows.png", png(9, 9, chunk(b"IDAT", zlib.compress(bytes(9999))))
    yield "any many scans.jpg", encoded(picture(), "JPEG", progressive=True)[:-2] * 3
    yield (
        "any run length.bmp",
        b"BM"
        + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 9, 9, 1, 8, 1, 0, 0, 0, 2**31 - 1, 0)
        + b"\xff\x01" * 40,
    )
    for bits in (0, 1, 3, 16, 32, 64):
        head = struct.pack("<IiiHHIIiiII", 40, 9, 9, 1, bits, 3, 0, 0, 0, 0, 0)
        yield f"any {bits} bits.bmp", b"BM" + struct.pack("<IHHI", 99, 0, 0, 54) + head + bytes(400)
    for bits in range(0, 256, 37):
        frame = b"GIF89a\x09\0\x09\0\0\0\0,\0\0\0\0\x09\0\x09\0\0" + bytes([bits]) + b"\x05hello\0;"
        yield f"any codes of {bits} bits.gif", frame
    yield (
        "any no colours.gif",
        b"GIF87a\x09\0\x09\0\0\0\0,\0\0\0\0\x09\0\x09\0\0\x02\x02\x4c\x01\0;",
    )
    yield "any comment without end.gif", b"GIF89a\x09\0\x09\0\0\0\0!\xfe" + b"\xffx" * 9000


def _foreign():
    yield "bad empty.jpg", b""
    yield "bad one byte.png", b"\x89"
    yield "bad text.jpg", b"hello"
    yield "bad page.png", b"<!doctype html><title>x</title>" * 99
    yield "bad drawing.jpg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    yield "bad document.jpg", b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n" * 9
    # Pillow would have Ghostscript draw it, and keep what it read in a file.
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    yield "bad postscript.jpg", script
    yield "bad high efficiency.jpg", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(400)
    yield "bad archive.png", b"PK\x03\x04" + bytes(400)
    yield "bad program.png", b"\x7fELF" + bytes(400)
    yield "bad zeros.tif", bytes(5000)
    yield "bad noise.webp", np.random.default_rng(2).bytes(5000)
    begins = {
        "gif": b"GIF8",
        "bmp": b"BM",
        "tiff": b"II*\0",
        "other tiff": b"MM\0*",
        "jpeg": b"\xff\xd8\xff",
        "webp": b"RIFF\0\0\0\0WEBP",
        "psd": b"8BPS",
    }
    for name, begin in begins.items():
        yield f"bad {name} and nothing.gif", begin
        yield f"bad {name} and zeros.png", begin + bytes(3000)
        yield f"any {name} and ones.bmp", begin + b"\xff" * 3000
        yield f"any {name} and noise.jpg", begin + np.random.default_rng(3).bytes(3000)
    image = picture()
    for kind, name in (("ICO", "icon"), ("PPM", "pixmap"), ("TGA", "targa"), ("PCX", "pcx")):
        yield f"any {name}.png", encoded(image, kind)
    for kind, name in (("JPEG2000", "jpg_2000"), ("AVIF", "avif")):
        if features.check(name):
            data = encoded(image, kind)
            for share in (1, 0.9, 0.5, 0.1):
                yield f"any {name} of {share:.0%}.jpg", data[: int(len(data) * share)]


def _extensions(formats):
    for name, data in formats.items():
        if "." not in name:
            yield f"good {name} in disguise.{'png' if name == 'jpg' else 'jpg'}", data
            yield f"good {name} in capitals.{name.upper()}", data
            yield f"good {name} with no ending", data
            yield f"good {name} with another.xyz", data


NAMES = (
    *("good new\nline.png", "good \x1b[31mred.png", "good  two  spaces.png", "good tab\t.png"),
    *("good \u202eright to left.png", "good \U0001f4a9.png", "good 'quotes' \"both\".png"),
    *("good %s {0} %(a)s.png", "good \\n.png", "good a:b@c.png", "good dots...png", "good\x7f.png"),
    *(b"good \xff\xfe.png", b"good \xc3.png"),
    *(b"good " + b"x" * 246 + b".png", "good " + "\u00e4" * 123 + ".png"),
)


def make(folder):
    """Write all of them into a folder; return their paths, sorted."""
    formats = _formats()
    made = {f"good.{name}": data for name, data in formats.items()}
    for several in (
        *(_modes(), _sizes(), _metadata(), _damaged(formats), _structures(), _foreign()),
        _extensions(formats),
    ):
        for name, data in several:
            assert name not in made, name
            made[name] = data
    data = encoded(picture(), "PNG")
    root = os.fsencode(folder)
    for name, content in (*made.items(), *((name, data) for name in NAMES)):
        with open(os.path.join(root, os.fsencode(name)), "xb") as file:  # noqa: PTH118, PTH123
            file.write(content)
    return sorted(folder.iterdir())


def make_specials(folder):
    """Make what is no file, or cannot be read as one; return the paths: none is a picture."""
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(folder / "socket.jpg"))
    (folder / "to a pipe.jpg").symlink_to("pipe.jpg")
    (folder / "to nowhere.jpg").symlink_to("nowhere")
    (folder / "to itself.jpg").symlink_to("to itself.jpg")
    (folder / "to a device.jpg").symlink_to("/dev/zero")
    return [
        *sorted(folder.iterdir()),
        folder / "missing.jpg",
        folder / "missing" / "a.jpg",
        folder / ("x" * 300 + ".jpg"),
        folder.joinpath(*["x" * 200] * 30),
        folder / "pipe.jpg" / "a.jpg",
        *(folder / name for name in ("/", "/dev/null", "/dev/zero", "/dev/full", "/dev/tty")),
        *(folder / name for name in ("/proc/self/mem", "/proc/self/maps", "/proc/kmsg", "/proc")),
        *(
            folder / name
            for name in ("/proc/self/fd/0", "/proc/self/environ", "/sys/kernel/uevent")
        ),
    ]
