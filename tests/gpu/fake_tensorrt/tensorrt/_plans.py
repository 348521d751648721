"""Plans: a small container around the ONNX file."""

from __future__ import annotations

import hashlib
import json

from ._driver import compute_capability
from ._versions import VERSION

_MAGIC = b"ptrt-fake\n"


def pack(onnx_bytes, profiles, name, shared):
    header = {
        "version": VERSION,
        "compute": compute_capability(),
        "sha256": hashlib.sha256(onnx_bytes).hexdigest(),
        "profiles": profiles,
        "name": name,
        "shared": shared,
    }
    return _MAGIC + json.dumps(header).encode() + b"\n" + onnx_bytes


def unpack(plan):
    """Return header and ONNX; raise ValueError with the real library's message."""
    magic, rest = plan[: len(_MAGIC)], plan[len(_MAGIC) :]
    if magic != _MAGIC:
        raise ValueError(
            "Error Code 1: Serialization (Serialization assertion plan->header.magicTag == "
            "rt::kPLAN_MAGIC_TAG failed.Trying to load an engine created with incompatible "
            "serialization version.)"
        )
    header, _, onnx_bytes = rest.partition(b"\n")
    try:
        header = json.loads(header)
    except ValueError:
        raise ValueError("Error Code 1: Serialization (the plan is truncated)") from None
    if header["version"] != VERSION:
        raise ValueError(
            "Error Code 6: API Usage Error (The engine plan file is not compatible with this "
            f"version of TensorRT, expecting library version {VERSION} got "
            f"{header['version']}, please rebuild.)"
        )
    if header["compute"] != compute_capability():
        raise ValueError(
            "Error Code 6: API Usage Error (The engine plan file is generated on an incompatible "
            f"device, expecting compute {compute_capability()} got compute {header['compute']}, "
            "please rebuild.)"
        )
    if header["sha256"] != hashlib.sha256(onnx_bytes).hexdigest():
        raise ValueError("Error Code 1: Serialization (the plan is truncated or damaged)")
    return header, onnx_bytes
