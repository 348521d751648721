"""Checks of an image file's structure that cost little, before a decoder sees it.

Decoders spend time and memory on what a file claims: on each scan of a progressive JPEG, on each
segment of metadata, on each row. A small file can claim a lot.
"""

from __future__ import annotations

import re
import struct

from installation.web.upload.errors import DAMAGED, TOO_COMPLEX, RequestError

# Segments of a JPEG or chunks of a PNG or WebP besides those that hold pixels, and their bytes:
# depth maps and profiles of telephones take a hundred segments and a few megabytes.
_MAX_SEGMENTS = 1000
_MAX_METADATA_BYTES = 8_000_000
# Pixels hold in this many bytes a chunk at least, on average: encoders write kilobytes.
_MIN_CHUNK_BYTES = 512
# Bytes between the segments of a JPEG, which libraries skip one by one.
_MAX_PADDING_BYTES = 65_536
# Passes over a JPEG's pixels: scans times megapixels. Progressive JPEGs have about ten scans.
_MAX_SCAN_MEGAPIXELS = 600
_MAX_SCANS = 100

_JPEG_START = b"\xff\xd8"
_PNG_START = b"\x89PNG\r\n\x1a\n"
# The next marker in a scan: not a stuffed zero, a restart or padding.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END_OF_IMAGE, _START_OF_SCAN, _ARITHMETIC_CONDITIONING = 0xD9, 0xDA, 0xCC
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, _ARITHMETIC_CONDITIONING}
_FIRST_ARITHMETIC_FRAME = 0xC9
# TEM, the restarts and the start of an image have no length.
_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))


def trim_image(data: bytes) -> bytes:
    """Check the structure of an image file and cut off what follows the image.

    A motion photo is a JPEG with a video behind it; nothing looks at that.

    Parameters
    ----------
    data
        The file. Only JPEG, PNG and WebP are checked; others are returned as they are.

    Returns
    -------
    bytes
        The file up to the end of its image.

    Raises
    ------
    RequestError
        422 if decoding it would take too long or too much memory.
    """
    if data.startswith(_JPEG_START):
        return data[: _JpegWalk(data).end]
    if data.startswith(_PNG_START):
        return data[: _end_of_png(data)]
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return data[: _end_of_webp(data)]
    return data


class _Metadata:
    """Counts segments and their bytes."""

    def __init__(self) -> None:
        self._segments = self._size_bytes = 0

    def add(self, size_bytes: int) -> None:
        self._segments += 1
        self._size_bytes += size_bytes
        if self._segments > _MAX_SEGMENTS or self._size_bytes > _MAX_METADATA_BYTES:
            raise RequestError(422, TOO_COMPLEX)


class _JpegWalk:
    """Goes from marker to marker: ITU-T T.81, annex B.

    Attributes
    ----------
    end
        Where the image ends.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._metadata = _Metadata()
        self._megapixels = 0.0
        self._scans = 0
        self.end = self._walk()

    def _walk(self) -> int:
        data, position, in_scan, padding_bytes = self._data, len(_JPEG_START), False, 0
        while marker := _MARKER.search(data, position):
            if not in_scan:
                padding_bytes += marker.start() - position
            if padding_bytes > _MAX_PADDING_BYTES:
                raise RequestError(422, TOO_COMPLEX)
            kind, position = data[marker.end() - 1], marker.end()
            if kind == _END_OF_IMAGE:
                return position
            in_scan = kind == _START_OF_SCAN
            if kind in _BARE_MARKERS:
                self._metadata.add(0)
                continue
            if len(data) < position + 2:
                break
            (length,) = struct.unpack_from(">H", data, position)
            self._check(kind, position)
            if not in_scan:
                self._metadata.add(length)
            position += length
        # Truncated, which the decoder will notice.
        return len(data)

    def _check(self, kind: int, position: int) -> None:
        if kind == _ARITHMETIC_CONDITIONING:
            raise RequestError(422, TOO_COMPLEX)
        if kind in _START_OF_FRAME:
            if kind >= _FIRST_ARITHMETIC_FRAME:
                raise RequestError(422, TOO_COMPLEX)
            if len(self._data) < position + 7:
                raise RequestError(422, DAMAGED)
            height, width = struct.unpack_from(">HH", self._data, position + 3)
            self._megapixels = max(self._megapixels, height * width / 1e6)
        if kind == _START_OF_SCAN:
            self._scans += 1
            # A single scan is what every image has, however large.
            passes = (self._scans - 1) * self._megapixels
            if self._scans > _MAX_SCANS or passes > _MAX_SCAN_MEGAPIXELS:
                raise RequestError(422, TOO_COMPLEX)


def _end_of_png(data: bytes) -> int:
    metadata, chunks, profiles, position = _Metadata(), 0, 0, len(_PNG_START)
    length: int
    while len(data) >= position + 8:
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        if kind == b"IEND":
            return position
        if kind == b"iCCP" and (profiles := profiles + 1) > 1:
            raise RequestError(422, TOO_COMPLEX)
        _count_chunk(metadata, kind in (b"IDAT", b"fdAT"), chunks := chunks + 1, data, length)
    return len(data)


def _end_of_webp(data: bytes) -> int:
    size_bytes: int = struct.unpack_from("<I", data, 4)[0]
    end = min(8 + size_bytes, len(data))
    metadata, chunks, position = _Metadata(), 0, 12
    while end >= position + 8:
        kind, length = struct.unpack_from("<4sI", data, position)
        position += 8 + length + length % 2
        pixels = kind in (b"VP8 ", b"VP8L", b"ALPH", b"ANMF")
        _count_chunk(metadata, pixels, chunks := chunks + 1, data, length)
    return end


def _count_chunk(metadata: _Metadata, pixels: bool, chunks: int, data: bytes, length: int) -> None:
    if not pixels:
        metadata.add(length)
    if chunks > _MAX_SEGMENTS + len(data) // _MIN_CHUNK_BYTES:
        raise RequestError(422, TOO_COMPLEX)
