"""Failing webcams, through OpenCV's own V4L2 code; run by test_camera.py over driver.c."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from pathlib import Path

import pytest

from installation.capture import v4l2
from installation.capture.camera import Camera
from installation.capture.capture import Capture, CaptureTiming
from installation.config import model as config
from installation.runtime.latest import Latest

# Attempts to open a camera that works again: one may have begun before it did.
AT_ONCE = 2
# Seconds; far beyond what anything here takes, on the slowest of machines.
LONG = 120.0
DEFAULT = CaptureTiming()


class UsbPorts:
    """A /dev directory into which webcams are plugged."""

    def __init__(self, dev):
        self.dev = dev
        for folder in ("by-id", "by-path"):
            (dev / "v4l" / folder).mkdir(parents=True)

    def plug(self, number, camera="usb-Acme_Eye_1", port="usb-0:1:1.0", metadata=None):
        """Plug a camera in under a number; its metadata node may have one, too."""
        links = [self.dev / "v4l/by-path" / port]
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
        """Set a camera's fault; None for no fault."""
        file = self.dev / f"video{number}.fault"
        new = file.with_suffix(".new")
        new.write_text(name or "")
        new.rename(file)


@pytest.fixture
def ports(tmp_path, monkeypatch):
    monkeypatch.setattr(v4l2, "DEV", tmp_path / "dev")
    return UsbPorts(tmp_path / "dev")


class Running:
    """A capture in its thread.

    Attributes
    ----------
    calls
        What it called, in order: ``open``, ``read`` and ``beat``.
    """

    def __init__(self, device, format_, timing):
        self.frames = Latest()
        self.calls = []
        camera = Camera(device, config.Camera(width=320, height=180, format=format_))
        for name in ("open", "read"):
            setattr(camera, name, self._recording(name, getattr(camera, name)))
        beat = self._recording("beat", lambda _more_s: None)
        self.capture = Capture(camera, self.frames, beat, timing)
        self.thread = threading.Thread(target=self.capture.run)

    def _recording(self, name, work):
        def recorded(*arguments):
            self.calls.append(name)
            return work(*arguments)

        return recorded

    def until(self, condition):
        end = time.monotonic() + LONG
        while not condition(self.capture.error):
            assert time.monotonic() < end, f"never happened; {self.capture.error}"
            time.sleep(0.002)

    def wait_for_attempt(self):
        """Wait until it tries to open the camera once more."""
        before = self.calls.count("open")
        self.until(lambda _: self.calls.count("open") > before)

    def frame(self):
        """Wait for a healthy frame captured from now on.

        Returns
        -------
        Frame, int
            The frame, and how many attempts to open the camera it took.
        """
        begun, opened = time.monotonic(), self.calls.count("open")
        version = 0
        while True:
            newest = self.frames.get(after=version, timeout=LONG)
            assert newest is not None, self.capture.error
            version, frame = newest
            if frame.captured_at > begun and self.capture.error is None:
                return frame, self.calls.count("open") - opened


@pytest.fixture
def start(ports):
    """Start captures, which end after the test."""
    started = []

    def start(device="video0", format_="yuyv", timing=DEFAULT):
        started.append(Running(ports.dev / device, format_, timing))
        started[-1].thread.start()
        return started[-1]

    yield start
    for each in started:
        each.capture.stop()
        each.thread.join(LONG)
        assert not each.thread.is_alive()
    assert held(ports.dev) == []


