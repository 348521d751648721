"""Geometry of boxes; all boxes are xyxy in pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the intersection over union of every pair of boxes from two sets.

    Parameters
    ----------
    a, b
        float32 (N, 4) and (M, 4).

    Returns
    -------
    ndarray
        float32 (N, M), 0 to 1.

    Examples
    --------
    >>> iou(np.float32([[0, 0, 2, 2]]), np.float32([[1, 0, 3, 2], [5, 5, 6, 6]])).round(2).tolist()
    [[0.33000001311302185, 0.0]]
    """
    intersections = _intersections(a, b)
    union = _areas(a)[:, None] + _areas(b)[None, :] - intersections
    return np.asarray(intersections / np.maximum(union, 1e-9), np.float32)


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the share of the smaller box that lies in the other one; shapes as for `iou`."""
    smaller = np.minimum(_areas(a)[:, None], _areas(b)[None, :])
    return np.asarray(_intersections(a, b) / np.maximum(smaller, 1e-9), np.float32)


def _intersections(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(2), np.float32)


def _areas(xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((xyxy[:, 2:] - xyxy[:, :2]).prod(1), np.float32)


def squares(xyxy: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Return squares with the same centres as boxes.

    Parameters
    ----------
    xyxy
        float32 (N, 4).
    factor
        Side of a square in multiples of the box's longer side.

    Returns
    -------
    ndarray
        float32 (N, 4).
    """
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    half = (xyxy[:, 2:] - xyxy[:, :2]).max(1, keepdims=True) * (factor / 2)
    return np.asarray(np.concatenate([centre - half, centre + half], axis=1), np.float32)


def shift_inside(squares: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Move squares into a frame, shrinking those that are too large for it.

    Parameters
    ----------
    squares
        float32 (N, 4), xyxy.
    width, height
        Size of the frame, pixels.

    Returns
    -------
    ndarray
        float32 (N, 4).
    """
    size = np.array([width, height], np.float32)
    half = np.minimum(squares[:, 2:] - squares[:, :2], size.min()) / 2
    centre = np.clip((squares[:, :2] + squares[:, 2:]) / 2, half, size - half)
    return np.asarray(np.concatenate([centre - half, centre + half], axis=1), np.float32)
