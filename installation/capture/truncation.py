"""Detects truncated video files.

Decoders notice a missing end only if it cuts through a packet. The containers below state their own
size, so that truncation can always be detected.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

# Top-level boxes of MP4 and QuickTime files that must be complete; others may be padding (ISO/IEC
# 14496-12).
_MP4_BOXES = frozenset({b"ftyp", b"mdat", b"moov", b"moof"})
# Element IDs of Matroska and WebM (RFC 8794, RFC 9559).
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def is_truncated(path: Path) -> bool:
    """Return whether a video file is shorter than its container states.

    Parameters
    ----------
    path
        MP4, QuickTime, Matroska or WebM; any other file counts as complete.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(8)
            file.seek(0)
            if head.startswith(_EBML):
                return _matroska_end(file) > size
            if head[4:] == b"ftyp":
                return _mp4_end(file, size) > size
    except OSError:
        pass
    return False


def _mp4_end(file: BinaryIO, size: int) -> int:
    """Return the offset of the end of the last known box, bytes."""
    at = end = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        # 0 means "to the end of the file"; other lengths below 8 are invalid.
        if length < 8 or len(head) < 8:
            break
        at += length
        if kind in _MP4_BOXES:
            end = at
    return end


def _matroska_end(file: BinaryIO) -> int:
    """Return the offset of the segment's end, bytes; 0 if unknown."""
    while True:
        identifier = file.read(4)
        if identifier not in (_EBML, _SEGMENT):
            return 0
        length = _ebml_size(file)
        if length is None:
            return 0
        if identifier == _SEGMENT:
            return file.tell() + length
        file.seek(length, os.SEEK_CUR)


def _ebml_size(file: BinaryIO) -> int | None:
    """Read a variable-size integer; None if it means "unknown size"."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    # The number of leading zero bits is the number of bytes that follow.
    more = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(more), "big")
    ones = (1 << (7 * (more + 1))) - 1
    value &= ones
    return None if value == ones else value
