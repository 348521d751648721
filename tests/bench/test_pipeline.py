"""What the benchmark of the whole chain shows, counts and reports; nothing of how fast."""

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from installation.bench import pipeline as chain
from installation.bench.measurements import Measurement
from installation.bench.simulated_camera import FPS, Driver, Footage, Webcam, film
from installation.capture.source import CaptureError
from tests.paths import ROOT
from tests.wall_process import LONG


@pytest.fixture(scope="module")
def footage(built):
    return film(built, (640, 360), 2)


class TestDriver:
    def test_nothing_comes_before_it_is_due(self):
        driver = Driver(began=10.0)
        assert driver.take(9.9) is None
        assert driver.due == 10.0
        assert driver.take(10.0) == 0
        assert driver.due == pytest.approx(10 + 1 / FPS)

    def test_a_quick_reader_gets_every_picture(self):
        driver = Driver(began=0.0)
        assert [driver.take(driver.due) for _ in range(100)] == list(range(100))

    def test_the_oldest_is_handed_out_first_and_what_finds_no_room_is_lost(self):
        driver = Driver(began=0.0)
        taken = [driver.take(1.0) for _ in range(5)]
        assert taken == [0, 1, 2, 3, None]
        assert driver.take(driver.due) == 31

    def test_a_slow_reader_sees_pictures_four_readings_old(self):
        driver = Driver(began=0.0)
        ages = [now - driver.captured_at(driver.take(now)) for now in np.arange(1, 11) / 10]
        assert all(0.3 <= age <= 0.4 for age in ages[4:])


class TestWebcam:
    def test_pictures_come_with_the_time_they_were_captured(self, footage):
        webcam = Webcam(footage)
        webcam.open()
        pictures = [webcam.read() for _ in range(3)]
        assert [picture.shape for picture in pictures] == [(360, 640, 3)] * 3
        assert len(webcam.captured) == 3
        assert webcam.captured == sorted(set(webcam.captured))
        webcam.close()
        with pytest.raises(CaptureError, match="not open"):
            webcam.read()

    def test_the_film_is_a_circle(self, footage):
        pictures = footage.pictures
        assert pictures[0] == pictures[-1]
        assert pictures == pictures[::-1]

    @pytest.mark.parametrize(("size", "faces"), [((1280, 720), 4), ((1920, 1080), 10)])
    def test_all_who_were_asked_for_can_be_seen(self, built, size, faces):
        from installation.bench.simulated_camera import _row
        from installation.capture.demo import Crowd

        crowd = Crowd(built, *size, _row(faces, size[0] / size[1]))
        for at_s in (0.0, 1.0, 2.5):
            truth = crowd.truth(at_s)
            assert len(truth) == faces
            assert all(face.visible > 0.9 for face in truth)


def test_a_picture_counts_once_and_only_when_all_is_warm():
    webcam = Webcam(Footage(()))
    webcam.captured = [0.0] * 9
    tally = Measurement(webcam, warm_up=0.0, seconds=0.0)
    assert tally.saw(None, None, None)
    assert tally.presented(5, 3, 1)
    assert tally.presented(5, 4, 1)
    assert tally.count is None
    assert not tally.presented(6, 4, 2)
    assert len(tally.count.ages) == len(tally.count.overlay_ages) == 1
    assert tally.count.boxes == 2


def test_each_way_shows_something(config, monkeypatch):
    monkeypatch.setattr(chain, "_WARM_UP", 0.0)
    monkeypatch.setattr(chain, "_ROUNDS", 1)
    said = []
    report = chain.measure(config, chain.Task((640, 360), 2, 1.0), said.append)
    assert len(said) == 4
    found = report.as_json()
    assert found.keys() == {"ours", "naive", "two_thread", "machine"}
    for name in ("ours", "naive", "two_thread"):
        way = found[name]
        assert way["shown_fps"] > 0
        assert way["cpu_ms_per_shown_frame"] > 0
        assert way["rss_mb"] > 0
        assert way["boxes"] > 0
        for key in ("age_ms", "overlay_age_ms"):
            assert 0 < way[key]["p50"] <= way[key]["p99"]
        assert way["age_ms"]["p50"] <= way["overlay_age_ms"]["p50"]
    table = report.as_text().splitlines()
    assert [line.split("  ")[0] for line in table[3:6]] == ["ours", "naive", "two thread"]


def test_what_it_started_ends_with_it(built, tmp_path):
    (tmp_path / "config.yaml").write_text(f"inference: {{engines: {built}, device: cpu}}\n")
    bench = subprocess.Popen(
        [sys.executable, "-m", "installation", "bench", "--size", "320x240", "--seconds", "60"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "LIBGL_ALWAYS_SOFTWARE": "1"},
        stderr=subprocess.DEVNULL,
    )
    until = monotonic() + 2 * LONG
    try:
        # At work once there is a window to draw on.
        started = []
        while not any("llvmpipe-0" in threads(pid) for pid in started):
            assert bench.poll() is None
            assert monotonic() < until
            sleep(0.1)
            started = children(bench.pid)
    finally:
        bench.kill()
        bench.wait()
    while any(running(pid) for pid in started):
        assert monotonic() < until
        sleep(0.1)


def threads(pid):
    return [path.read_text().strip() for path in Path(f"/proc/{pid}/task").glob("*/comm")]


def children(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found]


def running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    # One that has ended and that nobody has asked for yet is still listed.
    return state != "Z"
