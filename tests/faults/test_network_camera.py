"""Network cameras that fail: real sockets, FFmpeg inside OpenCV, the public Capture and Stream."""

import contextlib
import threading
import time
from pathlib import Path

import pytest
from faults.network_camera import NetworkCamera

from installation.capture import capture as capturing
from installation.capture import health, stream
from installation.capture.capture import Capture
from installation.capture.stream import Stream
from installation.handover import Latest
from installation.redact import redact_url

PROMPT = 3.0
FILES = Path("/proc/self/fd")


@pytest.fixture
def camera():
    camera = NetworkCamera()
    yield camera
    camera.fault = None
    camera.switch_off()


@pytest.fixture
def capture(camera):
    """Captures the camera; with it, the frames."""
    frames = Latest()
    capture = Capture(Stream(camera.url), frames)
    thread = threading.Thread(target=capture.run)
    thread.start()
    yield capture, frames
    capture.stop()
    thread.join(20)
    assert not thread.is_alive()


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)


def picture(capture, frames):
    """Wait for one that is captured from now on and in no doubt; return how long it took."""
    begun = time.monotonic()
    version = 0
    while True:
        newest = frames.get(after=version, timeout=20)
        assert newest is not None, capture.trouble
        version, frame = newest
        if frame.captured_at > begun and capture.trouble is None:
            return time.monotonic() - begun


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
def test_a_network_camera_that_fails_is_told_of_and_back_in_time(camera, capture, fault, capfd):
    capture, frames = capture
    picture(capture, frames)
    fail(camera, fault)
    until(lambda: capture.trouble)
    time.sleep(1.3)
    assert any(each in capture.trouble for each in FAULTS[fault].split("|"))
    assert redact_url(camera.url) in capture.trouble
    mend(camera, fault)
    assert picture(capture, frames) < PROMPT
    assert capture.losses == 1
    # The libraries have more to say, and do not say it.
    assert capfd.readouterr().err == ""


def test_pictures_that_are_cut_short_end_nothing(camera, capture, capfd):
    capture, frames = capture
    picture(capture, frames)
    camera.fault = "broken"
    time.sleep(2)
    camera.fault = None
    assert picture(capture, frames) < PROMPT
    assert capfd.readouterr().err == ""


def test_a_network_camera_that_comes_late_is_found(camera):
    camera.switch_off()
    frames = Latest()
    capture = Capture(Stream(camera.url), frames)
    thread = threading.Thread(target=capture.run)
    thread.start()
    until(lambda: capture.trouble)
    assert "no stream there; check address, user and password" in capture.trouble
    camera.switch_on()
    assert picture(capture, frames) < PROMPT
    capture.stop()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("fault", ["hangs", "mute"])
def test_it_stops_while_a_network_camera_hangs(camera, capture, fault):
    capture, frames = capture
    picture(capture, frames)
    fail(camera, fault)
    time.sleep(0.5)
    # The fixture does the rest.


@pytest.mark.parametrize("fault", ["off", "reset", "garbage", "refuses", "green", "frozen", "mute"])
def test_a_hundred_times_in_a_row(held, camera, capture, fault, monkeypatch):
    monkeypatch.setattr(capturing, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(capturing, "_LAST_WAIT", 0.01)
    monkeypatch.setattr(stream, "_STREAM_TIMEOUT", 500)
    monkeypatch.setattr(health, "_LOOKS", 1000.0)
    monkeypatch.setattr(health, "_EVEN", 0.05)
    monkeypatch.setattr(health, "_FROZEN", 0.1)
    capture, frames = capture
    capture.use(Stream(camera.url))
    picture(capture, frames)
    before = held()
    for _ in range(100):
        fail(camera, fault)
        until(lambda: capture.trouble)
        mend(camera, fault)
        assert picture(capture, frames) < PROMPT
    assert capture.losses == 100
    # What the camera holds comes and goes with its connections.
    until(lambda: held() == before)
