"""Detect a frozen screen: drawing can fail without an error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Sampling points across and down.
GRID = 16, 9
# A frame has changed if brightness differs by more than this at this share of the points: that is
# somebody moving, not noise.
_MIN_DIFFERENCE = 24
_MIN_CHANGED_SHARE = 0.1
# So many changes in a row without a change on the screen are not a coincidence.
_MAX_MISSED = 3


class FreezeDetector:
    """Compares changes on the screen with changes in the camera's frames.

    Only the latest samples of both are kept.

    Attributes
    ----------
    frozen
        Whether the screen stays the same while the frames change.
    """

    def __init__(self) -> None:
        self.frozen = False
        self._camera: NDArray[np.int16] | None = None
        self._screen = b""
        self._missed = 0

    def update(self, camera: NDArray[np.uint8], screen: NDArray[np.uint8]) -> None:
        """Compare new samples with the previous ones.

        Parameters
        ----------
        camera
            uint8 (9, 16): brightness of a frame.
        screen
            uint8: pixels drawn for it, always at the same points.
        """
        before, self._camera = self._camera, camera.astype(np.int16)
        previous, self._screen = self._screen, screen.tobytes()
        if self._screen != previous:
            self._missed = 0
        elif before is not None:
            self._missed += bool(
                (np.abs(self._camera - before) > _MIN_DIFFERENCE).mean() >= _MIN_CHANGED_SHARE
            )
        self.frozen = self._missed >= _MAX_MISSED
