"""Query the NVIDIA driver for its version and its first GPU.

This comes before anything else, because TensorRT crashes without a working driver.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

from engines.errors import EngineError

_DRIVER = "libcuda.so.1"
# Folders outside the loader's search path, used by containers and the Windows Subsystem for Linux.
_EXTRA_FOLDERS = ("/usr/local/nvidia/lib", "/usr/local/nvidia/lib64", "/usr/lib/wsl/lib")
_VERSION = Path("/proc/driver/nvidia/version")

# CUresult, CUDA driver API reference.
_NO_DEVICE, _STUB, _TOO_OLD, _MISMATCH, _UNSUPPORTED_DEVICE = 100, 34, 35, 803, 804
# CUdevice_attribute.
_MAJOR, _MINOR = 75, 76


class NoDeviceError(EngineError):
    """There is no usable NVIDIA GPU; the message says why."""


class DriverError(NoDeviceError):
    """The NVIDIA driver is installed but does not work; a technician should look at it."""


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """The first NVIDIA GPU of this machine.

    Attributes
    ----------
    name
        Name reported by the driver.
    compute_capability
        Ten times major plus minor: 86 stands for 8.6, ``sm_86``.
    driver
        Version of the kernel driver, if known, and of CUDA.
    cuda
        Newest CUDA version that the driver supports: major, minor.
    """

    name: str
    compute_capability: int
    driver: str
    cuda: tuple[int, int]


def load_driver() -> ctypes.CDLL:
    """Load the driver library, with its symbols visible to libraries that are loaded later.

    Raises
    ------
    NoDeviceError
        No driver is installed.
    """
    for path in (_DRIVER, *(f"{folder}/{_DRIVER}" for folder in _EXTRA_FOLDERS)):
        try:
            return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
    raise NoDeviceError(f"no NVIDIA driver is installed ({_DRIVER} not found)")


def find_device() -> CudaDevice:
    """Query the driver for its first GPU.

    Raises
    ------
    NoDeviceError
        There is no driver or no GPU.
    DriverError
        The driver does not work.
    """
    driver = load_driver()

    def call(function: str, *arguments: object) -> None:
        code = int(getattr(driver, function)(*arguments))
        if code:
            kind = NoDeviceError if code in (_NO_DEVICE, _STUB) else DriverError
            raise kind(_explain(driver, function, code))

    call("cuInit", 0)
    number, device, major, minor = (ctypes.c_int() for _ in range(4))
    call("cuDriverGetVersion", ctypes.byref(number))
    call("cuDeviceGet", ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(256)
    call("cuDeviceGetName", name, len(name), device)
    call("cuDeviceGetAttribute", ctypes.byref(major), _MAJOR, device)
    call("cuDeviceGetAttribute", ctypes.byref(minor), _MINOR, device)
    cuda = number.value // 1000, number.value % 1000 // 10
    return CudaDevice(
        name=name.value.decode(errors="replace"),
        compute_capability=10 * major.value + minor.value,
        driver=_driver_version(cuda),
        cuda=cuda,
    )


def _driver_version(cuda: tuple[int, int]) -> str:
    newest = f"CUDA {cuda[0]}.{cuda[1]}"
    try:
        version = re.search(r"\s(\d+\.\d+[\d.]*)\s", _VERSION.read_text(errors="replace"))
    except OSError:
        version = None
    return f"{version[1]}, {newest}" if version else newest


def _explain(driver: ctypes.CDLL, function: str, code: int) -> str:
    known = {
        _NO_DEVICE: "the NVIDIA driver finds no GPU",
        _STUB: "the NVIDIA driver library is only a stub for compiling",
        _TOO_OLD: "the NVIDIA driver is too old for the installed libraries; update the driver",
        _MISMATCH: "the NVIDIA driver was updated but is not loaded yet; restart the machine",
        _UNSUPPORTED_DEVICE: "the installed CUDA does not support this NVIDIA GPU",
    }
    if code in known:
        return known[code]
    text = ctypes.c_char_p()
    driver.cuGetErrorString(code, ctypes.byref(text))
    reason = text.value.decode(errors="replace") if text.value else "no reason given"
    return f"the NVIDIA driver does not work ({function}: {reason}, error {code})"
