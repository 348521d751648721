"""Cut regions out of a frame on the CPU."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def cut(
    frame: NDArray[np.uint8], region: NDArray[np.float32], width: int, height: int
) -> NDArray[np.uint8]:
    """Bring one region of a frame to a size.

    Bilinear. A side that shrinks more than twofold is first halved by averaging, as often as it
    takes, so that no pixel of the frame goes unseen.

    Parameters
    ----------
    frame
        uint8 (rows, columns, 3).
    region
        x0, y0, x1, y1 in pixels of the frame; may reach outside it, where all is black.
    width, height
        Of the result, in pixels.

    Returns
    -------
    ndarray
        uint8 (height, width, 3).
    """
    rows, columns = frame.shape[:2]
    x0, y0, x1, y1 = (float(side) for side in region)
    left, top = max(int(x0) - 1, 0), max(int(y0) - 1, 0)
    right, bottom = min(int(x1) + 2, columns), min(int(y1) + 2, rows)
    if left >= right or top >= bottom or x1 <= x0 or y1 <= y0:
        return np.zeros((height, width, 3), np.uint8)
    patch = frame[top:bottom, left:right]
    # Patch pixels per frame pixel, after each halving.
    scale_x = scale_y = 1.0
    while True:
        columns, rows = patch.shape[1], patch.shape[0]
        half = (
            max(columns // 2, 1) if (x1 - x0) * scale_x > 2 * width else columns,
            max(rows // 2, 1) if (y1 - y0) * scale_y > 2 * height else rows,
        )
        if half == (columns, rows):
            break
        scale_x *= half[0] / columns
        scale_y *= half[1] / rows
        patch = np.asarray(cv2.resize(patch, half, interpolation=cv2.INTER_AREA), np.uint8)
    step_x, step_y = (x1 - x0) * scale_x / width, (y1 - y0) * scale_y / height
    start_x, start_y = (x0 - left) * scale_x, (y0 - top) * scale_y
    # Pixel i covers i..i+1, its centre is at i + 0.5: hence the halves.
    inverse = np.array(
        [
            [step_x, 0, start_x + step_x / 2 - 0.5],
            [0, step_y, start_y + step_y / 2 - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(patch, inverse, (width, height), flags=flags), np.uint8)
