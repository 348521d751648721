"""Telling the pictures of a working camera from those of one that only seems to work."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from installation.scene import Frame

# Looks a second; more would tell no more.
_LOOKS = 4.0
# A picture is compared by each so-manieth row; its colours are judged by fewer, and columns too.
_ROW = 8
_GRID = 16
# No sensor is so quiet that two pictures are the same, nor any scene so even: seconds until then.
_FROZEN = 5.0
_UNIFORM_AFTER_S = 3.0
# Where opening has changed nothing it is tried again this often, seconds.
_RETRY = 60.0
# Of 255: differences that an even colour may have, and what a dark room or a lens cap may look
# like. Cameras are quiet and even then.
_SPREAD = 3
_DARK = 40
_DARK_CHROMA_TOLERANCE = 10


class FrameHealth:
    """Judges the pictures of a live source, one after the other, whether it is reopened or not.

    One that stays exactly the same and one that has a single colour come from a camera that hangs
    or a transfer that is broken; opening it again may help. They may also be honest: a test
    picture, a sheet of paper before the lens. So they can be shown while they are in doubt, and
    where opening has changed nothing it is asked for once a minute only. Darkness is not doubted.

    Attributes
    ----------
    doubt
        What seems wrong with the newest picture; None: nothing.
    """

    def __init__(self) -> None:
        self.doubt: str | None = None
        self._sample = b""
        self._next = 0.0
        self._since = 0.0
        self._patience: float | None = None

    def look(self, frame: Frame) -> bool:
        """Look at the next picture; True: what is in doubt has lasted, open the source again."""
        at = frame.captured_at
        if at < self._next:
            return False
        self._next = at + 1 / _LOOKS
        doubt, patience = self._judge(frame)
        if doubt is None:
            self.doubt = self._patience = None
            return False
        if self.doubt != doubt:
            self.doubt, self._since = doubt, at
        if at - self._since < (self._patience or patience):
            return False
        self._since, self._patience = at, _RETRY
        return True

    def _judge(self, frame: Frame) -> tuple[str | None, float]:
        """Return what seems wrong, and for how many seconds it may."""
        before, self._sample = self._sample, frame.pixels[::_ROW].tobytes()
        colours = _colours(frame)
        even = all(int(np.ptp(each)) <= _SPREAD for each in colours)
        if not (even or self._sample == before) or _dark(frame, colours):
            return None, 0.0
        if even:
            return "sends pictures of a single colour", _UNIFORM_AFTER_S
        return "sends the same picture again and again", _FROZEN


def _colours(frame: Frame) -> tuple[NDArray[np.uint8], ...]:
    """Return blue, green and red, or luma and both chromas, as seen through a coarse grid."""
    pixels = frame.pixels
    if frame.layout == "BGR":
        return tuple(np.moveaxis(pixels[::_GRID, ::_GRID], -1, 0))
    if frame.layout == "YUYV":
        coarse = pixels[::_GRID]
        return coarse[:, ::_GRID, 0], coarse[:, ::_GRID, 1], coarse[:, 1::_GRID, 1]
    luma, chroma = np.split(pixels, [frame.height])
    return luma[::_GRID, ::_GRID], chroma[::_ROW, ::_GRID], chroma[::_ROW, 1::_GRID]


def _dark(frame: Frame, colours: tuple[NDArray[np.uint8], ...]) -> bool:
    bright, tints = (colours, ()) if frame.layout == "BGR" else (colours[:1], colours[1:])
    return all(int(each.max()) <= _DARK for each in bright) and all(
        int(np.abs(each.astype(np.int16) - 128).max()) <= _DARK_CHROMA_TOLERANCE for each in tints
    )
