"""The loop, with a source whose faults are chosen."""

import threading
import time

import numpy as np
import pytest

from installation.capture import capture as capturing
from installation.capture.capture import Capture
from installation.capture.source import CaptureError
from installation.handover import Closed, Latest


class Source:
    """Gives what it is told to, one thing a read: a picture, None or an error."""

    name = "scripted"

    def __init__(self, script, pace=None, opens=()):
        self.pace = pace
        self.script = list(script)
        self.opens = list(opens)
        self.opened = 0
        self.closed = 0

    def open(self):
        self.opened += 1
        if self.opens and (error := self.opens.pop(0)):
            raise error

    def read(self):
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        return item

    def close(self):
        self.closed += 1


PICTURE = np.zeros((2, 2, 3), np.uint8)


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(capturing, "_FIRST_WAIT", 0.001)


def test_pictures_are_numbered_timed_and_end_with_the_film():
    frames = Latest()
    source = Source([PICTURE, PICTURE, PICTURE, None])
    before = time.monotonic()
    Capture(source, frames).run()
    version, frame = frames.get(after=0)
    assert (version, frame.seq, frames.dropped) == (3, 2, 2)
    assert before <= frame.captured_at <= time.monotonic()
    assert source.closed
    with pytest.raises(Closed):
        frames.get(after=version)


def test_a_lost_camera_is_let_go_and_comes_back(caplog):
    caplog.set_level("INFO")
    gone = CaptureError("scripted: gone")
    still_gone = CaptureError("scripted: still gone")
    source = Source([PICTURE, gone, PICTURE, None], opens=[still_gone, still_gone, None])
    frames = Latest()
    capture = Capture(source, frames)
    capture.run()
    assert frames.get(after=0)[1].seq == 1
    assert source.opened == 3
    # Let go before each attempt: a device held open comes back under another number.
    assert source.closed >= 3
    assert [record.message for record in caplog.records] == ["scripted: gone", "scripted: back"]


def test_a_camera_that_opens_but_gives_nothing_is_asked_ever_less_often(caplog, monkeypatch):
    waits = []
    script = [CaptureError("nothing")] * 9 + [PICTURE, None]
    capture = Capture(Source(script), Latest())
    monkeypatch.setattr(capture._stop, "wait", waits.append)
    capture.run()
    pauses = [wait for wait in waits if wait]
    assert len(pauses) == 9
    assert pauses == sorted(pauses)
    assert pauses[-1] > 100 * pauses[0]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "nothing"
    ]


def test_stopping_ends_even_while_the_camera_is_lost():
    source = Source([CaptureError("gone")], opens=[CaptureError("gone")] * 10_000)
    capture = Capture(source, Latest())
    thread = threading.Thread(target=capture.run)
    thread.start()
    while not source.opened:
        time.sleep(0.001)
    capture.stop()
    thread.join(15)
    assert not thread.is_alive()


def test_a_film_slower_than_its_pace_is_still_shown(monkeypatch):
    """Pictures are left out to catch up, but never two in a row."""
    source = Source([PICTURE] * 40 + [None], pace=1000.0)
    read = source.read

    def slowly():
        time.sleep(0.005)
        return read()

    source.read = slowly
    shown = []
    frames = Latest()
    monkeypatch.setattr(frames, "put", lambda frame: shown.append(frame.seq))
    Capture(source, frames).run()
    assert len(shown) >= 20
    assert max(np.diff(shown)) == 2
