"""Cut regions out of a frame on the CPU, as an engine wants them."""

from __future__ import annotations

from math import floor, isfinite
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.manifest import EngineInput

# A side of a cell, in pixels: no camera has as many, and something has to end the halving.
_LARGEST_CELL = 1 << 14


def crop_resize(
    frame: NDArray[np.uint8], region: NDArray[np.float32], width: int, height: int
) -> NDArray[np.uint8]:
    """Bring one region of a frame to a size.

    Bilinear. A side that shrinks more than twofold is first halved by averaging, as often as it
    takes, so that no pixel of the frame goes unseen: in cells counted from the frame's corner. The
    kernel of the same name in ``kernels.cu`` does the same.

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
    if not (x1 > x0 and y1 > y0 and isfinite(x0 + y0 + x1 + y1)):
        return np.zeros((height, width, 3), np.uint8)
    across = _span(x0, x1, width, columns)
    down = _span(y0, y1, height, rows)
    if across.start >= across.stop or down.start >= down.stop:
        return np.zeros((height, width, 3), np.uint8)
    patch = frame[down.start : down.stop, across.start : across.stop]
    if across.cell > 1 or down.cell > 1:
        # Whole cells, so that averaging pairs up the same pixels whatever the region.
        ragged_x, ragged_y = -patch.shape[1] % across.cell, -patch.shape[0] % down.cell
        if ragged_x or ragged_y:
            patch = np.asarray(
                cv2.copyMakeBorder(patch, 0, ragged_y, 0, ragged_x, cv2.BORDER_REPLICATE), np.uint8
            )
        cells = patch.shape[1] // across.cell, patch.shape[0] // down.cell
        patch = np.asarray(cv2.resize(patch, cells, interpolation=cv2.INTER_AREA), np.uint8)
    inverse = np.array([[across.step, 0, across.offset], [0, down.step, down.offset]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(patch, inverse, (width, height), flags=flags), np.uint8)


def crop_batch(
    frame: NDArray[np.uint8], regions: NDArray[np.float32], spec: EngineInput
) -> NDArray[np.uint8]:
    """Cut regions out of a frame at an engine's size, in its order of colours.

    Parameters
    ----------
    frame
        uint8 (rows, columns, 3), BGR.
    regions
        float32 (N, 4), xyxy in pixels of the frame; see `crop_resize`.
    spec
        Of the engine.

    Returns
    -------
    ndarray
        uint8 (N, height, width, 3).
    """
    batch = np.empty((len(regions), spec.height, spec.width, 3), np.uint8)
    for patch, region in zip(batch, regions, strict=True):
        patch[:] = crop_resize(frame, region, spec.width, spec.height)
        if spec.colour == "rgb":
            cv2.cvtColor(patch, cv2.COLOR_BGR2RGB, patch)
    return batch


class _Span(NamedTuple):
    """What one axis of a region takes: the frame's pixels, averaged in cells, then sampled."""

    start: int
    stop: int
    cell: int
    step: float
    offset: float


def _span(low: float, high: float, target: int, length: int) -> _Span:
    cell = 1
    while high - low > 2 * target * cell and cell < _LARGEST_CELL:
        cell *= 2
    first = max(floor(low / cell - 0.5), 0)
    last = min(floor(high / cell - 0.5) + 1, (length - 1) // cell)
    step = (high - low) / target / cell
    # Pixel i covers i..i+1, its centre is at i + 0.5: hence the halves.
    offset = low / cell + step / 2 - 0.5 - first
    return _Span(first * cell, min((last + 1) * cell, length), cell, step, offset)
