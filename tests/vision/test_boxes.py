import numpy as np
import pytest

from installation.vision.boxes import iou, overlap, shift_inside, squares


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


@pytest.mark.parametrize(
    ("square", "inside"),
    [
        ((10, 10, 40, 40), (10, 10, 40, 40)),
        ((-20, 5, 20, 45), (0, 5, 40, 45)),
        ((80, 50, 120, 90), (60, 20, 100, 60)),
        ((-50, -50, 150, 150), (20, 0, 80, 60)),
        ((-200, -200, -100, -100), (0, 0, 60, 60)),
    ],
)
def test_squares_are_moved_into_the_frame(square, inside):
    assert shift_inside(boxes(square), 100, 60).tolist() == [list(inside)]


def test_no_squares_give_no_squares():
    assert shift_inside(boxes(), 100, 60).shape == (0, 4)
