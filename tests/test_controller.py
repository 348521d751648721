"""The stages at work together, without a screen."""

import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from engines.plan import CancelledError
from installation import stages, wall
from installation.capture.demo import DemoSource
from installation.capture.source import CaptureError
from installation.controller import run
from installation.demo import Rehearsal
from installation.display.window import Window
from installation.vision.observer import Observer


def rehearse(config, source, frames):
    rehearsal = Rehearsal(source, frames, None, None)
    run(config, source, True, rehearsal)
    return rehearsal


@pytest.fixture
def crowd_source(config):
    return DemoSource(config.inference.engines, 1280, 720, 30)


def test_the_crowd_is_boxed_on_the_wall(config, crowd_source):
    report = rehearse(config, crowd_source, 150).report()
    assert "150 pictures" in report
    share, mean = report.split("; ")[1].split(" of faces boxed, mean IoU ")
    assert int(share.rstrip("%")) >= 90
    assert float(mean) >= 0.6


def test_a_failing_stage_ends_the_show_with_its_error(config, crowd_source, monkeypatch):
    def fail(_observer, _frame):
        raise RuntimeError("the network broke")

    monkeypatch.setattr(Observer, "observe", fail)
    with pytest.raises(RuntimeError, match="the network broke"):
        rehearse(config, crowd_source, 10_000)


@pytest.fixture
def slates(monkeypatch):
    """What stood on the wall when there was no picture."""
    seen = []
    show_slate = Window.show_slate

    def show(window, words):
        seen.append(words)
        show_slate(window, words)

    monkeypatch.setattr(Window, "show_slate", show)
    return seen


def prepare_slowly(monkeypatch, steps):
    """Take as long to open the engines as a plan takes to build, and tell of it likewise."""
    opened = stages.open_observer

    @contextmanager
    def slowly(config, progress):
        for step in range(steps):
            time.sleep(0.1)
            if not progress("person-semantic", step / steps):
                raise CancelledError("cancelled")
        with opened(config, progress) as observer:
            yield observer

    monkeypatch.setattr(stages, "open_observer", slowly)


def test_the_wall_tells_how_far_the_preparations_are(config, crowd_source, slates, monkeypatch):
    prepare_slowly(monkeypatch, 20)
    report = rehearse(config, crowd_source, 10).report()
    assert "10 pictures" in report
    shares = [int(words[10:-1]) for words in slates if words.startswith("preparing ")]
    assert len(set(shares)) > 5
    assert shares == sorted(shares)


ENDLESS = """
import threading, time
from contextlib import contextmanager
from pathlib import Path
from engines.plan import CancelledError
from installation import config, controller, stages
from installation.capture.demo import DemoSource

@contextmanager
def never(_config, progress):
    print("preparing", flush=True)
    while progress("person-semantic", 0.5):
        time.sleep(0.05)
    raise CancelledError("cancelled")
    yield

stages.open_observer = never
settings = config.load({config!r})
source = DemoSource(settings.inference.engines, 640, 360, 30)
controller.run(settings, source, headless=True)
print([thread.name for thread in threading.enumerate()])
"""


def test_preparations_are_broken_off_when_it_is_told_to_stop(built):
    # In a process of its own: one in which OpenVINO has come and gone may not survive a signal.
    code = ENDLESS.format(config=str(built.parent.parent / "config.yaml"))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=built.parent.parent
    )
    assert process.stdout.readline() == "preparing\n"
    process.terminate()
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "['MainThread']\n")


def test_a_lost_camera_is_a_slate_and_the_picture_comes_back(
    config, crowd_source, slates, monkeypatch
):
    from installation.capture import capture

    monkeypatch.setattr(wall, "_PATIENCE", 0.1)
    monkeypatch.setattr(wall, "_FADES", 0.2)
    monkeypatch.setattr(capture, "_FIRST_WAIT", 1.0)
    read = crowd_source.read
    reads = []

    def unplug_once():
        reads.append(None)
        if len(reads) == 10:
            raise CaptureError("demo: unplugged")
        return read()

    crowd_source.read = unplug_once
    scenes = []
    rehearsal = Rehearsal(crowd_source, 300, None, None)
    saw = rehearsal.saw

    def note(frame, scene, window):
        scenes.append(None if scene is None else scene.seq)
        return saw(frame, scene, window)

    monkeypatch.setattr(rehearsal, "saw", note)
    run(config, crowd_source, True, rehearsal)
    assert "300 pictures" in rehearsal.report()
    assert slates[0] == "preparing"
    assert set(slates) == {"preparing", "no picture from the camera"}
    # What was known before the loss is not held against who is there after it.
    assert None in scenes[8:]
    assert scenes[-1] > 100


def test_vision_looks_no_more_often_than_helps(config, monkeypatch):
    looks = []
    observe = Observer.observe

    def note(observer, frame):
        looks.append(frame.captured_at)
        return observe(observer, frame)

    monkeypatch.setattr(Observer, "observe", note)
    rehearse(config, DemoSource(config.inference.engines, 320, 240, 120), 120)
    assert 1 < len(looks) <= (looks[-1] - looks[0]) * stages._LOOKS + 2
