import numpy as np
import pytest

from installation.vision.boxes import iou, overlap, squares


def boxes(*sides):
    return np.array(sides, np.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ("a", "b", "union", "smaller"),
    [
        ((0, 0, 4, 4), (0, 0, 4, 4), 1, 1),
        ((0, 0, 4, 4), (4, 0, 8, 4), 0, 0),
        ((0, 0, 4, 4), (2, 0, 6, 4), 1 / 3, 1 / 2),
        ((0, 0, 4, 4), (1, 1, 3, 3), 1 / 4, 1),
        ((0, 0, 4, 4), (1, 1, 1, 1), 0, 0),
        ((0, 0, 4, 4), (-9, -9, -5, -5), 0, 0),
    ],
)
def test_shares(a, b, union, smaller):
    assert iou(boxes(a), boxes(b)).item() == pytest.approx(union)
    assert overlap(boxes(a), boxes(b)).item() == pytest.approx(smaller)


def test_none_with_many():
    assert iou(boxes(), boxes((0, 0, 1, 1), (1, 1, 2, 2))).shape == (0, 2)
    assert overlap(boxes((0, 0, 1, 1)), boxes()).shape == (1, 0)


def test_squares_share_the_centre_and_follow_the_longer_side():
    assert squares(boxes((10, 20, 30, 60)), 2).tolist() == [[-20, 0, 60, 80]]
