"""What is on the wall when, in a window in memory; see `test_wall.py`."""

import numpy as np
import pytest

from installation.config.model import Display, Theme
from installation.display import presenter as room
from installation.display.presenter import Presenter
from installation.display.window import Window
from installation.runtime.latest import Closed, Latest
from installation.scene import Frame, Label, Scene, Track, Verdict

WHITE = np.full((240, 320, 3), 255, np.uint8)


@pytest.fixture
def window():
    opened = Window(Display(width=320, height=240, mirror=False), Theme(), headless=True)
    yield opened
    opened.close()


@pytest.fixture
def frames():
    return Latest()


@pytest.fixture
def scenes():
    return Latest()


class Clock:
    """Time goes by where somebody waits, and nowhere else."""

    now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(room, "time", clock)
    return clock


@pytest.fixture
def wall(window, frames, scenes, clock):
    return Presenter(window, "no picture", frames, scenes, None)


@pytest.fixture
def frame(clock):
    return lambda seq: Frame(seq, clock.now, WHITE)


@pytest.fixture
def scene(clock):
    def make(seq):
        verdict = Verdict(Label("n10104064", "boss", 1.0), True)
        track = Track(1, clock.now, (100.0, 60.0, 160.0, 140.0), (0.0,) * 4, verdict)
        return Scene(seq, clock.now, 320, 240, (track,), None)

    return make


def brightness(window):
    return int(window.snapshot().astype(int).sum(2).max()) // 3


def test_a_lost_picture_fades_to_a_slate_and_whoever_comes_back_is_somebody_else(
    wall, window, frames, scenes, clock, frame, scene
):
    frames.put(frame(0))
    scenes.put(scene(0))
    wall.show()
    assert (wall.faces, wall.waiting, brightness(window)) == (1, False, 255)
    seen = []
    for _ in range(50):
        clock.now += 0.1
        wall.show()
        seen.append(int(np.median(window.snapshot())))
    assert wall.waiting and wall.faces == 0 and wall.frame is None
    assert seen[0] > 0 and seen[-1] == 0
    assert sorted(seen, reverse=True) == seen
    frames.put(frame(7))
    wall.show()
    assert (wall.faces, wall.waiting) == (0, False)
    # The camera was away; what it would have given was not left out by us.
    assert wall.metrics.dropped == 0


def test_nobody_of_the_evening_is_on_the_wall_in_the_morning(
    wall, window, frames, scenes, frame, scene
):
    frames.put(frame(0))
    scenes.put(scene(0))
    wall.show()
    wall.show_dark()
    # What was on its way when the doors were closed.
    frames.put(frame(1))
    scenes.put(scene(1))
    wall.show_dark()
    assert brightness(window) == 0
    wall.show()
    assert (wall.faces, wall.frame, brightness(window)) == (0, None, 0)
    assert frames.get(after=0, timeout=0) is None
    frames.put(frame(2))
    wall.show()
    assert wall.frame.seq == 2


def test_a_long_preparation_is_not_held_against_the_camera(wall, window, monkeypatch):
    said = []
    monkeypatch.setattr(window, "show_slate", said.append)
    for _ in range(100):
        wall.wait("preparing 12%")
    wall.show()
    assert set(said) == {"preparing 12%"}
    # It hardly moves, and is hardly drawn: twice a second.
    assert len(said) == 10


def test_the_end_of_a_film_is_the_end(wall, frames):
    frames.close()
    with pytest.raises(Closed):
        wall.show()


def test_a_picture_left_out_is_counted(wall, frames, frame):
    for seq in (0, 1, 4):
        frames.put(frame(seq))
        wall.show()
    assert (wall.metrics.presented, wall.metrics.dropped) == (3, 2)
