"""The camera under the doctor's eyes: OpenCV's own code over a driver that is played."""

import json
import subprocess

import pytest

from installation.checks.camera import camera
from installation.config.model import Camera, Config
from tests.fake_v4l2 import needs_compiler, preloaded, run_over

pytestmark = needs_compiler
# The driver gives pictures as fast as it is asked to here.
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


LOOK = """
import json
from installation.config import model as configuration
from installation.checks import isolated as apart
from installation.checks import camera
config = configuration.load("config.yaml")
looks = [("camera", camera.camera), ("name", camera.name)]
found = [
    each for about, look in looks for each in apart.collect_findings(about, lambda: look(config))
]
print(json.dumps([each.as_json() for each in found]))
"""


def found(folder, driver, camera, *about):
    """Have the camera examined; return what was said about some of it."""
    (folder / "config.yaml").write_text(f"camera: {{{camera}}}\nrecord: {{file: null}}\n")
    ran = run_over(folder, driver, LOOK)
    assert ran.returncode == 0, ran.stderr
    return [each for each in json.loads(ran.stdout) if each["about"] in about]


def test_one_that_works_is_measured(folder, driver):
    seen = found(folder, driver, f"{FAST}, format: yuyv", "camera", "exposure")
    assert [each["level"] for each in seen][1] == "ok"
    assert seen[0]["said"].startswith(f"{folder}/dev/video0: 640 x 480 at ")
    assert "of full brightness" in seen[1]["said"]


def test_one_that_is_too_slow_says_what_to_do(folder, driver):
    asked = "source: 0, width: 640, height: 480, fps: 240, format: yuyv"
    (seen,) = found(folder, driver, asked, "camera")
    assert seen["level"] == "warning"
    assert "instead of 240" in seen["said"] and "camera.format" in seen["remedy"]


@pytest.mark.parametrize(
    ("fault", "about", "level", "said"),
    [
        ("covered", "exposure", "warning", "too dark"),
        ("green", "exposure", "warning", "single colour"),
        ("busy", "camera", "trouble", "in use by another program; close that program"),
        ("forbidden", "camera", "trouble", "add this user to the group video"),
        ("narrow", "camera", "trouble", "USB bandwidth"),
        ("dead", "camera", "trouble", "plug it in again"),
        ("stalled", "camera", "trouble", "stopped sending frames"),
    ],
)
def test_one_that_fails_says_what_to_do(folder, driver, fault, about, level, said):
    (folder / "dev" / "video0.fault").write_text(fault)
    (seen,) = found(folder, driver, FAST, about)
    assert seen["level"] == level
    assert said in f"{seen['said']}; {seen['remedy']}"


def test_a_number_is_no_name_where_there_are_several(folder, driver):
    (seen,) = found(folder, driver, FAST, "camera's name")
    assert seen["level"] == "warning"
    assert seen["remedy"] == f"set camera.source: {folder}/dev/v4l/by-id/usb-Acme_0-index0"
    (folder / "dev" / "video1").unlink()
    (seen,) = found(folder, driver, FAST, "camera's name")
    assert seen["level"] == "ok" and "by-id/usb-Acme_0" in seen["said"]


@pytest.mark.parametrize(
    ("command", "level"), [("installation run", "ok"), ("another program", "trouble")]
)
def test_one_that_is_in_use_is_left_alone(folder, driver, command, level):
    node = folder / "dev" / "video0"
    # The words of a command are what others see of it.
    holder = subprocess.Popen(
        ["sh", "-c", f'exec 3<"{node}"; echo; while :; do sleep 1; done', *command.split()],
        stdout=subprocess.PIPE,
    )
    try:
        holder.stdout.readline()
        (seen,) = found(folder, driver, FAST, "camera")
    finally:
        holder.kill()
        holder.wait()
    assert seen["level"] == level
    assert ("running wall" in seen["said"]) == (level == "ok")
    assert level == "ok" or command in seen["said"]


def test_of_one_in_use_no_secret_of_the_other_program_is_told(folder, driver):
    words = ["-i", "rtsp://a:SECRET@b/1", "http://c/SECRET", "--key", "SECRET", "user-pw=SECRET"]
    holder = subprocess.Popen(
        [
            "sh",
            "-c",
            f'exec 3<"{folder}/dev/video0"; echo; read x',
            "ffmpeg",
            "to film.mp4",
            *words,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        holder.stdout.readline()
        (seen,) = found(folder, driver, FAST, "camera")
        holder.stdin.close()
    assert f"is in use by sh ffmpeg to film.mp4 (process {holder.pid})" in seen["said"]


def test_a_film_and_the_demonstration_are_no_cameras(crowd_film):
    (seen,) = camera(Config(camera=Camera(source=str(crowd_film))))
    assert (seen.level, seen.said) == ("ok", f"{crowd_film}: 1280 x 720")
    (seen,) = camera(Config(camera=Camera(source="demo")))
    assert (seen.level, seen.said) == ("warning", "made-up visitors")
