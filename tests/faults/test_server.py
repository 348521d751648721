"""The whole wall at an inference server that comes and goes: the picture never stops."""

import json
import os
import signal
import subprocess
import sys

import pytest

from engines.triton_export import export
from tests.triton_server import Triton, mind, needs_triton
from tests.wall_process import ROOT, Running, needs_xvfb, with_timing, x_server

pytestmark = [pytest.mark.endurance, needs_xvfb, needs_triton]

STREAMING = "frames per second"
# What is tested is not how fast this machine is.
PATIENT = """
from functools import partial
from installation.inference.server_timing import ServerTiming
from installation.vision import pipeline
timing = ServerTiming(live_deadline_s=15.0, open_wait_s=60.0)
pipeline.open_engines = partial(pipeline.open_engines, server_timing=timing)
"""
PATIENT += with_timing("WallTiming(capture_timeout_s=60, vision=VisionTiming(timeout_s=60))")


@pytest.fixture
def screen():
    with x_server() as (_, display):
        yield display


@pytest.fixture
def server(built, tmp_path):
    export(built, ["person-semantic"], tmp_path / "models", "python")
    mind(tmp_path / "models", tmp_path / "mood")
    server = Triton(tmp_path / "models", tmp_path)
    yield server
    server.close()


@pytest.fixture
def wall(server, built, screen, tmp_path):
    (tmp_path / "config.yaml").write_text(
        "camera: {source: demo, width: 320, height: 240}\n"
        f"inference: {{engines: {built}, server: 'kserve://{server.address}'}}\n"
        "record: {file: null}\n"
    )
    wall = Running(tmp_path, screen, PATIENT)
    yield wall
    wall.close()
    assert "Traceback" not in wall.log.read_text()


def test_the_wall_goes_on_without_its_server_and_with_it_again(wall, server, tmp_path):
    there, gone = (
        f"CPU and server {server.address}",
        f"CPU (server {server.address} is unavailable)",
    )
    wall.wait_for(there)
    server.kill()
    assert STREAMING in wall.wait_for(gone)
    server.start()
    wall.wait_for(there)
    server.send(signal.SIGSTOP)
    assert STREAMING in wall.wait_for(gone)
    server.send(signal.SIGCONT)
    wall.wait_for(there)
    (tmp_path / "mood").write_text("nan")
    assert STREAMING in wall.wait_for(gone)
    (tmp_path / "mood").write_text("well")
    wall.wait_for(there)
    assert wall.end() == 0
    log = wall.log.read_text()
    assert log.count("using CPU fallback until the server responds") == 3
    assert log.count(f"using inference server {server.address}") == 4


def inference(folder):
    """Return what `installation check` finds."""
    ran = subprocess.run(
        [sys.executable, "-m", "installation", "check", "--json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        check=False,
    )
    findings = json.loads(ran.stdout)["findings"]
    (found,) = [each for each in findings if each["check"] == "inference"]
    return found


def test_the_check_asks_the_server(server, built, tmp_path):
    (tmp_path / "config.yaml").write_text(
        "camera: {source: demo}\n"
        f"inference: {{engines: {built}, server: 'kserve://{server.address}'}}\n"
    )
    found = inference(tmp_path)
    assert found["level"] == "ok" and f"on the server {server.address}" in found["message"]
    server.kill()
    found = inference(tmp_path)
    assert found["level"] == "warning" and f"server {server.address}: " in found["message"]
