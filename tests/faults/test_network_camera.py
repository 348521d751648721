"""Failing network cameras, over real sockets and OpenCV's FFmpeg backend."""

import contextlib
import threading
import time
from pathlib import Path

import pytest

from installation.capture.capture import Capture, CaptureTiming
from installation.capture.frame_health import HealthTiming
from installation.capture.stream import Stream
from installation.runtime.latest import Latest
from installation.runtime.redact import redact_url
from tests.faults.network_camera import NetworkCamera

# Attempts to open a camera that works again: one may have begun before it did.
AT_ONCE = 2
# Seconds; far beyond what anything here takes, on the slowest of machines.
LONG = 120.0
DEFAULT = CaptureTiming()
FILES = Path("/proc/self/fd")


@pytest.fixture
def camera():
    camera = NetworkCamera()
    yield camera
    camera.fault = None
    camera.switch_off()


class Opened(Stream):
    """A stream that counts attempts to open it."""

    attempts = 0

    def open(self):
        self.attempts += 1
        super().open()


class Running:
    """A capture in its thread."""

    def __init__(self, camera, timing=DEFAULT, **options):
        self.frames = Latest()
        self.stream = Opened(camera.url, **options)
        self.capture = Capture(self.stream, self.frames, timing=timing)
        self.thread = threading.Thread(target=self.capture.run)
        self.thread.start()

    def stop(self):
        self.capture.stop()
        self.thread.join(LONG)
        assert not self.thread.is_alive()

    def wait_for_outage(self):
        until(lambda: self.capture.error)

    def wait_for_attempt(self):
        """Wait until it tries to open the stream once more."""
        before = self.stream.attempts
        until(lambda: self.stream.attempts > before)

    def frame(self):
        """Wait for a healthy frame captured from now on; return the attempts that took."""
        begun, attempts = time.monotonic(), self.stream.attempts
        version = 0
        while True:
            newest = self.frames.get(after=version, timeout=LONG)
            assert newest is not None, self.capture.error
            version, frame = newest
            if frame.captured_at > begun and self.capture.error is None:
                return self.stream.attempts - attempts


@pytest.fixture
def running(camera):
    """Captures the camera."""
    running = Running(camera)
    yield running
    running.stop()


def until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)


def files():
    """Return number and target of each open file."""
    found = set()
    for link in FILES.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add((link.name, str(link.readlink())))
    return {each for each in found if not each[1].startswith("/proc/")}


@pytest.fixture
def others():
    """What other tests have left open and running, which may end at any time."""
    return files(), set(threading.enumerate())


@pytest.fixture
def held(others, camera):
    """How many files and threads there are besides the camera's and those of others."""

    def count():
        of_camera = camera.held
        now = files() - others[0], set(threading.enumerate()) - others[1]
        return tuple(len(each) - its for each, its in zip(now, of_camera, strict=True))

    return count


def fail(camera, fault):
    if fault in ("off", "reset"):
        camera.switch_off(reset=fault == "reset")
        return
    camera.fault = fault
    if fault in ("refuses", "hangs"):
        camera.disconnect()


def repair(camera, fault):
    camera.fault = None
    if fault in ("off", "reset"):
        camera.switch_on()


FAULTS = {
    "off": "the stream broke off|no stream",
    "reset": "the stream broke off|no stream",
    "mute": "the stream broke off",
    "hangs": "the stream broke off|no stream",
    "refuses": "the stream broke off|no stream",
    "garbage": "the stream broke off|no stream",
    "green": "sends frames of a single colour",
    "frozen": "sends the same frame again and again",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_network_camera_is_reported_and_back_at_once(camera, running, fault, capfd):
    running.frame()
    fail(camera, fault)
    running.wait_for_outage()
    if fault not in ("green", "frozen"):
        running.wait_for_attempt()
    error = running.capture.error
    assert any(each in error for each in FAULTS[fault].split("|"))
    assert redact_url(camera.url) in error
    repair(camera, fault)
    assert running.frame() <= AT_ONCE
    assert running.capture.outages == 1
    # The libraries have more to say, and do not say it.
    assert capfd.readouterr().err == ""


def test_truncated_frames_are_no_outage(camera, running, capfd):
    running.frame()
    sent = camera.sent
    camera.fault = "broken"
    until(lambda: camera.sent > sent + 100)
    camera.fault = None
    assert running.frame() <= AT_ONCE
    assert capfd.readouterr().err == ""


def test_a_network_camera_that_comes_late_is_opened(camera):
    camera.switch_off()
    running = Running(camera)
    running.wait_for_outage()
    assert "no stream; check address, user and password" in running.capture.error
    camera.switch_on()
    assert running.frame() <= AT_ONCE
    running.stop()


@pytest.mark.parametrize("fault", ["hangs", "mute"])
def test_it_stops_while_a_network_camera_hangs(camera, running, fault):
    running.frame()
    fail(camera, fault)
    time.sleep(0.5)
    # The fixture does the rest.


@pytest.mark.endurance
@pytest.mark.parametrize("fault", ["off", "reset", "garbage", "refuses", "green", "frozen", "mute"])
def test_a_hundred_times_in_a_row(held, camera, fault):
    timing = CaptureTiming(
        backoff_min_s=0.01,
        backoff_max_s=0.01,
        health=HealthTiming(checks_per_s=1000.0, uniform_after_s=0.05, frozen_after_s=0.1),
    )
    running = Running(camera, timing, **({"timeout_ms": 300} if fault == "mute" else {}))
    try:
        _fail_a_hundred_times(held, camera, running, fault)
    finally:
        running.stop()


def _fail_a_hundred_times(held, camera, running, fault):
    running.frame()
    before = held()
    for _ in range(100):
        fail(camera, fault)
        running.wait_for_outage()
        repair(camera, fault)
        running.frame()
    # A busy machine may keep a working camera mute for that long.
    assert running.capture.outages == 100 or (fault == "mute" and running.capture.outages > 100)
    # What the camera holds comes and goes with its connections.
    until(lambda: held() == before)
