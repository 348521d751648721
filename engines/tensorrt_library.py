"""Find the installed TensorRT: the full library, or TensorRT-RTX, which has the same API."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from dataclasses import dataclass
from typing import Any

from engines.cuda_device import CudaDevice
from engines.errors import EngineError

FULL, RTX = "tensorrt", "tensorrt_rtx"
_OLDEST = (8, 6)


class NoLibraryError(EngineError):
    """There is no usable TensorRT; the message says why."""


@dataclass(frozen=True, slots=True)
class Library:
    """One installed TensorRT.

    Attributes
    ----------
    name
        ``tensorrt`` or ``tensorrt_rtx``.
    version
        Version that the module reports.
    module
        The imported module. Creating any object from it requires a working driver.
    """

    name: str
    version: str
    module: Any

    def __str__(self) -> str:
        return f"{'TensorRT-RTX' if self.name == RTX else 'TensorRT'} {self.version}"

    @property
    def builds_ahead(self) -> bool:
        """Whether it can build plans for GPUs of other machines."""
        return self.name == RTX

    def compute_capabilities(self) -> tuple[int, ...]:
        """Return the compute capabilities it can build for; empty if only for the local GPU."""
        if not self.builds_ahead:
            return ()
        names = self.module.ComputeCapability.__members__
        return tuple(sorted(int(name[2:]) for name in names if re.fullmatch(r"SM\d+", name)))


def find_library(device: CudaDevice | None) -> Library:
    """Find the TensorRT to use.

    Parameters
    ----------
    device
        The GPU it has to support; None to build plans for other machines.

    Raises
    ------
    NoLibraryError
        None is installed, or none supports this GPU and driver.
    """
    found, reasons = [], []
    for name in (FULL, RTX):
        try:
            module = importlib.import_module(name)
        except Exception as error:
            # Loading its shared libraries fails in many ways. Absence is not worth mentioning.
            if not isinstance(error, ImportError) or error.name != name:
                reasons.append(f"{name} cannot be imported ({error})")
            continue
        library = Library(name, str(module.__version__), module)
        if reason := _unusable_reason(library, device):
            reasons.append(f"{library} {reason}")
        else:
            found.append(library)
    if not found:
        raise NoLibraryError("; ".join(reasons) or "TensorRT is not installed")
    return found[0]


def _unusable_reason(library: Library, device: CudaDevice | None) -> str:
    """Return why a library cannot be used; empty if it can."""
    version = tuple(int(part) for part in re.findall(r"\d+", library.version)[:2])
    if library.name == FULL and version < _OLDEST:
        return f"is too old; {'.'.join(map(str, _OLDEST))} or newer is needed"
    if device is None:
        return "" if library.builds_ahead else "builds plans for the local GPU only"
    needed = _cuda_needed(library.name)
    if needed > device.cuda[0]:
        return f"needs a driver for CUDA {needed}; the installed one is older ({device.driver})"
    supported = library.compute_capabilities()
    if supported and device.compute_capability not in supported:
        return f"does not support {device.name} (sm_{device.compute_capability})"
    return ""


def _cuda_needed(name: str) -> int:
    """Return the major CUDA version that a library's packages require; 0 if unknown."""
    for major in (13, 12, 11):
        try:
            importlib.metadata.distribution(f"{name}_cu{major}_bindings")
        except importlib.metadata.PackageNotFoundError:
            continue
        return major
    return 0
