"""Whether the screen follows the camera: drawing may fail without a word."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Points across and down at which both are looked at.
GRID = 16, 9
# The camera's picture has changed where brightness differs by more than this at this part of the
# points: that is somebody who moves, and no noise.
_CHANGE = 24
_PART = 0.1
# So many such changes in a row with nothing new on the screen are no chance.
_STUCK = 3


class FreezeDetector:
    """Compares a few points of the screen with those of the camera, every now and then.

    Of both only the last look is kept, until the next.

    Attributes
    ----------
    stuck
        Whether the screen stays the same while what the camera sees changes.
    """

    def __init__(self) -> None:
        self.stuck = False
        self._camera: NDArray[np.int16] | None = None
        self._screen = b""
        self._missed = 0

    def look(self, camera: NDArray[np.uint8], screen: NDArray[np.uint8]) -> None:
        """Look once more, and compare with the last look.

        Parameters
        ----------
        camera
            uint8 (9, 16): brightness of a frame.
        screen
            uint8: what was drawn of it, at whichever points; always the same.
        """
        before, self._camera = self._camera, camera.astype(np.int16)
        seen, self._screen = self._screen, screen.tobytes()
        if self._screen != seen:
            self._missed = 0
        elif before is not None:
            self._missed += bool((np.abs(self._camera - before) > _CHANGE).mean() >= _PART)
        self.stuck = self._missed >= _STUCK
