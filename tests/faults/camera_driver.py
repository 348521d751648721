"""Webcams that fail, through OpenCV's own V4L2 code; run by test_camera.py over driver.c."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from pathlib import Path

import pytest

from installation.capture import capture as capturing
from installation.capture import v4l2
from installation.capture.camera import Camera
from installation.capture.capture import Capture
from installation.config import model as config
from installation.runtime.latest import Latest

# Attempts to open a camera that is well again: one may have begun before it was.
AT_ONCE = 2
# Seconds; far beyond what anything here takes, on the slowest of machines.
LONG = 120.0


class Sockets:
    """Where webcams are plugged in: a /dev of our own."""

    def __init__(self, dev):
        self.dev = dev
        for folder in ("by-id", "by-path"):
            (dev / "v4l" / folder).mkdir(parents=True)

    def plug(self, number, camera="usb-Acme_Eye_1", socket="usb-0:1:1.0", metadata=None):
        """Plug a camera in; it gets a number, as has what tells of its pictures."""
        links = [self.dev / "v4l/by-path" / socket]
        if camera:
            links.append(self.dev / "v4l/by-id" / camera)
        for index, each in enumerate([number] if metadata is None else [number, metadata]):
            node = self.dev / f"video{each}"
            self.fault(each, "metadata" if index else None)
            node.touch()
            for link in links:
                link.with_name(f"{link.name}-video-index{index}").symlink_to(node)

    def unplug(self, *numbers):
        nodes = [self.dev / f"video{number}" for number in numbers]
        for link in self.dev.glob("v4l/*/*"):
            if link.resolve() in nodes:
                link.unlink()
        for node in nodes:
            node.unlink()

    def fault(self, number, name):
        """From now on a camera does wrong, or with None nothing."""
        file = self.dev / f"video{number}.fault"
        new = file.with_suffix(".new")
        new.write_text(name or "")
        new.rename(file)


@pytest.fixture
def sockets(tmp_path, monkeypatch):
    monkeypatch.setattr(v4l2, "DEV", tmp_path / "dev")
    return Sockets(tmp_path / "dev")


class Wall:
    """What captures, and what came of it.

    Attributes
    ----------
    done
        What it did, in order: ``open``, ``read``, and ``beat`` for a sign of life.
    """

    def __init__(self, device, format_):
        self.frames = Latest()
        self.done = []
        camera = Camera(device, config.Camera(width=320, height=180, format=format_))
        for name in ("open", "read"):
            setattr(camera, name, self._noting(name, getattr(camera, name)))
        beat = self._noting("beat", lambda _more: None)
        self.capture = Capture(camera, self.frames, beat)
        self.thread = threading.Thread(target=self.capture.run)

    def _noting(self, name, work):
        def noted(*arguments):
            self.done.append(name)
            return work(*arguments)

        return noted

    def until(self, condition):
        end = time.monotonic() + LONG
        while not condition(self.capture.trouble):
            assert time.monotonic() < end, f"never happened; {self.capture.trouble}"
            time.sleep(0.002)

    def tries_again(self):
        """Wait until it tries to open the camera once more."""
        before = self.done.count("open")
        self.until(lambda _: self.done.count("open") > before)

    def picture(self):
        """Wait for one captured from now on that is in no doubt.

        Returns
        -------
        Frame, int
            It, and how many attempts to open the camera that took.
        """
        begun, opened = time.monotonic(), self.done.count("open")
        version = 0
        while True:
            newest = self.frames.get(after=version, timeout=LONG)
            assert newest is not None, self.capture.trouble
            version, frame = newest
            if frame.captured_at > begun and self.capture.trouble is None:
                return frame, self.done.count("open") - opened


@pytest.fixture
def wall(sockets):
    """Begin to capture; ends after the test."""
    walls = []

    def begin(device="video0", format_="yuyv"):
        walls.append(Wall(sockets.dev / device, format_))
        walls[-1].thread.start()
        return walls[-1]

    yield begin
    for each in walls:
        each.capture.stop()
        each.thread.join(LONG)
        assert not each.thread.is_alive()
    assert held(sockets.dev) == []


def held(dev):
    """Name the devices that are open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return [each for each in found if each.startswith(str(dev))]


@pytest.mark.parametrize("format_", ["yuyv", "mjpg"])
def test_a_camera_plugged_in_late_is_found(sockets, wall, format_):
    shown = wall(format_=format_)
    shown.until(lambda trouble: trouble and "no camera there; connected: none" in trouble)
    shown.tries_again()
    sockets.plug(0)
    frame, attempts = shown.picture()
    assert attempts <= AT_ONCE
    assert (frame.width, frame.height) == (320, 180)
    assert frame.layout == ("YUYV" if format_ == "yuyv" else "BGR")


FAULTS = {
    "stalled": "sends no pictures any more",
    "broken": "its pictures break off",
    "dead": "does not answer; plug it in again",
    "green": "sends pictures of a single colour",
    "frozen": "sends the same picture again and again",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_camera_that_fails_is_told_of_and_back_in_time(sockets, wall, fault, caplog):
    sockets.plug(0)
    shown = wall()
    shown.picture()
    sockets.fault(0, fault)
    shown.until(lambda trouble: trouble and FAULTS[fault] in trouble)
    if fault not in ("green", "frozen"):
        shown.tries_again()
    # Still there is no other trouble, and one line.
    shown.until(lambda trouble: trouble and "video0: " in trouble)
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    sockets.fault(0, None)
    assert shown.picture()[1] <= AT_ONCE
    assert shown.capture.losses == 1
    # It shows that it lives before whatever may take its time.
    for before, after in itertools.pairwise(shown.done):
        assert "beat" in (before, after)
    assert os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] == "1"


