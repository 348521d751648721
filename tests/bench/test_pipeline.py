"""What the pipeline benchmark shows, counts and reports; no test asserts a speed."""

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from installation.bench.measurements import Measurement
from installation.bench.pipeline import Task, measure
from installation.bench.simulated_camera import (
    FPS,
    DriverQueue,
    Footage,
    SimulatedCamera,
    record_footage,
    row_of_visitors,
)
from installation.capture.source import CaptureError
from tests.paths import ROOT
from tests.wall_process import LONG


@pytest.fixture(scope="module")
def footage(built):
    return record_footage(built, (640, 360), 2)


class TestDriverQueue:
    def test_no_frame_comes_before_it_is_captured(self):
        driver = DriverQueue(started_at=10.0)
        assert driver.take(9.9) is None
        assert driver.next_at == 10.0
        assert driver.take(10.0) == 0
        assert driver.next_at == pytest.approx(10 + 1 / FPS)

    def test_a_fast_reader_gets_every_frame(self):
        driver = DriverQueue(started_at=0.0)
        assert [driver.take(driver.next_at) for _ in range(100)] == list(range(100))

    def test_the_oldest_frame_comes_first_and_frames_without_a_buffer_are_dropped(self):
        driver = DriverQueue(started_at=0.0)
        taken = [driver.take(1.0) for _ in range(5)]
        assert taken == [0, 1, 2, 3, None]
        assert driver.take(driver.next_at) == 31

    def test_a_slow_reader_gets_frames_four_reads_old(self):
        driver = DriverQueue(started_at=0.0)
        ages = [now - driver.captured_at(driver.take(now)) for now in np.arange(1, 11) / 10]
        assert all(0.3 <= age <= 0.4 for age in ages[4:])


class TestSimulatedCamera:
    def test_each_frame_has_its_capture_time(self, footage):
        camera = SimulatedCamera(footage)
        camera.open()
        frames = [camera.read() for _ in range(3)]
        assert [frame.shape for frame in frames] == [(360, 640, 3)] * 3
        assert len(camera.captured_at) == 3
        assert camera.captured_at == sorted(set(camera.captured_at))
        camera.close()
        with pytest.raises(CaptureError, match="not open"):
            camera.read()

    def test_the_footage_is_a_loop(self, footage):
        frames = footage.frames
        assert frames[0] == frames[-1]
        assert frames == frames[::-1]

    @pytest.mark.parametrize(("size", "faces"), [((1280, 720), 4), ((1920, 1080), 10)])
    def test_all_faces_are_visible(self, built, size, faces):
        from installation.capture.demo import Crowd

        crowd = Crowd(built, *size, row_of_visitors(faces, size[0] / size[1]))
        for at_s in (0.0, 1.0, 2.5):
            truth = crowd.truth(at_s)
            assert len(truth) == faces
            assert all(face.visible > 0.9 for face in truth)


def test_a_frame_counts_once_and_only_after_the_warm_up():
    camera = SimulatedCamera(Footage(()))
    camera.captured_at = [0.0] * 9
    measurement = Measurement(camera, warm_up_s=0.0, duration_s=0.0)
    assert measurement.on_frame(None, None, None)
    assert measurement.presented(5, 3, 1)
    assert measurement.presented(5, 4, 1)
    assert measurement.sample is None
    assert not measurement.presented(6, 4, 2)
    assert len(measurement.sample.ages_s) == len(measurement.sample.overlay_ages_s) == 1
    assert measurement.sample.boxes == 2


def test_each_variant_shows_frames_with_boxes(config):
    messages = []
    task = Task((640, 360), 2, 1.0, warm_up_s=0.0, rounds=1)
    report = measure(config, task, messages.append)
    assert len(messages) == 4
    found = report.as_json()
    assert found.keys() == {"ours", "naive", "two_thread", "machine"}
    for name in ("ours", "naive", "two_thread"):
        figures = found[name]
        assert figures["shown_fps"] > 0
        assert figures["cpu_ms_per_shown_frame"] > 0
        assert figures["rss_mb"] > 0
        assert figures["boxes"] > 0
        for key in ("age_ms", "overlay_age_ms"):
            assert 0 < figures[key]["p50"] <= figures[key]["p99"]
        assert figures["age_ms"]["p50"] <= figures["overlay_age_ms"]["p50"]
    table = report.as_text().splitlines()
    assert [line.split("  ")[0] for line in table[3:6]] == ["ours", "naive", "two thread"]


def test_its_processes_end_with_it(built, tmp_path):
    (tmp_path / "config.yaml").write_text(f"inference: {{engines: {built}, device: cpu}}\n")
    bench = subprocess.Popen(
        [sys.executable, "-m", "installation", "bench", "--size", "320x240", "--seconds", "60"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "LIBGL_ALWAYS_SOFTWARE": "1"},
        stderr=subprocess.DEVNULL,
    )
    until = monotonic() + 2 * LONG
    try:
        # It is measuring once there is a window to render to.
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
    # A zombie is still listed.
    return state != "Z"
