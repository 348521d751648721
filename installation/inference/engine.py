"""The engine contract: what every backend promises."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Manifest, ManifestError
from installation.errors import InstallationError
from installation.scene import Frame

__all__ = ["Engine", "InferenceError", "Manifest", "ManifestError", "OverloadedError"]


class InferenceError(InstallationError):
    """A backend cannot open an engine, or failed while running it."""


class OverloadedError(InferenceError):
    """The server has too much to do just now; come again."""


class Engine(Protocol):
    """A network that looks at regions of a frame.

    Attributes
    ----------
    manifest
        What it is; ``manifest.input`` tells the size regions are brought to.
    """

    manifest: Manifest

    @property
    def device(self) -> str:
        """What it runs on by now, as a technician would say."""

    @property
    def fallback(self) -> bool:
        """Whether that is the CPU for now, though something better was asked for."""

    def run(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Crop, resize and normalise N regions of a frame and infer them as one batch.

        Parameters
        ----------
        frame
            In any pixel layout. Backends that need BGR convert it.
        regions
            float32 (N, 4), xyxy in pixels of the frame. Each is stretched to the input size; what
            lies outside the frame is black.

        Returns
        -------
        dict
            The manifest's outputs by name, float32, leading dimension N.
        """

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, float]:
        """Do what `run` does, answers aside, and return the seconds each step took.

        Steps are ``upload``, ``preprocess``, ``infer`` and ``download``, where there are any.
        """

    def close(self) -> None:
        """Free what the engine holds; to be called on the thread that opened it."""
