"""Pictures of working and of broken cameras, as a camera would send them, without the waiting."""

import cv2
import numpy as np
import pytest

from installation.capture.frame_health import FrameHealth
from installation.scene import Frame

WIDTH, HEIGHT = 160, 120
random = np.random.default_rng(0)
SCENE = cv2.resize(random.integers(60, 255, (6, 8, 3), np.uint8), (WIDTH, HEIGHT))


def yuyv(bgr):
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_YUYV)


def nv12(bgr):
    planes = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    luma, chroma = planes[: WIDTH * HEIGHT], planes[WIDTH * HEIGHT :]
    mixed = np.stack(np.split(chroma, 2), axis=1).reshape(-1)
    return np.concatenate([luma, mixed]).reshape(HEIGHT * 3 // 2, WIDTH)


LAYOUTS = pytest.mark.parametrize(
    "layout", [lambda bgr: bgr, yuyv, nv12], ids=["bgr", "yuyv", "nv12"]
)


def plain(*colour):
    return np.full((HEIGHT, WIDTH, 3), colour, np.uint8)


def noisy(bgr):
    noise = random.integers(-3, 4, bgr.shape, np.int16)
    return np.clip(bgr.astype(np.int16) + noise, 0, 255).astype(np.uint8)


def look(health, picture, seconds, start=100.0, fps=10):
    """Show pictures for a while; return after how many seconds it asked to reopen, each time."""
    asked = []
    for index in range(int(seconds * fps)):
        pixels = picture() if callable(picture) else picture
        if health.look(Frame(index, start + index / fps, pixels)):
            asked.append(index / fps)
    return asked


@LAYOUTS
def test_a_scene_that_moves_or_only_has_noise_is_not_in_doubt(layout):
    health = FrameHealth()
    assert look(health, lambda: layout(noisy(SCENE)), 100) == []
    assert health.doubt is None


@LAYOUTS
def test_a_frozen_picture_is_reopened_after_seconds_and_then_once_a_minute(layout):
    health = FrameHealth()
    first, *rest = look(health, layout(SCENE), 200)
    assert first == pytest.approx(5, abs=0.6)
    assert np.diff([first, *rest]) == pytest.approx(60, abs=0.6)
    assert health.doubt == "sends the same picture again and again"


@LAYOUTS
@pytest.mark.parametrize("colour", [(0, 135, 0), (128, 128, 128), (255, 255, 255), (120, 60, 200)])
def test_a_single_colour_is_reopened_after_seconds_and_then_once_a_minute(layout, colour):
    health = FrameHealth()
    first, *rest = look(health, layout(plain(*colour)), 200)
    assert first == pytest.approx(3, abs=0.6)
    assert np.diff([first, *rest]) == pytest.approx(60, abs=0.6)
    assert health.doubt == "sends pictures of a single colour"


@pytest.mark.parametrize(
    "zeros", [np.zeros((HEIGHT, WIDTH, 2), np.uint8), np.zeros((HEIGHT * 3 // 2, WIDTH), np.uint8)]
)
def test_nothing_sent_at_all_is_green_not_dark(zeros):
    assert look(FrameHealth(), zeros, 4)


@LAYOUTS
@pytest.mark.parametrize("dark", [plain(0, 0, 0), plain(17, 17, 17), SCENE // 8])
def test_darkness_is_never_in_doubt(layout, dark):
    health = FrameHealth()
    assert look(health, layout(dark), 1000, fps=4) == []
    assert health.doubt is None


def test_a_picture_that_moves_again_is_out_of_doubt_and_patience_is_as_before():
    health = FrameHealth()
    assert len(look(health, SCENE, 20)) == 1
    assert look(health, lambda: noisy(SCENE), 10, start=200) == []
    assert health.doubt is None
    assert look(health, SCENE, 20, start=300)[0] == pytest.approx(5, abs=0.6)


def test_a_moment_of_green_or_of_stillness_is_nothing():
    health = FrameHealth()
    for start in range(100, 200, 10):
        assert look(health, plain(0, 135, 0), 2, start=start) == []
        assert look(health, SCENE, 4, start=start + 2) == []
        assert look(health, lambda: noisy(SCENE), 3, start=start + 6) == []


def test_a_slow_camera_is_judged_likewise():
    assert look(FrameHealth(), SCENE, 20, fps=1)[0] == pytest.approx(5, abs=1)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 2, 2), (3, 2), (8, 8, 3), (480, 640, 3)])
def test_pictures_of_any_size_are_judged(shape):
    assert look(FrameHealth(), np.full(shape, 200, np.uint8), 10)
