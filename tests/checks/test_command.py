"""``installation check`` as technicians run it."""

import json
import os
import subprocess
import sys

import pytest

from tests.paths import ROOT
from tests.wall_process import needs_xvfb, x_server

CHECKS = {
    *("config", "words", "hours", "camera", "screen", "OpenGL", "inference", "engines", "font"),
    *("record", "disk", "clock", "permissions", "services"),
}


def check(folder, *arguments, **environment):
    without = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    return subprocess.run(
        [sys.executable, "-m", "installation", "check", *arguments],
        cwd=folder,
        env=without | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture
def folder(built, tmp_path, crowd_film):
    (tmp_path / "config.yaml").write_text(
        f"camera: {{source: {crowd_film}}}\ninference: {{engines: {built}}}\n"
    )
    return tmp_path


def by_name(ran):
    result = json.loads(ran.stdout)
    return result["ok"], {each["check"]: each for each in result["findings"]}


@needs_xvfb
def test_without_an_error_the_status_is_0(folder):
    with x_server("+extension", "GLX") as (_, display):
        ran = check(folder, "--json", DISPLAY=display)
    ok, found = by_name(ran)
    assert ok and ran.returncode == 0, ran.stdout
    assert ran.stderr == ""
    assert set(found) >= CHECKS
    assert found["screen"]["message"].endswith("640 x 360")
    # Rendered by the CPU, which is a warning.
    assert "OpenGL" in found["OpenGL"]["message"]


def test_an_error_is_status_1_and_each_finding_a_line(folder):
    ran = check(folder)
    assert (ran.returncode, ran.stderr) == (1, "")
    lines = ran.stdout.splitlines()
    assert all(line[:2] in ("✔ ", "! ", "✘ ") for line in lines)
    (screen,) = [line for line in lines if line.startswith("✘ ")]
    assert screen.startswith("✘ screen        DISPLAY is not set; install")


@needs_xvfb
def test_a_missing_monitor_is_named(folder):
    with (folder / "config.yaml").open("a") as file:
        file.write("display: {monitor: HDMI-7}\n")
    with x_server() as (_, display):
        _, found = by_name(check(folder, "--json", DISPLAY=display))
    assert found["screen"]["level"] == "error"
    assert "no monitor 'HDMI-7' is connected" in found["screen"]["message"]


def test_a_missing_x_server_is_named(folder):
    _, found = by_name(check(folder, "--json", DISPLAY=":99"))
    assert found["screen"]["level"] == "error"
    assert "installation-display" in found["screen"]["remedy"]
    assert "OpenGL" not in found
    _, found = by_name(check(folder, "--json", DISPLAY=":99", XAUTHORITY="/nowhere/cookie"))
    assert "/nowhere/cookie cannot be read" in found["screen"]["message"]
    assert "OpenGL" not in found


def test_with_a_broken_config_only_config_and_services_are_checked(folder):
    (folder / "config.yaml").write_text("camera:\n  sorce: 0\n")
    ran = check(folder)
    assert (ran.returncode, ran.stderr) == (1, "")
    config, services = ran.stdout.splitlines()
    assert config.startswith("✘ config")
    assert "config.yaml:2: camera.sorce: unknown key; did you mean source?" in config
    assert " services " in services


def test_files_merged_over_the_config_are_named(folder):
    over = folder / "config.d"
    over.mkdir()
    (over / "wall.yaml").write_text("theme: {text_scale: 2}\n")
    _, found = by_name(check(folder, "--json"))
    assert found["config"]["message"] == f"{folder}/config.yaml, config.d/wall.yaml"
    (over / "wall.yaml").write_text("\ntheme: {size: 9}\n")
    assert f"{over}/wall.yaml:2: theme.size" in check(folder).stdout.splitlines()[0]