REFUSALS = {
    "busy": "in use by another program",
    "forbidden": "not permitted; add this user to the group video",
    "narrow": "more than its USB bus can carry",
    "metadata": "not the part of a camera that sends pictures; connected: ",
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_camera_that_refuses_says_why(sockets, wall, fault):
    sockets.plug(0)
    sockets.fault(0, fault)
    shown = wall()
    shown.until(lambda trouble: trouble and REFUSALS[fault] in trouble)
    shown.tries_again()
    sockets.fault(0, None)
    assert shown.picture()[1] <= AT_ONCE


def test_a_lens_that_is_covered_is_no_fault(sockets, wall):
    sockets.plug(0)
    shown = wall()
    shown.picture()
    sockets.fault(0, "covered")
    time.sleep(7)
    shown.picture()
    assert shown.capture.losses == 0


def test_a_camera_comes_back_under_another_number(sockets, wall):
    sockets.plug(0, metadata=1)
    shown = wall()
    shown.picture()
    for number in (2, 5, 0, 63):
        sockets.unplug(*[int(node.name[5:]) for node in v4l2.nodes()])
        shown.until(lambda trouble: trouble and "no camera there" in trouble)
        sockets.plug(number, metadata=number + 1)
        assert shown.picture()[1] <= AT_ONCE


@pytest.mark.parametrize("camera", ["usb-Acme_Eye_1", None])
def test_of_several_cameras_it_keeps_to_the_one_it_had(sockets, wall, camera, caplog):
    caplog.set_level("INFO")
    sockets.plug(0, camera)
    sockets.plug(1, "usb-Other_2", "usb-0:2:1.0")
    shown = wall()
    shown.picture()
    link = "by-id/usb-Acme_Eye_1-video-index0" if camera else "by-path/usb-0:1:1.0-video-index0"
    hints = [record.message for record in caplog.records if "camera.source: " in record.message]
    assert len(hints) == 1
    assert hints[0].endswith(f"set camera.source: {sockets.dev}/v4l/{link}")
    sockets.unplug(0, 1)
    shown.until(lambda trouble: trouble and "no camera there" in trouble)
    sockets.plug(0, "usb-Other_2", "usb-0:2:1.0")
    shown.tries_again()
    assert shown.capture.trouble
    sockets.plug(1, camera)
    assert shown.picture()[1] <= AT_ONCE
    assert held(sockets.dev) == [f"{sockets.dev}/video1"]
    assert len([record for record in caplog.records if "camera.source: " in record.message]) == 1


def test_another_camera_in_place_of_the_one_it_had_will_do(sockets, wall):
    sockets.plug(0)
    shown = wall()
    shown.picture()
    sockets.unplug(0)
    shown.until(lambda trouble: trouble)
    sockets.plug(1, "usb-New_3", "usb-0:4:1.0")
    assert shown.picture()[1] <= AT_ONCE


@pytest.mark.parametrize(
    ("device", "number"), [("video0", 2), ("video1", 4), ("video2", 2), ("video4", 4)]
)
def test_a_number_is_that_of_a_node_or_else_of_a_webcam(sockets, wall, device, number):
    sockets.plug(2, metadata=1)
    sockets.plug(4, "usb-Other_2", "usb-0:2:1.0", metadata=5)
    wall(device).picture()
    assert held(sockets.dev) == [f"{sockets.dev}/video{number}"]


def test_a_link_is_followed_to_whatever_number_it_has(sockets, wall):
    sockets.plug(7)
    shown = wall("v4l/by-id/usb-Acme_Eye_1-video-index0")
    shown.picture()
    sockets.unplug(7)
    shown.until(lambda trouble: trouble and "no camera there; connected: none" in trouble)
    sockets.plug(3)
    assert shown.picture()[1] <= AT_ONCE


def test_without_links_a_camera_is_known_by_its_number(sockets, wall):
    (sockets.dev / "video0").touch()
    shown = wall()
    shown.picture()
    (sockets.dev / "video0").unlink()
    shown.until(lambda trouble: trouble)
    (sockets.dev / "video0").touch()
    assert shown.picture()[1] <= AT_ONCE


def test_a_device_closed_at_rest_and_open_again_at_once(sockets, wall):
    sockets.plug(0)
    shown = wall()
    for _ in range(10):
        shown.picture()
        shown.capture.rest()
        shown.until(lambda _: held(sockets.dev) == [])
        shown.capture.wake()
    assert shown.picture()[1] <= AT_ONCE


@pytest.mark.parametrize("fault", ["unplugged", "renumbered", "broken", "dead", "stalled"])
def test_a_hundred_times_in_a_row(sockets, wall, fault, monkeypatch):
    monkeypatch.setattr(capturing, "_BACKOFF_MIN_S", 0.01)
    monkeypatch.setattr(capturing, "_FRAME_TIMEOUT_S", 0.01)
    monkeypatch.setattr(capturing, "_BACKOFF_MAX_S", 0.01)
    sockets.plug(0)
    shown = wall()
    shown.picture()
    threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    for index in range(100):
        number = index % 2 if fault == "renumbered" else 0
        if fault in ("unplugged", "renumbered"):
            sockets.unplug(number)
        else:
            sockets.fault(0, fault)
        shown.until(lambda trouble: trouble)
        if fault in ("unplugged", "renumbered"):
            sockets.plug(1 - number if fault == "renumbered" else 0)
        else:
            sockets.fault(0, None)
        assert shown.picture()[1] <= AT_ONCE
    assert shown.capture.losses == 100
    assert threading.active_count() == threads
    assert len(list(Path("/proc/self/fd").iterdir())) == files
