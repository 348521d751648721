"""The stages at work together, without a screen."""

import pytest

from installation.capture.demo import DemoSource
from installation.capture.source import CaptureError
from installation.controller import run
from installation.demo import Rehearsal
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


def test_a_lost_camera_is_a_slate_and_the_picture_comes_back(config, crowd_source, monkeypatch):
    from installation import controller
    from installation.capture import capture
    from installation.display.window import Window

    monkeypatch.setattr(controller, "_PATIENCE", 0.2)
    monkeypatch.setattr(capture, "_FIRST_WAIT", 1.0)
    slates = []
    show_slate = Window.show_slate

    def seen(window, words):
        slates.append(words)
        show_slate(window, words)

    monkeypatch.setattr(Window, "show_slate", seen)
    read = crowd_source.read
    reads = []

    def unplug_once():
        reads.append(None)
        if len(reads) == 10:
            raise CaptureError("demo: unplugged")
        return read()

    crowd_source.read = unplug_once
    scenes = []
    rehearsal = Rehearsal(crowd_source, 200, None, None)
    saw = rehearsal.saw

    def note(frame, scene, window):
        scenes.append(None if scene is None else scene.seq)
        return saw(frame, scene, window)

    monkeypatch.setattr(rehearsal, "saw", note)
    run(config, crowd_source, True, rehearsal)
    assert "200 pictures" in rehearsal.report()
    assert set(slates) == {"no picture from the camera"}
    # What was known before the loss is not held against who is there after it.
    assert None in scenes[8:]
    assert scenes[-1] > 100
