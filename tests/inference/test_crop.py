import cv2
import numpy as np
import pytest

from installation.inference.crop import crop_resize


@pytest.fixture(scope="module")
def frame(hopper):
    return hopper


def region(*sides):
    return np.array(sides, np.float32)


def test_the_whole_at_its_own_size_is_unchanged(frame):
    assert np.array_equal(crop_resize(frame, region(0, 0, 512, 600), 512, 600), frame)


def test_a_part_at_its_own_size_is_that_part(frame):
    assert np.array_equal(
        crop_resize(frame, region(100, 50, 200, 170), 100, 120), frame[50:170, 100:200]
    )


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_shrinking_averages(frame, factor):
    small = crop_resize(frame, region(0, 0, 512, 600), 512 // factor, 600 // factor)
    rows, columns = 600 // factor, 512 // factor
    blocks = frame[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, 3)
    assert np.abs(small - blocks.mean((1, 3))).mean() < 1.5


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (1100, 400), (3000, 700)])
def test_every_pixel_leaves_a_trace_however_the_sides_shrink(size):
    width, height = size
    for at in range(100, 140):
        frame = np.zeros((height, width, 3), np.uint8)
        frame[:, at] = 255
        assert crop_resize(frame, region(0, 0, width, height), 224, 224).any()


def test_growing_is_bilinear_about_pixel_centres(frame):
    big = crop_resize(frame, region(100, 100, 150, 160), 200, 240).astype(int)
    reference = cv2.resize(frame, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    assert np.abs(big - reference[400:640, 400:600].astype(int)).max() <= 2


def test_what_lies_outside_is_black(frame):
    patch = crop_resize(frame, region(-100, -100, 100, 100), 200, 200)
    assert (patch[:99] == 0).all()
    assert (patch[:, :99] == 0).all()
    assert np.array_equal(patch[100:, 100:], frame[:100, :100])


@pytest.mark.parametrize(
    "sides",
    [
        (600, 0, 700, 100),
        (-50, -50, -10, -10),
        (10, 10, 10, 50),
        (50, 50, 10, 10),
    ],
)
def test_regions_with_nothing_in_them_are_black(frame, sides):
    assert (crop_resize(frame, region(*sides), 32, 32) == 0).all()


def test_random_regions_have_the_size_asked_for_and_follow_their_neighbours(frame):
    """Half a region, cut alone, is half of the whole region's cut, to within interpolation."""
    random = np.random.default_rng(0)
    for _ in range(200):
        low = random.uniform(-200, 500, 2)
        side = random.uniform(1, 500, 2)
        x0, y0, x1, y1 = *low, *(low + side)
        whole = crop_resize(frame, region(x0, y0, x1, y1), 64, 48)
        assert whole.shape == (48, 64, 3)
        left = crop_resize(frame, region(x0, y0, (x0 + x1) / 2, y1), 32, 48)
        assert np.abs(whole[:, :32].astype(int) - left.astype(int)).mean() < 6


def test_a_frame_of_one_pixel():
    frame = np.full((1, 1, 3), 9, np.uint8)
    assert crop_resize(frame, region(0, 0, 1, 1), 1, 1).tolist() == [[[9, 9, 9]]]
    assert crop_resize(frame, region(-1, -1, 2, 2), 33, 33).max() == 9
