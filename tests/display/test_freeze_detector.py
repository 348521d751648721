"""Whether the screen follows the camera."""

import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest

from installation.display.freeze_detector import GRID, FreezeDetector
from tests.paths import ROOT

SHAPE = GRID[1], GRID[0]
RANDOM = np.random.default_rng(7)


def scene():
    return RANDOM.integers(0, 255, SHAPE, dtype=np.uint8)


def noisy(picture):
    return (picture + RANDOM.integers(0, 5, SHAPE)).clip(0, 255).astype(np.uint8)


def test_a_screen_that_stays_while_the_camera_changes_is_frozen():
    detector, screen = FreezeDetector(), scene()
    for _ in range(3):
        detector.update(scene(), screen)
        assert not detector.frozen
    detector.update(scene(), screen)
    assert detector.frozen
    detector.update(scene(), scene())
    assert not detector.frozen


@pytest.mark.parametrize("quiet", [True, False])
def test_an_empty_room_is_not_a_frozen_screen(quiet):
    detector, room, screen = FreezeDetector(), scene() // 2, scene()
    for _ in range(100):
        detector.update(room if quiet else noisy(room), screen)
        assert not detector.frozen


def test_a_screen_that_follows_the_camera_is_not_frozen():
    detector = FreezeDetector()
    for _ in range(100):
        picture = scene()
        detector.update(picture, picture)
        assert not detector.frozen


# One process each: a window in memory, and a card that takes no more pictures.
SCRIPT = """
    import sys
    import numpy as np
    from installation.config.model import Display, Theme
    from installation.display.gl import Texture
    from installation.display.freeze_detector import FreezeDetector
    from installation.display.window import Window
    from installation.scene import Frame

    shape, settings = eval(sys.argv[1]), eval(sys.argv[2])
    window = Window(Display(fullscreen=False, **settings), Theme(), headless=True)
    random, detector = np.random.default_rng(1), FreezeDetector()

    def looks(count):
        for _ in range(count):
            pixels = random.integers(16, 235, shape, dtype=np.uint8)
            window.show(Frame(0, 0.0, pixels), None, detector)
            print(int(detector.frozen), end="")

    looks(6)
    write, Texture.write = Texture.write, lambda *arguments: None
    looks(5)
    Texture.write = write
    looks(2)
"""


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((360, 640, 3), {"width": 640, "height": 360}),
        ((360, 640, 2), {"width": 500, "height": 333, "rotate": 90}),
        ((540, 640), {"width": 360, "height": 640, "fit": "contain"}),
        ((121, 161, 3), {"width": 640, "height": 250}),
    ],
)
def test_a_gpu_that_draws_no_more_frames_is_noticed(shape, settings):
    command = [sys.executable, "-c", dedent(SCRIPT), repr(shape), repr(settings)]
    root = ROOT
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    # Of the five looks the first two still lie before the third change.
    assert done.stdout == "000000" + "00111" + "00", done.stderr