def held(dev):
    """Return the devices that are open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return [each for each in found if each.startswith(str(dev))]


@pytest.mark.parametrize("format_", ["yuyv", "mjpg"])
def test_a_camera_plugged_in_late_is_opened(ports, start, format_):
    running = start(format_=format_)
    running.until(lambda error: error and "no camera there; connected: none" in error)
    running.wait_for_attempt()
    ports.plug(0)
    frame, attempts = running.frame()
    assert attempts <= AT_ONCE
    assert (frame.width, frame.height) == (320, 180)
    assert frame.layout == ("YUYV" if format_ == "yuyv" else "BGR")


FAULTS = {
    "stalled": "has stopped sending frames",
    "broken": "its frames are incomplete",
    "dead": "does not respond; plug it in again",
    "green": "sends frames of a single colour",
    "frozen": "sends the same frame again and again",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_camera_is_reported_and_back_in_time(ports, start, fault, caplog):
    ports.plug(0)
    running = start()
    running.frame()
    ports.fault(0, fault)
    running.until(lambda error: error and FAULTS[fault] in error)
    if fault not in ("green", "frozen"):
        running.wait_for_attempt()
    # The error stays, with one log line.
    running.until(lambda error: error and "video0: " in error)
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    ports.fault(0, None)
    assert running.frame()[1] <= AT_ONCE
    assert running.capture.outages == 1
    # There is a heartbeat before each call that may block.
    for before, after in itertools.pairwise(running.calls):
        assert "beat" in (before, after)
    assert os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] == "1"


OPEN_ERRORS = {
    "busy": "in use by another program",
    "forbidden": "permission denied; add this user to the group video",
    "narrow": "not enough USB bandwidth",
    "metadata": "a camera's node for metadata, not for frames; connected: ",
}


@pytest.mark.parametrize("fault", OPEN_ERRORS)
def test_a_camera_that_cannot_be_opened_says_why(ports, start, fault):
    ports.plug(0)
    ports.fault(0, fault)
    running = start()
    running.until(lambda error: error and OPEN_ERRORS[fault] in error)
    running.wait_for_attempt()
    ports.fault(0, None)
    assert running.frame()[1] <= AT_ONCE


def test_a_covered_lens_is_no_fault(ports, start):
    ports.plug(0)
    running = start()
    running.frame()
    ports.fault(0, "covered")
    time.sleep(7)
    running.frame()
    assert running.capture.outages == 0


def test_a_camera_comes_back_under_another_number(ports, start):
    ports.plug(0, metadata=1)
    running = start()
    running.frame()
    for number in (2, 5, 0, 63):
        ports.unplug(*[int(node.name[5:]) for node in v4l2.nodes()])
        running.until(lambda error: error and "no camera there" in error)
        ports.plug(number, metadata=number + 1)
        assert running.frame()[1] <= AT_ONCE


@pytest.mark.parametrize("camera", ["usb-Acme_Eye_1", None])
def test_of_several_cameras_the_same_one_is_reopened(ports, start, camera, caplog):
    caplog.set_level("INFO")
    ports.plug(0, camera)
    ports.plug(1, "usb-Other_2", "usb-0:2:1.0")
    running = start()
    running.frame()
    link = "by-id/usb-Acme_Eye_1-video-index0" if camera else "by-path/usb-0:1:1.0-video-index0"
    hints = [record.message for record in caplog.records if "camera.source: " in record.message]
    assert len(hints) == 1
    assert hints[0].endswith(f"set camera.source: {ports.dev}/v4l/{link}")
    ports.unplug(0, 1)
    running.until(lambda error: error and "no camera there" in error)
    ports.plug(0, "usb-Other_2", "usb-0:2:1.0")
    running.wait_for_attempt()
    assert running.capture.error
    ports.plug(1, camera)
    assert running.frame()[1] <= AT_ONCE
    assert held(ports.dev) == [f"{ports.dev}/video1"]
    assert len([record for record in caplog.records if "camera.source: " in record.message]) == 1


def test_a_replacement_camera_is_accepted(ports, start):
    ports.plug(0)
    running = start()
    running.frame()
    ports.unplug(0)
    running.until(lambda error: error)
    ports.plug(1, "usb-New_3", "usb-0:4:1.0")
    assert running.frame()[1] <= AT_ONCE


@pytest.mark.parametrize(
    ("device", "number"), [("video0", 2), ("video1", 4), ("video2", 2), ("video4", 4)]
)
def test_a_number_is_that_of_a_node_or_else_an_index_of_webcams(ports, start, device, number):
    ports.plug(2, metadata=1)
    ports.plug(4, "usb-Other_2", "usb-0:2:1.0", metadata=5)
    start(device).frame()
    assert held(ports.dev) == [f"{ports.dev}/video{number}"]


def test_a_link_is_followed_whatever_its_number(ports, start):
    ports.plug(7)
    running = start("v4l/by-id/usb-Acme_Eye_1-video-index0")
    running.frame()
    ports.unplug(7)
    running.until(lambda error: error and "no camera there; connected: none" in error)
    ports.plug(3)
    assert running.frame()[1] <= AT_ONCE


def test_without_links_a_camera_is_identified_by_its_number(ports, start):
    (ports.dev / "video0").touch()
    running = start()
    running.frame()
    (ports.dev / "video0").unlink()
    running.until(lambda error: error)
    (ports.dev / "video0").touch()
    assert running.frame()[1] <= AT_ONCE


def test_a_device_is_closed_while_paused(ports, start):
    ports.plug(0)
    running = start()
    for _ in range(10):
        running.frame()
        running.capture.pause()
        running.until(lambda _: held(ports.dev) == [])
        running.capture.resume()
    assert running.frame()[1] <= AT_ONCE


@pytest.mark.parametrize("fault", ["unplugged", "renumbered", "broken", "dead", "stalled"])
def test_a_hundred_times_in_a_row(ports, start, fault):
    ports.plug(0)
    running = start(
        timing=CaptureTiming(backoff_min_s=0.01, backoff_max_s=0.01, frame_timeout_s=0.01)
    )
    running.frame()
    threads, files = threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))
    for index in range(100):
        number = index % 2 if fault == "renumbered" else 0
        if fault in ("unplugged", "renumbered"):
            ports.unplug(number)
        else:
            ports.fault(0, fault)
        running.until(lambda error: error)
        if fault in ("unplugged", "renumbered"):
            ports.plug(1 - number if fault == "renumbered" else 0)
        else:
            ports.fault(0, None)
        assert running.frame()[1] <= AT_ONCE
    assert running.capture.outages == 100
    assert threading.active_count() == threads
    assert len(list(Path("/proc/self/fd").iterdir())) == files
