"""Crop regions of an image on the CPU and resize them to an engine's input."""

from __future__ import annotations

from math import floor, isfinite
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.manifest import EngineInput

# Upper bound for the averaging cell; no camera has so many pixels on a side.
_MAX_CELL_PX = 1 << 14


def crop_resize(
    image: NDArray[np.uint8], region: NDArray[np.float32], width: int, height: int
) -> NDArray[np.uint8]:
    """Crop one region of an image and resize it bilinearly.

    A side that shrinks more than twofold is first halved by averaging, as often as needed, so that
    every pixel contributes. The averaged cells are counted from the image's corner, whatever the
    region. The kernel of the same name in ``kernels.cu`` computes the same.

    Parameters
    ----------
    image
        uint8 (rows, columns, 3).
    region
        float32 (4,), xyxy in pixels of the image. Pixels outside the image are black.
    width, height
        Size of the result, pixels.

    Returns
    -------
    ndarray
        uint8 (height, width, 3).
    """
    rows, columns = image.shape[:2]
    x0, y0, x1, y1 = (float(side) for side in region)
    if not (x1 > x0 and y1 > y0 and isfinite(x0 + y0 + x1 + y1)):
        return np.zeros((height, width, 3), np.uint8)
    across = _span(x0, x1, width, columns)
    down = _span(y0, y1, height, rows)
    if across.start >= across.stop or down.start >= down.stop:
        return np.zeros((height, width, 3), np.uint8)
    patch = image[down.start : down.stop, across.start : across.stop]
    if across.cell > 1 or down.cell > 1:
        # Pad to whole cells, so that the same pixels are averaged whatever the region.
        pad_x, pad_y = -patch.shape[1] % across.cell, -patch.shape[0] % down.cell
        if pad_x or pad_y:
            patch = np.asarray(
                cv2.copyMakeBorder(patch, 0, pad_y, 0, pad_x, cv2.BORDER_REPLICATE), np.uint8
            )
        cells = patch.shape[1] // across.cell, patch.shape[0] // down.cell
        patch = np.asarray(cv2.resize(patch, cells, interpolation=cv2.INTER_AREA), np.uint8)
    inverse = np.array([[across.step, 0, across.offset], [0, down.step, down.offset]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(patch, inverse, (width, height), flags=flags), np.uint8)


def crop_batch(
    image: NDArray[np.uint8], regions: NDArray[np.float32], spec: EngineInput
) -> NDArray[np.uint8]:
    """Crop and resize regions to an engine's input size and colour order.

    Parameters
    ----------
    image
        uint8 (rows, columns, 3), BGR.
    regions
        float32 (N, 4), xyxy in pixels of the image; see `crop_resize`.
    spec
        The engine's input.

    Returns
    -------
    ndarray
        uint8 (N, height, width, 3).
    """
    batch = np.empty((len(regions), spec.height, spec.width, 3), np.uint8)
    for patch, region in zip(batch, regions, strict=True):
        patch[:] = crop_resize(image, region, spec.width, spec.height)
        if spec.colour == "rgb":
            cv2.cvtColor(patch, cv2.COLOR_BGR2RGB, patch)
    return batch


class _Span(NamedTuple):
    """One axis of a region: the pixels it needs, their cell size, and where to sample the cells."""

    start: int
    stop: int
    cell: int
    step: float
    offset: float


def _span(low: float, high: float, target: int, length: int) -> _Span:
    cell = 1
    while high - low > 2 * target * cell and cell < _MAX_CELL_PX:
        cell *= 2
    first = max(floor(low / cell - 0.5), 0)
    last = min(floor(high / cell - 0.5) + 1, (length - 1) // cell)
    step = (high - low) / target / cell
    # Pixel i covers i..i+1 and has its centre at i + 0.5.
    offset = low / cell + step / 2 - 0.5 - first
    return _Span(first * cell, min((last + 1) * cell, length), cell, step, offset)
