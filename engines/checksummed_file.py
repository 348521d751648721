"""Files that tell what they were made for, and are refused when they are not what they were.

Layout: 8 bytes magic; SHA-256 of all that follows, 32 bytes; length of the description, uint32
little-endian; the description, JSON; the content. TensorRT trusts what it is given with its life,
so nothing reaches it that does not come through here.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from engines.files import write_whole

_MAGIC = b"MIRROR\x00\x01"
_LENGTH = struct.Struct("<I")
_START = len(_MAGIC) + 32


class CorruptFileError(Exception):
    """A file is truncated, altered or foreign; the text says which."""


def write_sealed(path: Path, description: dict[str, Any], content: bytes) -> None:
    """Write a file that appears complete or not at all.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    """
    told = json.dumps(description, sort_keys=True).encode()
    body = _LENGTH.pack(len(told)) + told + content
    write_whole(path, _MAGIC + hashlib.sha256(body).digest() + body)


def read_sealed(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read a file back: its description and its content.

    Raises
    ------
    FileNotFoundError
        It is not there.
    UnsealedError
        It is not, byte for byte, what was written.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CorruptFileError(f"cannot be read ({error.strerror})") from error
    if not data.startswith(_MAGIC):
        raise CorruptFileError("not a file of ours" if data else "empty")
    body = memoryview(data)[_START:]
    if hashlib.sha256(body).digest() != data[len(_MAGIC) : _START] or len(body) < _LENGTH.size:
        raise CorruptFileError("damaged")
    (length,) = _LENGTH.unpack_from(body)
    end = _LENGTH.size + length
    try:
        description = json.loads(bytes(body[_LENGTH.size : end]))
    except (ValueError, RecursionError) as error:
        raise CorruptFileError("damaged") from error
    if not isinstance(description, dict) or end > len(body):
        raise CorruptFileError("damaged")
    return description, bytes(body[end:])
