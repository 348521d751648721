"""Enumerations, small types and the logger."""

from __future__ import annotations

import enum
import sys

import numpy as np

from ._versions import has


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    if has("DataType.INT64"):
        INT64 = 8

    @property
    def itemsize(self):
        return np.dtype(nptype(self)).itemsize


_NUMPY = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "INT64": np.int64,
}
# As onnx.TensorProto numbers them.
ONNX_TYPES = {1: DataType.FLOAT, 10: DataType.HALF, 3: DataType.INT8, 9: DataType.BOOL}
OPENVINO_TYPES = {
    "f32": "FLOAT",
    "f16": "HALF",
    "i8": "INT8",
    "i32": "INT32",
    "boolean": "BOOL",
    "u8": "UINT8",
    "i64": "INT64",
}


def nptype(dtype):
    return _NUMPY[dtype.name]


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(enum.IntEnum):
    DEVICE = 0
    HOST = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0
    DLA_MANAGED_SRAM = 1
    DLA_LOCAL_DRAM = 2
    DLA_GLOBAL_DRAM = 3
    TACTIC_DRAM = 4


def _flags(name, always=None, **by_version):
    """Make an enumeration; some members depend on the version."""
    members = {each: value for each, value in by_version.items() if has(f"{name}.{each}")}
    return enum.IntEnum(name, {**(always or {}), **members})


NetworkDefinitionCreationFlag = _flags(
    "NetworkDefinitionCreationFlag",
    EXPLICIT_BATCH=0,
    STRONGLY_TYPED=1,
    PREFER_AOT_PYTHON_PLUGINS=2,
)
BuilderFlag = _flags(
    "BuilderFlag",
    {"DEBUG": 2, "GPU_FALLBACK": 3, "REFIT": 4, "DISABLE_TIMING_CACHE": 5, "TF32": 7},
    FP16=0,
    INT8=1,
    PREFER_PRECISION_CONSTRAINTS=12,
)
PreviewFeature = _flags("PreviewFeature", {"PROFILE_SHARING_0806": 2})


class Dims(tuple):
    __slots__ = ()


class IHostMemory(bytes):
    @property
    def nbytes(self):
        return len(self)


class _Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


def not_overridden(method):
    """Return what the real bindings raise if a subclass lacks a method."""
    return RuntimeError(f'Tried to call pure virtual function "{method}"')


class ILogger:
    Severity = _Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = _Severity

    def __init__(self):
        self._initialised = True

    def log(self, severity, msg):
        raise not_overridden("ILogger::log")


class Logger(ILogger):
    def __init__(self, min_severity=_Severity.WARNING):
        super().__init__()
        self.min_severity = min_severity

    def log(self, severity, msg):
        if severity <= self.min_severity:
            print(f"[TRT] [{severity.name}] {msg}", file=sys.stderr)


def checked(logger):
    if not isinstance(logger, ILogger):
        raise TypeError(f"incompatible constructor arguments: {logger!r} is not an ILogger")
    if not getattr(logger, "_initialised", False):
        raise TypeError("tensorrt.ILogger.__init__() must be called when overriding __init__")
    return logger


def init_libnvinfer_plugins(logger, namespace):
    return True


def fits(shape, template):
    return len(shape) == len(template) and all(
        b in (-1, a) for a, b in zip(shape, template, strict=True)
    )
