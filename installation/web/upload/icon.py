"""The page's icon for home screens, where browsers take no SVG: a box and a word."""

from __future__ import annotations

import cv2
import numpy as np

# The drawing is 32 units wide, as in assets/icon.svg.
_PX_PER_UNIT = 6


def draw_icon(colour: str) -> bytes:
    """Return the icon as a PNG file of 192 x 192 pixels.

    Parameters
    ----------
    colour
        Of box and word, ``#rrggbb``.
    """
    bgr = tuple(bytes.fromhex(colour[1:]))[::-1]
    icon = np.zeros((32, 32, 3), np.uint8)
    icon[3:23, 5:27] = bgr
    icon[6:20, 8:24] = 0
    icon[26:29, 6:26] = bgr
    large = icon.repeat(_PX_PER_UNIT, 0).repeat(_PX_PER_UNIT, 1)
    return cv2.imencode(".png", large)[1].tobytes()
