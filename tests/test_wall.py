"""The stages at work together, without a screen."""

import math
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from engines.trt_builder import CancelledError
from installation.capture import capture
from installation.capture.demo import DemoSource
from installation.capture.source import CaptureError
from installation.commands.demo_recorder import DemoRecorder
from installation.display.presenter import PresenterTiming
from installation.display.window import Window
from installation.runtime.latest import Latest
from installation.scene import Frame, Scene
from installation.vision import worker as stages
from installation.vision.pipeline import VisionPipeline
from installation.vision.worker import VisionTiming
from installation.wall import WallOptions, WallTiming, run

# Seconds; far beyond what anything here takes, on the slowest of machines.
LONG = 300.0


def until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def rehearse(config, source, frames, timing=WallTiming()):  # noqa: B008  # it is frozen
    rehearsal = DemoRecorder(source, frames, None, None)
    run(config, source, WallOptions(headless=True, observer=rehearsal, timing=timing))
    return rehearsal


@pytest.fixture
def crowd_source(config):
    return DemoSource(config.inference.engines, 1280, 720, 30)


# Pictures that the camera may be ahead of what vision has looked at.
AHEAD = 3


@pytest.fixture
def in_step(crowd_source, monkeypatch):
    """Time goes by in pictures: however slow the machine, vision is only so many of them behind."""
    looked_at, began = [-1], time.monotonic()
    observe, read = VisionPipeline.observe, crowd_source.read

    def captured(seq, _at, pixels):
        return Frame(seq, began + crowd_source.time_of(seq), pixels)

    def look(observer, frame):
        scene = observe(observer, frame)
        looked_at.append(frame.seq)
        return scene

    def wait_and_read():
        until(lambda: looked_at[-1] >= crowd_source._painted - AHEAD)
        return read()

    monkeypatch.setattr(capture, "Frame", captured)
    monkeypatch.setattr(VisionPipeline, "observe", look)
    monkeypatch.setattr(crowd_source, "read", wait_and_read)


@pytest.mark.usefixtures("in_step")
def test_the_crowd_is_boxed_on_the_wall(config, crowd_source):
    # Nothing counts as hung or lost.
    timing = WallTiming(capture_timeout_s=LONG, presenter=PresenterTiming(no_frame_s=LONG))
    report = rehearse(config, crowd_source, 150, timing).report()
    assert "150 frames" in report
    share, mean = report.split("; ")[1].split(" of faces boxed, mean IoU ")
    assert int(share.rstrip("%")) >= 90
    assert float(mean) >= 0.6


def test_a_failing_stage_ends_the_show_with_its_error(config, crowd_source, monkeypatch):
    def fail(_observer, _frame):
        raise RuntimeError("the network broke")

    monkeypatch.setattr(VisionPipeline, "observe", fail)
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


def prepare_slowly(monkeypatch, slates, steps=1):
    """Open the engines in steps, as plans are built; each stands on the wall for a while."""
    opened = stages.open_pipeline

    @contextmanager
    def slowly(config, progress):
        until(lambda: "preparing" in slates)
        for step in range(steps):
            if not progress("person-semantic", step / steps):
                raise CancelledError("cancelled")
            words = f"preparing {step / steps:.0%}"
            until(lambda: slates[-1] == words)  # noqa: B023  # waited for here and now
        with opened(config, progress) as observer:
            yield observer

    monkeypatch.setattr(stages, "open_pipeline", slowly)


def test_the_wall_tells_how_far_the_preparations_are(config, crowd_source, slates, monkeypatch):
    prepare_slowly(monkeypatch, slates, 20)
    report = rehearse(config, crowd_source, 10).report()
    assert "10 frames" in report
    shares = [int(words[10:-1]) for words in slates if words.startswith("preparing ")]
    assert sorted(set(shares)) == list(range(0, 100, 5))
    assert shares == sorted(shares)


ENDLESS = """
import threading, time
from contextlib import contextmanager
from pathlib import Path
from engines.trt_builder import CancelledError
from installation.config import loader
from installation.config import model as config
from installation import wall as controller
from installation.vision import worker as stages
from installation.capture.demo import DemoSource

@contextmanager
def never(_config, progress):
    print("preparing", flush=True)
    while progress("person-semantic", 0.5):
        time.sleep(0.05)
    raise CancelledError("cancelled")
    yield

stages.open_pipeline = never
settings = loader.load({config!r})
source = DemoSource(settings.inference.engines, 640, 360, 30)
controller.run(settings, source, controller.WallOptions(headless=True))
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
    out, _ = process.communicate(timeout=LONG)
    assert (process.returncode, out) == (0, "['MainThread']\n")


def test_a_lost_camera_is_a_slate_and_the_picture_comes_back(
    config, crowd_source, slates, monkeypatch
):
    prepare_slowly(monkeypatch, slates)
    timing = WallTiming(
        capture_timeout_s=LONG,
        presenter=PresenterTiming(no_frame_s=0.1, fade_s=0.2),
        # Every frame is processed, the last before the loss too.
        vision=VisionTiming(max_detections_per_s=math.inf),
    )
    put, read, open_ = Latest.put, crowd_source.read, crowd_source.open
    newest, lost, seen = {}, [], []

    def note_and_put(slot, value):
        put(slot, value)
        newest[type(value)] = value.seq

    def unplug_once():
        if not lost and Scene in newest:
            lost.append(crowd_source._painted)
            raise CaptureError("demo: unplugged")
        return read()

    def plug_in_again():
        if lost:
            until(lambda: slates[-1] == "no picture from the camera")
            until(lambda: newest[Scene] == newest[Frame])
            drawn = len(slates)
            until(lambda: len(slates) >= drawn + 2)
        open_()

    monkeypatch.setattr(Latest, "put", note_and_put)
    monkeypatch.setattr(crowd_source, "read", unplug_once)
    monkeypatch.setattr(crowd_source, "open", plug_in_again)
    rehearsal = DemoRecorder(crowd_source, None, None, None)
    saw = rehearsal.on_frame

    def note(frame, scene, window):
        seen.append((frame.seq, None if scene is None else scene.seq))
        saw(frame, scene, window)
        # Until there is something to show again.
        return not (lost and scene is not None and scene.seq >= lost[0] + 100)

    monkeypatch.setattr(rehearsal, "on_frame", note)
    run(config, crowd_source, WallOptions(headless=True, observer=rehearsal, timing=timing))
    assert slates[:2] == ["preparing", "preparing 0%"]
    assert set(slates) == {"preparing", "preparing 0%", "no picture from the camera"}
    # What was known before the loss is not held against who is there after it.
    after = [scene for frame, scene in seen if frame >= lost[0]]
    assert after and all(scene is None or scene >= lost[0] for scene in after)


def test_vision_looks_no_more_often_than_helps(config, monkeypatch):
    looks = []
    observe = VisionPipeline.observe

    def note(observer, frame):
        looks.append(frame.captured_at)
        return observe(observer, frame)

    monkeypatch.setattr(VisionPipeline, "observe", note)
    rehearsal = DemoRecorder(DemoSource(config.inference.engines, 320, 240, 120), None, None, None)
    monkeypatch.setattr(rehearsal, "on_frame", lambda *_: len(looks) < 20)
    run(config, rehearsal._source, WallOptions(headless=True, observer=rehearsal))
    assert 20 <= len(looks) <= (looks[-1] - looks[0]) * VisionTiming().max_detections_per_s + 2
