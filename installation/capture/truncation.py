"""Files that are shorter than they say.

Decoders notice a missing end only where it lies in the middle of a packet. These containers state
their own size, which tells in every case.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

# Boxes of an MP4 or QuickTime file whose end matters; others may be padding (ISO/IEC 14496-12).
_MP4_BOXES = frozenset({b"ftyp", b"mdat", b"moov", b"moof"})
# Element IDs of Matroska and WebM (RFC 8794, RFC 9559).
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def is_truncated(path: Path) -> bool:
    """Tell whether a video file ends before its container does.

    Parameters
    ----------
    path
        Known so far: MP4, QuickTime, Matroska and WebM; any other file counts as complete.
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
    """Return where the last known box ends, bytes."""
    at = end = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        # 0 stands for "to the end of the file"; less than its own head is no box.
        if length < 8 or len(head) < 8:
            break
        at += length
        if kind in _MP4_BOXES:
            end = at
    return end


def _matroska_end(file: BinaryIO) -> int:
    """Return where the segment ends, bytes; 0 where that is unknown."""
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
    """Read a variable-size integer; None where it stands for an unknown size."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    # As many bytes follow as there are zeros before the highest set bit.
    more = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(more), "big")
    ones = (1 << (7 * (more + 1))) - 1
    value &= ones
    return None if value == ones else value
