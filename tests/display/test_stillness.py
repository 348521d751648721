"""Whether the screen follows the camera."""

import numpy as np
import pytest

from installation.display.stillness import GRID, Stillness

SHAPE = GRID[1], GRID[0]
RANDOM = np.random.default_rng(7)


def scene():
    return RANDOM.integers(0, 255, SHAPE, dtype=np.uint8)


def noisy(picture):
    return (picture + RANDOM.integers(0, 5, SHAPE)).clip(0, 255).astype(np.uint8)


def test_a_screen_that_stays_while_the_camera_changes_is_stuck():
    stillness, screen = Stillness(), scene()
    for _ in range(3):
        stillness.look(scene(), screen)
        assert not stillness.stuck
    stillness.look(scene(), screen)
    assert stillness.stuck
    stillness.look(scene(), scene())
    assert not stillness.stuck


@pytest.mark.parametrize("quiet", [True, False])
def test_an_empty_room_is_no_reason_to_doubt(quiet):
    stillness, room, screen = Stillness(), scene() // 2, scene()
    for _ in range(100):
        stillness.look(room if quiet else noisy(room), screen)
        assert not stillness.stuck


def test_a_screen_that_follows_is_not_doubted():
    stillness = Stillness()
    for _ in range(100):
        picture = scene()
        stillness.look(picture, picture)
        assert not stillness.stuck
