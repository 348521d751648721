"""The loop, with a source whose faults are chosen."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from installation.capture.capture import Capture, CaptureTiming
from installation.capture.frame_health import HealthTiming
from installation.capture.source import CaptureError, FrameTimeoutError
from installation.runtime.latest import Closed, Latest

PIXELS = np.zeros((2, 2, 3), np.uint8)
GONE = CaptureError("scripted: gone")
SILENT = FrameTimeoutError("scripted: silent")
FILES = Path("/proc/self/fd")
# Seconds; far beyond what anything here takes, on the slowest of machines.
LONG = 120.0
# Retries that take no time, and retries so far apart that no test waits for one.
HURRIED = CaptureTiming(backoff_min_s=0.001)
PATIENT = CaptureTiming(10 * LONG, 10 * LONG, 10 * LONG, 10 * LONG)
DEFAULT = CaptureTiming()


class Source:
    """Returns or raises the items of a script, one per read; the last one repeatedly."""

    name = "scripted"

    def __init__(self, script, interval_s=None, opens=(None,)):
        self.interval_s = interval_s
        self.script = list(script)
        self.opens = list(opens)
        self.opened = 0
        self.closed = 0
        self.is_open = False

    def _next(self, items):
        item = items.pop(0) if len(items) > 1 else items[0]
        if isinstance(item, Exception):
            raise item
        return item

    def open(self):
        self.opened += 1
        self._next(self.opens)
        self.is_open = True

    def read(self):
        assert self.is_open
        if self.interval_s is None:
            time.sleep(0.001)
        return self._next(self.script)

    def close(self):
        self.closed += 1
        self.is_open = False


def reading(name="scripted"):
    source = Source([PIXELS])
    source.name = name
    return source


def absent():
    return Source([PIXELS], opens=[GONE])


def silent():
    source = Source([SILENT])
    source.read = lambda: time.sleep(0.1) or source._next(source.script)
    return source


def until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.001)


class Running:
    """A capture in its thread, which always ends."""

    def __init__(self, source, timing=DEFAULT):
        self.frames = Latest()
        self.beats = 0
        self.capture = Capture(source, self.frames, self._beat, timing)
        self.thread = threading.Thread(target=self.capture.run)

    def _beat(self, _more_s):
        self.beats += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.capture.stop()
        self.thread.join(LONG)
        assert not self.thread.is_alive()

    def frame(self):
        """Wait for a frame that is captured from now on."""
        now = time.monotonic()
        version = 0
        while True:
            version, frame = self.frames.get(after=version, timeout=LONG)
            if frame.captured_at >= now:
                return frame


def test_frames_are_numbered_and_timed_and_end_with_the_video():
    frames = Latest()
    source = Source([PIXELS, PIXELS, PIXELS, None])
    before = time.monotonic()
    Capture(source, frames).run()
    version, frame = frames.get(after=0)
    assert (version, frame.seq, frames.dropped) == (3, 2, 2)
    assert before <= frame.captured_at <= time.monotonic()
    assert not source.is_open
    with pytest.raises(Closed):
        frames.get(after=version)


def test_a_lost_camera_is_closed_and_comes_back(caplog):
    caplog.set_level("INFO")
    still_gone = CaptureError("scripted: still gone")
    source = Source([PIXELS, GONE, PIXELS, None], opens=[None, still_gone, still_gone, None])
    frames = Latest()
    capture = Capture(source, frames, timing=HURRIED)
    capture.run()
    assert frames.get(after=0)[1].seq == 1
    assert source.opened == 4
    # Closed before each attempt: a device that stays open comes back under another number.
    assert source.closed == 4
    assert (capture.error, capture.outages) == (None, 1)
    lost, back = (record.message for record in caplog.records)
    assert lost == "scripted: gone"
    assert back.startswith("scripted: back after ")


def test_a_camera_that_is_missing_at_the_start_is_waited_for():
    source = Source([PIXELS], opens=[GONE, GONE, GONE, None])
    with Running(source, HURRIED) as it:
        it.frame()
        assert (source.opened, it.capture.outages, it.capture.error) == (4, 1, None)


def test_a_video_that_is_missing_at_the_start_is_an_error():
    frames = Latest()
    with pytest.raises(CaptureError, match="scripted: gone"):
        Capture(Source([PIXELS], interval_s=1 / 30, opens=[GONE]), frames).run()
    with pytest.raises(Closed):
        frames.get(after=0)


def test_a_video_that_was_there_once_is_waited_for():
    source = Source([PIXELS, GONE, PIXELS], interval_s=0.01, opens=[None, GONE, GONE, None])
    with Running(source, HURRIED) as it:
        until(lambda: source.opened == 4)
        it.frame()


def test_a_camera_that_opens_but_sends_nothing_is_reopened_ever_less_often():
    timing = CaptureTiming(backoff_min_s=0.01, backoff_max_s=0.1)
    source = Source([GONE])
    left, came = [], []
    opens, closes = source.open, source.close
    source.open = lambda: came.append(time.monotonic()) or opens()
    source.close = lambda: left.append(time.monotonic()) or closes()
    with Running(source, timing) as it:
        until(lambda: source.opened == 8)
        assert it.capture.outages == 1
    waits = np.array(came[1:8]) - left[:7]
    # Never sooner than asked; how much later is the machine's affair.
    assert (waits > [0.009, 0.019, 0.039, 0.079, 0.099, 0.099, 0.099]).all()


def test_waiting_for_a_camera_is_cheap():
    source = absent()
    with Running(source) as it:
        until(lambda: source.opened == 5)
        # One to open it, one or two while it is waited for.
        assert it.beats <= 3 * source.opened


STATES = {"reading": reading, "waiting": absent, "silent": silent, "paused": reading}


def in_state(name, timing):
    """Run a capture in one of its states."""
    source = STATES[name]()
    with Running(source, timing) as it:
        if name == "waiting":
            until(lambda: it.capture.error)
        else:
            until(lambda: source.is_open)
        if name == "paused":
            it.capture.pause()
            until(lambda: not source.is_open)
        it.source = source
        it.state = name
        yield it


@pytest.fixture(params=STATES)
def running(request):
    yield from in_state(request.param, CaptureTiming())


@pytest.fixture(params=STATES)
def patient(request):
    yield from in_state(request.param, PATIENT)


def test_it_stops_in_every_state(patient):
    running = patient
    running.stop()
    assert not running.source.is_open
    with pytest.raises(Closed):
        running.frames.get(after=running.frames.get(after=0)[0] if running.frames._version else 0)


def test_it_sends_heartbeats_in_every_state(patient):
    beats = patient.beats
    until(lambda: patient.beats >= beats + 2)


def test_it_pauses_and_resumes_in_every_state(running):
    running.capture.pause()
    until(lambda: not running.source.is_open)
    # A source that is switched off is not lost.
    until(lambda: running.capture.error is None)
    opened = running.source.opened
    time.sleep(0.6)
    assert running.source.opened == opened
    running.source.opens = [None]
    running.source.script = [PIXELS]
    running.capture.resume()
    running.frame()
    assert running.source.opened == opened + 1


def test_it_changes_to_another_source_in_every_state(running):
    other = reading("other")
    running.capture.set_source(other)
    if running.state == "paused":
        time.sleep(0.2)
        assert not other.opened
        running.capture.resume()
    running.frame()
    until(lambda: other.is_open)
    assert not running.source.is_open
    assert (running.capture.name, running.capture.error) == ("other", None)


def test_another_source_that_is_missing_counts_as_lost():
    with Running(reading()) as it:
        it.frame()
        it.capture.set_source(Source([PIXELS], interval_s=1 / 30, opens=[GONE]))
        until(lambda: it.capture.error == "scripted: gone")
        it.capture.set_source(reading("third"))
        it.frame()
        assert (it.capture.error, it.capture.outages) == (None, 1)


def test_another_source_replaces_a_camera_that_never_was_there():
    with Running(absent()) as it:
        video = Source([PIXELS], interval_s=1 / 30, opens=[GONE])
        it.capture.set_source(video)
        until(lambda: video.opened and it.capture.error)
        it.capture.set_source(reading())
        it.frame()


def test_of_many_requests_the_last_one_counts():
    sources = [reading(f"number {index}") for index in range(200)]
    with Running(reading()) as it:
        for index, source in enumerate(sources):
            it.capture.set_source(source)
            (it.capture.pause, it.capture.resume)[index % 2]()
        until(lambda: sources[-1].is_open)
        it.frame()
    assert not any(source.is_open for source in sources)


def test_a_camera_that_stops_sending_is_lost():
    source = Source([PIXELS] + [SILENT] * 10_000)
    with Running(source, CaptureTiming(frame_timeout_s=0.3)) as it:
        until(lambda: it.capture.error == "scripted: silent")
        source.script = [PIXELS]
        it.frame()
        until(lambda: it.capture.error is None)


def test_a_camera_that_is_slow_between_frames_is_not_lost():
    source = Source([SILENT, SILENT, PIXELS, SILENT, PIXELS, None])
    timing = CaptureTiming(first_frame_timeout_s=LONG, frame_timeout_s=LONG)
    capture = Capture(source, Latest(), timing=timing)
    capture.run()
    assert (source.opened, capture.outages) == (1, 0)


def test_a_hundred_outages_leave_nothing_behind():
    source = Source(([PIXELS] * 3 + [GONE]) * 100 + [PIXELS], opens=[None, GONE] * 100 + [None])
    threads = threading.active_count()
    files = len(list(FILES.iterdir()))
    with Running(source, HURRIED) as it:
        until(lambda: len(source.script) == 1 and it.capture.error is None)
        it.frame()
        assert it.capture.outages == 100
        assert threading.active_count() == threads + 1
    assert threading.active_count() == threads
    assert len(list(FILES.iterdir())) == files


def test_frozen_frames_are_shown_and_the_source_reopened_once():
    health = HealthTiming(checks_per_s=1000.0, frozen_after_s=0.2)
    timing = CaptureTiming(backoff_min_s=0.001, health=health)
    still = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    source = Source([still])
    with Running(source, timing) as it:
        until(lambda: source.opened == 2)
        it.frame()
        time.sleep(0.5)
        assert source.opened == 2
        assert "same frame again and again" in it.capture.error
        it.frame()
        source.script = [still, 255 - still] * 100_000
        until(lambda: it.capture.error is None)
        assert it.capture.outages == 1


def test_a_video_that_is_slower_than_its_rate_is_still_shown(monkeypatch):
    """Frames are skipped to catch up, but never two in a row."""
    source = Source([PIXELS] * 40 + [None], interval_s=0.001)
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
