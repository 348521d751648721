"""Which NVIDIA card is here, and which driver: asked of the driver itself, before anything else.

TensorRT without a working driver crashes instead of complaining, so this comes first.
"""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

from engines.errors import EngineError

_DRIVER = "libcuda.so.1"
# Where containers and the Windows subsystem keep it, out of the loader's sight.
_ELSEWHERE = ("/usr/local/nvidia/lib", "/usr/local/nvidia/lib64", "/usr/lib/wsl/lib")
_VERSION = Path("/proc/driver/nvidia/version")

# CUresult, CUDA driver API reference.
_NO_DEVICE, _STUB, _TOO_OLD, _MISMATCH, _TOO_NEW_FOR_CARD = 100, 34, 35, 803, 804
# CUdevice_attribute.
_MAJOR, _MINOR = 75, 76


class NoDeviceError(EngineError):
    """There is no NVIDIA card that could be used; the message says why."""


class DriverError(NoDeviceError):
    """There is a driver, but it does not work: somebody should see to it."""


@dataclass(frozen=True, slots=True)
class CudaDevice:
    """The first NVIDIA card of this machine.

    Attributes
    ----------
    name
        As its driver calls it.
    compute_capability
        Major times ten plus minor: 86 is what NVIDIA writes 8.6 or ``sm_86``.
    driver
        Version of the kernel driver, where it tells, and of CUDA.
    cuda
        The newest CUDA the driver speaks: major, minor.
    """

    name: str
    compute_capability: int
    driver: str
    cuda: tuple[int, int]


def load_driver() -> ctypes.CDLL:
    """Load the driver's library, for everything that comes after it too.

    Raises
    ------
    NoCardError
        It is not installed.
    """
    for path in (_DRIVER, *(f"{folder}/{_DRIVER}" for folder in _ELSEWHERE)):
        try:
            return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
    raise NoDeviceError(f"no NVIDIA driver is installed ({_DRIVER} not found)")


def find_device() -> CudaDevice:
    """Ask the driver for its first card.

    Raises
    ------
    NoCardError
        No driver or no card.
    DriverError
        A driver that does not work.
    """
    driver = load_driver()

    def ask(function: str, *arguments: object) -> None:
        code = int(getattr(driver, function)(*arguments))
        if code:
            kind = NoDeviceError if code in (_NO_DEVICE, _STUB) else DriverError
            raise kind(_explain(driver, function, code))

    ask("cuInit", 0)
    number, device, major, minor = (ctypes.c_int() for _ in range(4))
    ask("cuDriverGetVersion", ctypes.byref(number))
    ask("cuDeviceGet", ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(256)
    ask("cuDeviceGetName", name, len(name), device)
    ask("cuDeviceGetAttribute", ctypes.byref(major), _MAJOR, device)
    ask("cuDeviceGetAttribute", ctypes.byref(minor), _MINOR, device)
    cuda = number.value // 1000, number.value % 1000 // 10
    return CudaDevice(
        name=name.value.decode(errors="replace"),
        compute_capability=10 * major.value + minor.value,
        driver=_driver_version(cuda),
        cuda=cuda,
    )


def _driver_version(cuda: tuple[int, int]) -> str:
    spoken = f"CUDA {cuda[0]}.{cuda[1]}"
    try:
        told = re.search(r"\s(\d+\.\d+[\d.]*)\s", _VERSION.read_text(errors="replace"))
    except OSError:
        told = None
    return f"{told[1]}, {spoken}" if told else spoken


def _explain(driver: ctypes.CDLL, function: str, code: int) -> str:
    known = {
        _NO_DEVICE: "the NVIDIA driver finds no card",
        _STUB: "the NVIDIA driver is only a stand-in for compiling (a stub library)",
        _TOO_OLD: "the NVIDIA driver is too old for what is installed; update the driver",
        _MISMATCH: "the NVIDIA driver was updated but is not loaded yet; restart the machine",
        _TOO_NEW_FOR_CARD: "the installed CUDA does not support this NVIDIA card",
    }
    if code in known:
        return known[code]
    text = ctypes.c_char_p()
    driver.cuGetErrorString(code, ctypes.byref(text))
    words = text.value.decode(errors="replace") if text.value else "no reason given"
    return f"the NVIDIA driver does not work ({function}: {words}, error {code})"
