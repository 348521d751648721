"""``installation engines build``: precision, calibration, GPUs that are not in this machine."""

import os
import pty
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from engines.manifest import load_manifest
from engines.plan_cache import PlanCache
from installation.commands.cli import main
from tests.paths import ROOT

DETECTOR, CLASSIFIER = "face-centerface", "person-semantic"


@pytest.fixture
def place(built, tmp_path, monkeypatch):
    """A folder with a config, and with engines and plans of its own."""
    engines = tmp_path / "built"
    engines.mkdir()
    for name in (DETECTOR, CLASSIFIER, "demo-visitors", "person-glosses", "wheels"):
        (engines / name).symlink_to(built / name)
    (tmp_path / "config.yaml").write_text("inference:\n  engines: built\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def photographs(crowd, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for number in range(10):
        cv2.imwrite(str(folder / f"{number}.png"), crowd.paint(6.0 + 1.5 * number))
    (folder / "notes.txt").write_text("not an image")
    return folder


def start(*arguments, stdin=None):
    return subprocess.Popen(
        [sys.executable, "-m", "installation", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def precision(place, name):
    chosen = PlanCache(place / "built").network(name, load_manifest(place / "built" / name))
    return chosen.precision if chosen else None


def calibrate(photographs, name, *more):
    return main(
        ["engines", "build", name, "--precision", "int8", "--calibrate", str(photographs), *more]
    )


@pytest.mark.endurance
def test_the_loss_of_int8_is_reported_and_accepted(place, photographs, capfd):
    assert calibrate(photographs, DETECTOR, "--yes") == 0
    said = capfd.readouterr().err
    assert f"{DETECTOR} at int8: " in said
    assert "faces are still detected" in said
    assert precision(place, DETECTOR) == "int8"
    assert precision(place, CLASSIFIER) is None


@pytest.mark.endurance
def test_calibration_skips_files_that_are_not_images(place, photographs, tmp_path, capfd):
    folder = tmp_path / "mixed"
    shutil.copytree(photographs, folder)
    (folder / "0.jpg").write_text("hello")
    (folder / "1.jpg").mkdir()
    (folder / "2.jpg").symlink_to("nowhere")
    assert calibrate(folder, CLASSIFIER, "--yes") == 0
    said = capfd.readouterr().err
    assert all(f"{folder}/{number}.jpg: " in said for number in range(3))
    assert said.count("; skipped\n") == 3
    assert "faces keep their best label" in said


@pytest.mark.endurance
def test_changed_labels_are_counted(place, photographs, capfd):
    assert calibrate(photographs, CLASSIFIER, "--yes") == 0
    assert "faces keep their best label" in capfd.readouterr().err


@pytest.mark.endurance
def test_without_a_terminal_nothing_is_accepted(place, photographs):
    command = ["engines", "build", DETECTOR, "--precision", "int8"]
    process = start(*command, "--calibrate", str(photographs), stdin=subprocess.DEVNULL)
    _, err = process.communicate(timeout=6000)
    assert process.returncode == 0
    assert "No terminal to ask on; add --yes" in err
    assert precision(place, DETECTOR) is None


@pytest.mark.endurance
@pytest.mark.parametrize(
    ("answer", "chosen"), [("y\n", "int8"), ("n\n", None), ("\n", None), ("\x04", None)]
)
def test_on_a_terminal_it_asks(place, photographs, answer, chosen):
    ours, theirs = pty.openpty()
    command = ["engines", "build", DETECTOR, "--precision", "int8"]
    process = start(*command, "--calibrate", str(photographs), stdin=theirs)
    os.write(ours, answer.encode())
    process.communicate(timeout=6000)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0
    assert precision(place, DETECTOR) == chosen


def blank(folder, count):
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((100, 100, 3), np.uint8))


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda folder: None, "cannot be read: No such file"),
        (lambda folder: folder.mkdir(), "faces were found in 0 images"),
        (lambda folder: blank(folder, 9), "faces were found in 0 images"),
    ],
)
@pytest.mark.parametrize("name", [DETECTOR, CLASSIFIER])
def test_unsuitable_images_are_rejected(place, prepare, reason, capfd, name):
    folder = place / "images"
    prepare(folder)
    assert calibrate(folder, name, "--yes") == 1
    assert capfd.readouterr().err.splitlines()[-1].startswith(f"installation: {folder}: {reason}")


