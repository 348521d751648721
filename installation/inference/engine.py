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
    """The inference server is overloaded; try again later."""


class Engine(Protocol):
    """A network that runs on regions of a frame.

    Attributes
    ----------
    manifest
        Describes the network; regions are resized to ``manifest.input``.
    """

    manifest: Manifest

    @property
    def device(self) -> str:
        """What the engine runs on now, as a technician would name it."""

    @property
    def fallback(self) -> bool:
        """Whether the CPU currently replaces a GPU or a server that was asked for."""

    def run(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Crop, resize and normalise N regions of a frame and infer them as one batch.

        Parameters
        ----------
        frame
            In any pixel layout. Backends that need BGR convert it.
        regions
            float32 (N, 4), xyxy in pixels of the frame. Each is stretched to the input size;
            pixels outside the frame are black.

        Returns
        -------
        dict
            The manifest's outputs by name, float32, leading dimension N.
        """

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, float]:
        """Run like `run`, discard the outputs and return the seconds each step took.

        The steps are ``upload``, ``preprocess``, ``infer`` and ``download``, as far as the backend
        has them.
        """

    def close(self) -> None:
        """Free the engine's resources. Call it on the thread that opened the engine."""
