"""The checks of the camera: OpenCV's own code over a fake driver."""

import json
import subprocess

import pytest

from installation.checks.camera import check_camera
from installation.config.model import Camera, Config
from tests.fake_v4l2 import needs_compiler, preloaded, run_over

pytestmark = needs_compiler
# The fake driver delivers frames at the rate it is asked for.
FAST = "source: 0, width: 640, height: 480, fps: 60"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return preloaded(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def folder(tmp_path):
    by_id = tmp_path / "dev" / "v4l" / "by-id"
    by_id.mkdir(parents=True)
    for number in range(2):
        (tmp_path / "dev" / f"video{number}").touch()
        (by_id / f"usb-Acme_{number}-index0").symlink_to(tmp_path / "dev" / f"video{number}")
    return tmp_path


CHECK = """
import json
from installation.checks.camera import check_camera, check_camera_name
from installation.checks.isolated import collect_findings
from installation.config.loader import load
config = load("config.yaml")
findings = [
    finding
    for name, check in (("camera", check_camera), ("camera name", check_camera_name))
    for finding in collect_findings(name, lambda: check(config))
]
print(json.dumps([finding.as_json() for finding in findings]))
"""


def findings(folder, driver, camera, *names):
    """Run the checks of the camera; return the findings with some names."""
    (folder / "config.yaml").write_text(f"camera: {{{camera}}}\nrecord: {{file: null}}\n")
    ran = run_over(folder, driver, CHECK)
    assert ran.returncode == 0, ran.stderr
    return [each for each in json.loads(ran.stdout) if each["check"] in names]


def test_a_working_camera_is_measured(folder, driver):
    seen = findings(folder, driver, f"{FAST}, format: yuyv", "camera", "exposure")
    assert [each["level"] for each in seen][1] == "ok"
    assert seen[0]["message"].startswith(f"{folder}/dev/video0: 640 x 480 at ")
    assert "of full brightness" in seen[1]["message"]


def test_a_slow_camera_has_a_remedy(folder, driver):
    asked = "source: 0, width: 640, height: 480, fps: 240, format: yuyv"
    (seen,) = findings(folder, driver, asked, "camera")
    assert seen["level"] == "warning"
    assert "instead of 240" in seen["message"] and "camera.format" in seen["remedy"]


@pytest.mark.parametrize(
    ("fault", "check", "level", "message"),
    [
        ("covered", "exposure", "warning", "too dark"),
        ("green", "exposure", "warning", "single colour"),
        ("busy", "camera", "error", "in use by another program; close that program"),
        ("forbidden", "camera", "error", "add this user to the group video"),
        ("narrow", "camera", "error", "USB bandwidth"),
        ("dead", "camera", "error", "plug it in again"),
        ("stalled", "camera", "error", "stopped sending frames"),
    ],
)
def test_a_failing_camera_has_a_remedy(folder, driver, fault, check, level, message):
    (folder / "dev" / "video0.fault").write_text(fault)
    (seen,) = findings(folder, driver, FAST, check)
    assert seen["level"] == level
    assert message in f"{seen['message']}; {seen['remedy']}"


def test_with_several_cameras_a_number_is_not_a_stable_name(folder, driver):
    (seen,) = findings(folder, driver, FAST, "camera name")
    assert seen["level"] == "warning"
    assert seen["remedy"] == f"set camera.source: {folder}/dev/v4l/by-id/usb-Acme_0-index0"
    (folder / "dev" / "video1").unlink()
    (seen,) = findings(folder, driver, FAST, "camera name")
    assert seen["level"] == "ok" and "by-id/usb-Acme_0" in seen["message"]


@pytest.mark.parametrize(
    ("command", "level"), [("installation run", "ok"), ("another program", "error")]
)
def test_a_camera_in_use_is_left_alone(folder, driver, command, level):
    node = folder / "dev" / "video0"
    # Other processes see it by the words of its command.
    holder = subprocess.Popen(
        ["sh", "-c", f'exec 3<"{node}"; echo; while :; do sleep 1; done', *command.split()],
        stdout=subprocess.PIPE,
    )
    try:
        holder.stdout.readline()
        (seen,) = findings(folder, driver, FAST, "camera")
    finally:
        holder.kill()
        holder.wait()
    assert seen["level"] == level
    assert ("running installation" in seen["message"]) == (level == "ok")
    assert level == "ok" or command in seen["message"]


def test_no_secret_of_a_program_that_uses_the_camera_is_printed(folder, driver):
    words = ["-i", "rtsp://a:SECRET@b/1", "http://c/SECRET", "--key", "SECRET", "user-pw=SECRET"]
    holder = subprocess.Popen(
        [
            "sh",
            "-c",
            f'exec 3<"{folder}/dev/video0"; echo; read x',
            "ffmpeg",
            "to video.mp4",
            *words,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        holder.stdout.readline()
        (seen,) = findings(folder, driver, FAST, "camera")
        holder.stdin.close()
    assert f"is in use by sh ffmpeg to video.mp4 (process {holder.pid})" in seen["message"]


def test_a_video_and_the_demonstration(crowd_film):
    (seen,) = check_camera(Config(camera=Camera(source=str(crowd_film))))
    assert (seen.level, seen.message) == ("ok", f"{crowd_film}: 1280 x 720")
    (seen,) = check_camera(Config(camera=Camera(source="demo")))
    assert (seen.level, seen.message) == ("warning", "a simulated crowd")
