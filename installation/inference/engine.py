"""The engine contract: what every backend promises, and opening one."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Manifest, load_manifest


class Engine(Protocol):
    """A network that looks at regions of a frame.

    Attributes
    ----------
    manifest
        What it is; ``manifest.input`` tells the size regions are brought to.
    """

    manifest: Manifest

    def run(
        self, frame: NDArray[np.uint8], regions: NDArray[np.float32]
    ) -> dict[str, NDArray[np.float32]]:
        """Crop, resize and normalise N regions of a frame and infer them as one batch.

        Parameters
        ----------
        frame
            uint8 (height, width, 3), BGR.
        regions
            float32 (N, 4), xyxy in pixels of the frame. Each is stretched to the input size; what
            lies outside the frame is black.

        Returns
        -------
        dict
            The manifest's outputs by name, float32, leading dimension N.
        """


def open_engine(folder: Path) -> Engine:
    """Open the engine in a folder.

    Raises
    ------
    ManifestError
        There is none, or it is not what its manifest says.
    InferenceError
        The runtime refused it.
    """
    # OpenVINO takes a second to import; what needs no engine need not wait for it.
    from installation.inference.cpu import CpuEngine

    return CpuEngine(folder, load_manifest(folder))
