"""Which version this is, and what differs between versions."""

from __future__ import annotations

import os

VERSION = os.environ.get("FAKE_TENSORRT_VERSION", "10.3.0")
_MAJOR = int(VERSION.partition(".")[0])

# The interface is that of version 10, but for this: first and last major version that has it.
_DIFFERENCES = {
    "DataType.INT64": (10, 99),
    "NetworkDefinitionCreationFlag.EXPLICIT_BATCH": (8, 10),
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": (10, 99),
    "NetworkDefinitionCreationFlag.PREFER_AOT_PYTHON_PLUGINS": (11, 99),
    "BuilderFlag.FP16": (8, 10),
    "BuilderFlag.INT8": (8, 10),
    "BuilderFlag.PREFER_PRECISION_CONSTRAINTS": (8, 10),
    "PreviewFeature": (8, 8),
    "IProgressMonitor": (10, 99),
    "Builder.platform_has_fast_fp16": (8, 10),
    "ICudaEngine.device_memory_size": (8, 10),
    "ICudaEngine.device_memory_size_v2": (10, 99),
    # Behaviour.
    "a network must have EXPLICIT_BATCH": (8, 8),
    "a network's precisions must be set as flags": (8, 8),
    "contexts may share a profile": (10, 99),
}


def has(feature: str) -> bool:
    """Return whether this version has a feature of the table."""
    first, last = _DIFFERENCES[feature]
    return first <= _MAJOR <= last
