"""Files with a description and a checksum, which are rejected if they were altered.

Layout: magic, 8 bytes; SHA-256 of everything that follows, 32 bytes; length of the description,
uint32 little-endian; description, JSON; content. TensorRT crashes on a damaged plan, so every plan
is read through this module.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from engines.files import write_atomic

_MAGIC = b"MIRROR\x00\x01"
_LENGTH = struct.Struct("<I")
_START = len(_MAGIC) + 32


class CorruptFileError(Exception):
    """A file is truncated, altered or of another kind; the message says which."""


def write_checksummed(path: Path, description: dict[str, Any], content: bytes) -> None:
    """Write a file atomically.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    """
    header = json.dumps(description, sort_keys=True).encode()
    body = _LENGTH.pack(len(header)) + header + content
    write_atomic(path, _MAGIC + hashlib.sha256(body).digest() + body)


def read_checksummed(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read a file's description and content.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CorruptFileError
        The file is not, byte for byte, what was written.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CorruptFileError(f"cannot be read ({error.strerror})") from error
    if not data.startswith(_MAGIC):
        raise CorruptFileError("not a file of this program" if data else "empty")
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
