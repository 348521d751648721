"""Network cameras that fail: real sockets, FFmpeg inside OpenCV, the public Capture and Stream."""

import contextlib
import threading
import time
from pathlib import Path

import pytest

from installation.capture import capture as capturing
from installation.capture import frame_health as health
from installation.capture import stream
from installation.capture.capture import Capture
from installation.capture.stream import Stream
from installation.runtime.latest import Latest
from installation.runtime.redact import redact_url
from tests.faults.network_camera import NetworkCamera

# Attempts to open a camera that is well again: one may have begun before it was.
AT_ONCE = 2
# Seconds; far beyond what anything here takes, on the slowest of machines.
LONG = 120.0
FILES = Path("/proc/self/fd")


@pytest.fixture
def camera():
    camera = NetworkCamera()
    yield camera
    camera.fault = None
    camera.switch_off()


class Opened(Stream):
    """A stream that counts how often it is opened, or tried to be."""

    attempts = 0

    def open(self):
        self.attempts += 1
        super().open()


class Running:
    """A capture in its thread."""

    def __init__(self, camera):
        self.frames = Latest()
        self.stream = Opened(camera.url)
        self.capture = Capture(self.stream, self.frames)
        self.thread = threading.Thread(target=self.capture.run)
        self.thread.start()

    def stop(self):
        self.capture.stop()
        self.thread.join(LONG)
        assert not self.thread.is_alive()

    def until_trouble(self):
        until(lambda: self.capture.trouble)

    def tries_again(self):
        """Wait until it tries to open the stream once more."""
        before = self.stream.attempts
        until(lambda: self.stream.attempts > before)

    def picture(self):
        """Wait for one captured from now on and in no doubt; return how many attempts it took."""
        begun, attempts = time.monotonic(), self.stream.attempts
        version = 0
        while True:
            newest = self.frames.get(after=version, timeout=LONG)
            assert newest is not None, self.capture.trouble
            version, frame = newest
            if frame.captured_at > begun and self.capture.trouble is None:
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
        camera.tear()


def mend(camera, fault):
    camera.fault = None
    if fault in ("off", "reset"):
        camera.switch_on()


FAULTS = {
    "off": "the stream has broken off|no stream there",
    "reset": "the stream has broken off|no stream there",
    "mute": "the stream has broken off",
    "hangs": "the stream has broken off|no stream there",
    "refuses": "the stream has broken off|no stream there",
    "garbage": "the stream has broken off|no stream there",
    "green": "sends pictures of a single colour",
    "frozen": "sends the same picture again and again",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_network_camera_that_fails_is_told_of_and_back_at_once(camera, running, fault, capfd):
    running.picture()
    fail(camera, fault)
    running.until_trouble()
    if fault not in ("green", "frozen"):
        running.tries_again()
    trouble = running.capture.trouble
    assert any(each in trouble for each in FAULTS[fault].split("|"))
    assert redact_url(camera.url) in trouble
    mend(camera, fault)
    assert running.picture() <= AT_ONCE
    assert running.capture.losses == 1
    # The libraries have more to say, and do not say it.
    assert capfd.readouterr().err == ""


def test_pictures_that_are_cut_short_end_nothing(camera, running, capfd):
    running.picture()
    sent = camera.sent
    camera.fault = "broken"
    until(lambda: camera.sent > sent + 100)
    camera.fault = None
    assert running.picture() <= AT_ONCE
    assert capfd.readouterr().err == ""


def test_a_network_camera_that_comes_late_is_found(camera):
    camera.switch_off()
    running = Running(camera)
    running.until_trouble()
    assert "no stream there; check address, user and password" in running.capture.trouble
    camera.switch_on()
    assert running.picture() <= AT_ONCE
    running.stop()


@pytest.mark.parametrize("fault", ["hangs", "mute"])
def test_it_stops_while_a_network_camera_hangs(camera, running, fault):
    running.picture()
    fail(camera, fault)
    time.sleep(0.5)
    # The fixture does the rest.


@pytest.mark.parametrize("fault", ["off", "reset", "garbage", "refuses", "green", "frozen", "mute"])
def test_a_hundred_times_in_a_row(held, camera, running, fault, monkeypatch):
    monkeypatch.setattr(capturing, "_BACKOFF_MIN_S", 0.01)
    monkeypatch.setattr(capturing, "_BACKOFF_MAX_S", 0.01)
    if fault == "mute":
        monkeypatch.setattr(stream, "_STREAM_TIMEOUT", 1000)
    monkeypatch.setattr(health, "_LOOKS", 1000.0)
    monkeypatch.setattr(health, "_UNIFORM_AFTER_S", 0.05)
    monkeypatch.setattr(health, "_FROZEN", 0.1)
    running.stream = Opened(camera.url)
    running.capture.use(running.stream)
    running.picture()
    before = held()
    for _ in range(100):
        fail(camera, fault)
        running.until_trouble()
        mend(camera, fault)
        running.picture()
    # On a machine that is busy, one that is well may seem mute for a second.
    assert running.capture.losses == 100 or (fault == "mute" and running.capture.losses > 100)
    # What the camera holds comes and goes with its connections.
    until(lambda: held() == before)
