"""The status of a running wall: a real process, a real screen, real HTTP."""

import math
import socket
import time
from datetime import datetime, timedelta, timezone
from datetime import time as clock

import pytest

from installation.inference.circuit_breaker import MAX_FAILURES
from installation.inference.open_engines import circuit_breaker_for
from tests.ports import free_port
from tests.wall_process import LONG, Running, needs_xvfb, x_server
from tests.web.test_status import ask, metrics_of

pytestmark = needs_xvfb


@pytest.fixture(scope="module")
def screen():
    with x_server() as (_, display):
        yield display


@pytest.fixture
def start(tmp_path, screen, built):
    started = []

    def begin(port, patch="", **sections):
        sections = {
            "camera": "{source: demo, width: 320, height: 240}",
            "inference": f"{{engines: {built}, device: cpu}}",
            "record": "{file: null}",
            "status": f"{{port: {port}}}",
        } | sections
        text = "".join(f"{name}: {value}\n" for name, value in sections.items())
        (tmp_path / "config.yaml").write_text(text)
        started.append(Running(tmp_path, screen, patch))
        return started[-1]

    yield begin
    for each in started:
        each.close()
        assert "Traceback" not in each.log.read_text()


def until(port, status, text):
    """Ask /healthz until it has this status and contains this text; return its body."""
    deadline = time.monotonic() + LONG
    while (answer := ask(port, "/healthz")).status != status or text not in answer.text:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)
    return answer.text


def shown(port):
    found = metrics_of(ask(port, "/metrics").text)
    return found[("installation_frames_presented_total",)]


# Opens the engines once there is a file named gate.
GATE = """
import time
from pathlib import Path
from installation.vision import worker as stages
opened = stages.open_pipeline
def opened_later(*arguments):
    while not Path("gate").exists():
        time.sleep(0.01)
    return opened(*arguments)
stages.open_pipeline = opened_later
"""


def test_the_status_is_served_from_start_to_end(start, tmp_path):
    port = free_port()
    wall = start(port, GATE)
    assert ask(port, "/healthz").status == 503
    (tmp_path / "gate").touch()
    assert until(port, 200, "works") == "works\n"
    before = shown(port)
    wall.wait_for("frames per second", times=2)
    assert shown(port) > before
    page = ask(port).text
    assert "<h1>works</h1>" in page and "person-semantic, policy safe" in page
    # An open connection does not delay the exit.
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert wall.end() == 0


def test_a_missing_camera_is_reported(start):
    port = free_port()
    start(port, camera="{source: /dev/video987}")
    text = until(port, 503, "/dev/video987: no camera there")
    assert text.startswith(("does not work\n", "preparing\n"))
    assert metrics_of(ask(port, "/metrics").text)[("installation_camera_up",)] == 0
    until(port, 503, "no camera frame on the screen for")


def test_a_closed_wall_is_healthy(start):
    port = free_port()
    hours = "{open: [mon-sun 00:00-24:00], closed: [01-01..12-31]}"
    start(port, camera="{source: /dev/video987}", hours=hours)
    assert until(port, 200, "closed").startswith("closed")
    found = metrics_of(ask(port, "/metrics").text)
    assert found[("installation_open",)] == 0
    assert found[("installation_opens_timestamp_seconds",)] == math.inf


def test_a_closed_wall_exposes_when_it_opens(start):
    port = free_port()
    first = datetime.now(timezone.utc).date() - timedelta(days=1)
    opens = first + timedelta(days=4)
    closed = f"{first}..{opens - timedelta(days=1)}"
    start(port, hours=f"{{open: [mon-sun 10:00-18:00], closed: [{closed}], timezone: UTC}}")
    until(port, 200, "closed")
    told = metrics_of(ask(port, "/metrics").text)[("installation_opens_timestamp_seconds",)]
    assert datetime.fromtimestamp(told, timezone.utc) == datetime.combine(
        opens, clock(10), timezone.utc
    )


# A GPU and TensorRT, as the driver and Python would report them.
FOUND = """
import installation.inference.open_engines as module
card = module.CudaDevice("NVIDIA Stand-in", 86, "CUDA 13.0", (13, 0))
module.find_gpu = lambda: module.GpuInfo(card, module.Library("tensorrt", "10.3.0", None))
"""


def test_a_gpu_that_is_not_used_is_reported(start, tmp_path, built):
    engines = tmp_path / "engines"
    engines.mkdir()
    for engine in built.iterdir():
        if engine.name != "plans":
            (engines / engine.name).symlink_to(engine)
    for _ in range(MAX_FAILURES):
        circuit_breaker_for(engines).fail("it fell off the bus")
    port = free_port()
    wall = start(port, inference="{engines: engines, device: auto}", patch=FOUND)
    assert "warning: inference has fallen back to the CPU;" in until(port, 200, "fallen back")
    assert metrics_of(ask(port, "/metrics").text)[("installation_inference_fallback",)] == 1
    wall.wait_for("camera demo, CPU for now")


def test_an_unreachable_inference_server_is_reported(start, built):
    port, nobody = free_port(), f"127.0.0.1:{free_port()}"
    wall = start(port, inference=f"{{engines: {built}, server: 'kserve://{nobody}'}}")
    warning = f"warning: inference has fallen back to the CPU (server {nobody} is unavailable)"
    assert warning in until(port, 200, "unavailable")
    assert metrics_of(ask(port, "/metrics").text)[("installation_inference_fallback",)] == 1
    wall.wait_for("is unavailable) for now")


def test_an_unwritable_record_is_a_warning(start, tmp_path, crowd_film):
    (tmp_path / "said.sqlite").mkdir()
    port = free_port()
    start(port, record="{file: said.sqlite}", camera=f"{{source: {crowd_film}}}")
    # Once a face has left there is something to write.
    assert until(port, 200, "recording paused").startswith("works\nwarning: recording paused")


def test_a_taken_port_does_not_stop_the_wall(start):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        wall = start(port)
        wall.wait_for("camera demo", times=2)
        assert (
            wall.log.read_text().count(f"WARNING status.port: cannot use port {port} of 127.0.0.1")
            == 1
        )
    until(port, 200, "works")


def test_without_a_port_nothing_is_served(start):
    wall = start("null")
    wall.wait_for("camera demo")
    assert "status at" not in wall.log.read_text()


def test_many_idle_clients_do_not_stop_the_wall(start):
    port = free_port()
    wall = start(port)
    until(port, 200, "works")
    descriptors, before = wall.descriptors, shown(port)
    idlers = []
    try:
        for number in range(300):
            idlers.append(socket.create_connection(("127.0.0.1", port), timeout=LONG))
            idlers[-1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n" * (number % 2))
        wall.wait_for("frames per second", times=2)
        assert wall.descriptors <= descriptors + 40
        assert shown(port) > before
    finally:
        for each in idlers:
            each.close()
    assert wall.end() == 0
