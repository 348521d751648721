"""Frames of working and of broken cameras, at simulated times."""

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


def show(health, picture, seconds, start=100.0, fps=10):
    """Check frames for a while; return the seconds after which a reopening was requested."""
    asked = []
    for index in range(int(seconds * fps)):
        pixels = picture() if callable(picture) else picture
        if health.check(Frame(index, start + index / fps, pixels)):
            asked.append(index / fps)
    return asked


@LAYOUTS
def test_a_scene_with_noise_is_healthy(layout):
    health = FrameHealth()
    assert show(health, lambda: layout(noisy(SCENE)), 100) == []
    assert health.error is None


@LAYOUTS
def test_frozen_frames_reopen_the_source_and_then_every_minute(layout):
    health = FrameHealth()
    first, *rest = show(health, layout(SCENE), 200)
    assert first == pytest.approx(5, abs=0.6)
    assert np.diff([first, *rest]) == pytest.approx(60, abs=0.6)
    assert health.error == "sends the same frame again and again"


@LAYOUTS
@pytest.mark.parametrize("colour", [(0, 135, 0), (128, 128, 128), (255, 255, 255), (120, 60, 200)])
def test_a_single_colour_reopens_the_source_and_then_every_minute(layout, colour):
    health = FrameHealth()
    first, *rest = show(health, layout(plain(*colour)), 200)
    assert first == pytest.approx(3, abs=0.6)
    assert np.diff([first, *rest]) == pytest.approx(60, abs=0.6)
    assert health.error == "sends frames of a single colour"


@pytest.mark.parametrize(
    "zeros", [np.zeros((HEIGHT, WIDTH, 2), np.uint8), np.zeros((HEIGHT * 3 // 2, WIDTH), np.uint8)]
)
def test_nothing_sent_at_all_is_green_not_dark(zeros):
    assert show(FrameHealth(), zeros, 4)


@LAYOUTS
@pytest.mark.parametrize("dark", [plain(0, 0, 0), plain(17, 17, 17), SCENE // 8])
def test_darkness_is_healthy(layout, dark):
    health = FrameHealth()
    assert show(health, layout(dark), 1000, fps=4) == []
    assert health.error is None


def test_moving_frames_reset_everything():
    health = FrameHealth()
    assert len(show(health, SCENE, 20)) == 1
    assert show(health, lambda: noisy(SCENE), 10, start=200) == []
    assert health.error is None
    assert show(health, SCENE, 20, start=300)[0] == pytest.approx(5, abs=0.6)


def test_short_faults_are_ignored():
    health = FrameHealth()
    for start in range(100, 200, 10):
        assert show(health, plain(0, 135, 0), 2, start=start) == []
        assert show(health, SCENE, 4, start=start + 2) == []
        assert show(health, lambda: noisy(SCENE), 3, start=start + 6) == []


def test_slow_cameras_are_checked_alike():
    assert show(FrameHealth(), SCENE, 20, fps=1)[0] == pytest.approx(5, abs=1)


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 2, 2), (3, 2), (8, 8, 3), (480, 640, 3)])
def test_frames_of_any_size_are_checked(shape):
    assert show(FrameHealth(), np.full(shape, 200, np.uint8), 10)
