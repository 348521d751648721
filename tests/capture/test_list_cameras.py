"""Cameras are listed as their drivers tell: real requests to a driver that is played."""

import json

import pytest

from installation.config import loader as configuration
from tests.fake_v4l2 import installation_over, needs_compiler, preloaded

pytestmark = needs_compiler


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return preloaded(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def folder(tmp_path):
    """A camera with two nodes: one for pictures, one for what tells of them."""
    dev = tmp_path / "dev"
    for where, name in (("by-id", "usb-Acme_Eye_1"), ("by-path", "pci-0000:00:14.0-usb-0:1:1.0")):
        (dev / "v4l" / where).mkdir(parents=True)
        for index in range(2):
            link = dev / "v4l" / where / f"{name}-video-index{index}"
            link.symlink_to(dev / f"video{index}")
    for index in range(2):
        (dev / f"video{index}").touch()
    (dev / "video1.fault").write_text("metadata")
    return tmp_path


def test_a_camera_is_listed_with_its_names_and_modes(folder, driver):
    ran = installation_over(folder, driver, "cameras", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    (camera,) = json.loads(ran.stdout)
    dev = folder / "dev"
    by_id = f"{dev}/v4l/by-id/usb-Acme_Eye_1-video-index0"
    assert camera == {
        "source": by_id,
        "name": "Acme Eye",
        "node": f"{dev}/video0",
        "links": [by_id, f"{dev}/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0"],
        "bus": "usb-0000:00:14.0-1",
        "modes": [
            {"format": "YUYV", "width": 1280, "height": 720, "rates": [10.0]},
            {"format": "YUYV", "width": 640, "height": 480, "rates": [10.0, 5.0]},
            {"format": "MJPG", "width": 1920, "height": 1080, "rates": [59.94]},
        ],
        "error": None,
    }


def test_the_printed_source_is_valid_in_the_config(folder, driver):
    lines = installation_over(folder, driver, "cameras").stdout.splitlines()
    assert lines[0] == f"Acme Eye ({folder}/dev/video0, usb-0000:00:14.0-1)"
    assert "  yuyv    640 x 480 at 10, 5" in lines
    assert "  mjpg  1920 x 1080 at 59.94" in lines
    written = lines[-1].removeprefix("  in config.yaml: ")
    assert written != lines[-1]
    path = folder / "config.yaml"
    path.write_text(f"camera:\n  {written}\n")
    assert configuration.load(path).camera.source.endswith("by-id/usb-Acme_Eye_1-video-index0")


@pytest.mark.parametrize(
    ("fault", "said"), [("forbidden", "add this user to the group video"), ("shy", None)]
)
def test_a_camera_that_cannot_be_queried_is_still_listed(folder, driver, fault, said):
    (folder / "dev" / "video0.fault").write_text(fault)
    ran = installation_over(folder, driver, "cameras", "--json")
    (camera,) = json.loads(ran.stdout)
    assert camera["modes"] == []
    assert said is None or said in camera["error"]


def test_no_camera_is_no_error(tmp_path, driver):
    ran = installation_over(tmp_path, driver, "cameras")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "no camera is plugged in\n", "")