def test_int8_without_images_names_the_option(place, capfd):
    assert main(["engines", "build", "--precision", "int8"]) == 1
    assert "--calibrate DIR" in capfd.readouterr().err


@pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="TensorRT-RTX is made for x86-64 and Windows only"
)
class TestTargetSm:
    def test_plans_for_gpus_that_are_not_here(self, place, capfd):
        assert main(["engines", "build", DETECTOR, "--target-sm", "sm_86,120"]) == 0
        out, err = capfd.readouterr()
        assert f"{DETECTOR}: building a plan for sm_86: not built for sm_86 yet" in err
        for kind in (86, 120):
            assert f"{DETECTOR}-sm_{kind}.tensorrt_rtx.plan" in out
        main(["engines", "build", DETECTOR, "--target-sm", "sm_86,120"])
        assert "building" not in capfd.readouterr().err

    @pytest.mark.endurance
    def test_a_plan_is_built_at_int8(self, place, photographs, capfd):
        assert calibrate(photographs, DETECTOR, "--yes", "--target-sm", "sm_89") == 0
        (line,) = (each for each in capfd.readouterr().out.splitlines() if "sm_89" in each)
        assert "ready (int8, tensorrt_rtx" in line

    def test_a_new_precision_makes_new_plans(self, place, capfd):
        main(["engines", "build", DETECTOR, "--target-sm", "sm_86"])
        capfd.readouterr()
        main(["engines", "build", DETECTOR, "--precision", "fp32"])
        assert "sm_86" not in capfd.readouterr().out
        main(["engines", "build", DETECTOR, "--target-sm", "sm_86"])
        assert main(["engines", "list", "--check"]) == 0
        assert "fp32" in capfd.readouterr().out

    def test_an_unknown_compute_capability_is_rejected_with_the_known_ones(self, place, capfd):
        assert main(["engines", "build", "--target-sm", "sm_37"]) == 1
        said = capfd.readouterr().err.splitlines()[-1]
        assert "does not know sm_37; only sm_75, sm_80, sm_86" in said

    def test_ctrl_c_leaves_no_half_plan(self, place):
        process = start("engines", "build", "--target-sm", "sm_75,sm_80,sm_86,sm_89,sm_120")
        told = iter(process.stderr.readline, "")
        assert any(f"{CLASSIFIER}: building a plan for sm_75" in line for line in told)
        process.send_signal(2)
        _, err = process.communicate(timeout=600)
        assert process.returncode == 130
        assert "Traceback" not in err
        assert not list((place / "built" / "plans").glob(".making-*"))
        assert {each.error for each in PlanCache(place / "built").survey()} == {""}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--weights", "w.safetensors"], "--weights requires --network"),
        (["--calibrate", "."], "--calibrate requires --precision int8"),
        (["--precision", "fp16", "--calibrate", "."], "--calibrate requires --precision int8"),
    ],
)
def test_options_without_effect_are_rejected(place, arguments, reason, capfd):
    assert main(["engines", "build", *arguments]) == 1
    assert reason in capfd.readouterr().err


def test_a_folder_that_cannot_be_written_is_an_error(place, capfd):
    (place / "built" / "plans").write_text("not a folder")
    assert main(["engines", "build", DETECTOR, "--precision", "fp32"]) == 1
    (line,) = (each for each in capfd.readouterr().err.splitlines() if "installation: " in each)
    assert "built/plans: " in line


def test_all_damaged_engines_are_listed(place, built, capfd):
    for name in (DETECTOR, CLASSIFIER):
        (place / "built" / name).unlink()
        (place / "built" / name).mkdir()
        (place / "built" / name / "engine.yaml").write_text("nonsense")
    assert main(["engines", "list", "--check"]) == 1
    lines = capfd.readouterr().out.splitlines()
    names = ["demo-visitors", DETECTOR, "person-glosses", CLASSIFIER, "device"]
    assert [line.split()[0] for line in lines] == names


def test_a_misspelt_engine_is_rejected_with_the_existing_ones(place, capfd):
    assert main(["engines", "build", "face-centreface"]) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    assert said == (
        f"installation: face-centreface: no such engine; there are {DETECTOR}, {CLASSIFIER}"
    )


def test_the_authentic_engine_needs_a_network(place, capfd):
    assert main(["engines", "build", "person-authentic"]) == 1
    assert "with --network NAME" in capfd.readouterr().err
