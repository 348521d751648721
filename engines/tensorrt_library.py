"""Which TensorRT is here: the full one, or TensorRT-RTX, which speaks the same API."""

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
    """No TensorRT that could be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Library:
    """One installed TensorRT.

    Attributes
    ----------
    name
        ``tensorrt`` or ``tensorrt_rtx``.
    version
        As it says itself.
    module
        The imported module. Real TensorRT needs a working driver from its first object on.
    """

    name: str
    version: str
    module: Any

    def __str__(self) -> str:
        return f"{'TensorRT-RTX' if self.name == RTX else 'TensorRT'} {self.version}"

    @property
    def builds_ahead(self) -> bool:
        """Whether it builds for cards that are not here."""
        return self.name == RTX

    def compute_capabilities(self) -> tuple[int, ...]:
        """Return those it can build for ahead of time; empty where it only builds for its own."""
        if not self.builds_ahead:
            return ()
        names = self.module.ComputeCapability.__members__
        return tuple(sorted(int(name[2:]) for name in names if re.fullmatch(r"SM\d+", name)))


def find_library(card: CudaDevice | None) -> Library:
    """Find the TensorRT to use.

    Parameters
    ----------
    card
        What it shall run on; None to build ahead for other cards.

    Raises
    ------
    NoLibraryError
        None is installed, or none for this card and driver.
    """
    found, refused = [], []
    for name in (FULL, RTX):
        try:
            module = importlib.import_module(name)
        except Exception as error:
            # Its loading of shared libraries fails in many ways. One that is absent is no news.
            if not isinstance(error, ImportError) or error.name != name:
                refused.append(f"{name} cannot be imported ({error})")
            continue
        library = Library(name, str(module.__version__), module)
        if reason := _refusal(library, card):
            refused.append(f"{library} {reason}")
        else:
            found.append(library)
    if not found:
        raise NoLibraryError("; ".join(refused) or "TensorRT is not installed")
    return found[0]


def _refusal(library: Library, card: CudaDevice | None) -> str:
    """Say why a library is of no use; empty if it is."""
    version = tuple(int(part) for part in re.findall(r"\d+", library.version)[:2])
    if library.name == FULL and version < _OLDEST:
        return f"is too old; {'.'.join(map(str, _OLDEST))} or newer is needed"
    if card is None:
        return "" if library.builds_ahead else "builds only for the card of its own machine"
    needed = _cuda_needed(library.name)
    if needed > card.cuda[0]:
        return f"needs a driver for CUDA {needed}; this one is older ({card.driver})"
    supported = library.compute_capabilities()
    if supported and card.compute_capability not in supported:
        return f"does not support {card.name} (sm_{card.compute_capability})"
    return ""


def _cuda_needed(name: str) -> int:
    """Return the CUDA major version a library's packages were made for; 0 if they do not tell."""
    for major in (13, 12, 11):
        try:
            importlib.metadata.distribution(f"{name}_cu{major}_bindings")
        except importlib.metadata.PackageNotFoundError:
            continue
        return major
    return 0
