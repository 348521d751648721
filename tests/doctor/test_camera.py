"""The camera under the doctor's eyes: OpenCV's own code over a driver that is played."""

import json
import subprocess

import pytest
from webcams import installation_over, needs_compiler, preloaded

from installation.config import Camera, Config
from installation.doctor.camera import camera

pytestmark = needs_compiler
# The driver gives pictures as fast as it is asked to here.
FAST = "width: 640, height: 480, fps: 60"


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


def found(folder, driver, camera, *about):
    """Have everything examined; return what was said about some of it."""
    (folder / "config.yaml").write_text(f"camera: {{{camera}}}\nrecord: {{file: null}}\n")
    ran = installation_over(folder, driver, "check", "--json")
    assert ran.stderr == ""
    findings = json.loads(ran.stdout)["findings"]
    return [each for each in findings if each["about"] in about]


def source(folder):
    return f"source: {folder}/dev/video0"


def test_one_that_works_is_measured(folder, driver):
    seen = found(folder, driver, f"{source(folder)}, {FAST}, format: yuyv", "camera", "exposure")
    assert [each["level"] for each in seen][1] == "ok"
    assert seen[0]["said"].startswith(f"{folder}/dev/video0: 640 x 480 at ")
    assert "of full brightness" in seen[1]["said"]


def test_one_that_is_too_slow_says_what_to_do(folder, driver):
    asked = f"{source(folder)}, width: 640, height: 480, fps: 240, format: yuyv"
    (seen,) = found(folder, driver, asked, "camera")
    assert seen["level"] == "warning"
    assert "instead of 240" in seen["said"] and "camera.format" in seen["remedy"]


@pytest.mark.parametrize(
    ("fault", "about", "level", "said"),
    [
        ("covered", "exposure", "warning", "too dark"),
        ("green", "exposure", "warning", "single colour"),
        ("busy", "camera", "trouble", "in use by another program; end that one"),
        ("forbidden", "camera", "trouble", "add this user to the group video"),
        ("narrow", "camera", "trouble", "USB bus"),
        ("dead", "camera", "trouble", "plug it in again"),
        ("stalled", "camera", "trouble", "sends no pictures"),
        ("metadata", "camera", "trouble", "not the part of a camera"),
    ],
)
def test_one_that_fails_says_what_to_do(folder, driver, fault, about, level, said):
    (folder / "dev" / "video0.fault").write_text(fault)
    (seen,) = found(folder, driver, f"{source(folder)}, {FAST}", about)
    assert seen["level"] == level
    assert said in f"{seen['said']}; {seen['remedy']}"


def test_a_number_is_no_name_where_there_are_several(folder, driver):
    (seen,) = found(folder, driver, f"{source(folder)}, {FAST}", "camera's name")
    assert seen["level"] == "warning"
    assert seen["remedy"] == f"set camera.source: {folder}/dev/v4l/by-id/usb-Acme_0-index0"
    (folder / "dev" / "video1").unlink()
    (seen,) = found(folder, driver, f"{source(folder)}, {FAST}", "camera's name")
    assert seen["level"] == "ok" and "by-id/usb-Acme_0" in seen["said"]


def test_a_lasting_name_needs_no_word(folder, driver):
    link = folder / "dev" / "v4l" / "by-id" / "usb-Acme_0-index0"
    assert found(folder, driver, f"source: {link}, {FAST}", "camera's name") == []


@pytest.mark.parametrize(
    ("command", "level"), [("installation run", "ok"), ("another program", "trouble")]
)
def test_one_that_is_in_use_is_left_alone(tmp_path, command, level):
    node = tmp_path / "video0"
    node.touch()
    # The words of a command are what others see of it.
    holder = subprocess.Popen(
        ["sh", "-c", f'exec 3<"{node}"; echo; while :; do sleep 1; done', *command.split()],
        stdout=subprocess.PIPE,
    )
    try:
        holder.stdout.readline()
        (seen,) = camera(Config(camera=Camera(source=str(node))))
    finally:
        holder.kill()
        holder.wait()
    assert seen.level == level
    assert ("running wall" in seen.said) == (level == "ok")


def test_a_film_and_the_demonstration_are_no_cameras(crowd_film):
    (seen,) = camera(Config(camera=Camera(source=str(crowd_film))))
    assert (seen.level, seen.said) == ("ok", f"{crowd_film}: 1280 x 720")
    (seen,) = camera(Config(camera=Camera(source="demo")))
    assert (seen.level, seen.said) == ("warning", "made-up visitors")
