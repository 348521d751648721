"""The status of a wall that runs: a real process, before a real screen, asked over real HTTP."""

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


def until(port, status, words):
    """Ask /healthz until it says so."""
    deadline = time.monotonic() + LONG
    while (answer := ask(port, "/healthz")).status != status or words not in answer.text:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.2)
    return answer.text


def shown(port):
    found = metrics_of(ask(port, "/metrics").text)
    return found[("installation_frames_presented_total",)]


# Its engines are opened once there is a file named gate.
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


def test_it_is_told_from_the_start_to_the_end(start, tmp_path):
    port = free_port()
    wall = start(port, GATE)
    assert ask(port, "/healthz").status == 503
    (tmp_path / "gate").touch()
    assert until(port, 200, "works") == "works\n"
    before = shown(port)
    wall.wait_for("pictures a second", times=2)
    assert shown(port) > before
    page = ask(port).text
    assert "<h1>works</h1>" in page and "person-semantic, policy safe" in page
    # Whoever is being served does not keep it.
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        assert wall.end() == 0


def test_a_camera_that_is_not_there_is_told(start):
    port = free_port()
    start(port, camera="{source: /dev/video987}")
    text = until(port, 503, "/dev/video987: no camera there")
    assert text.startswith(("does not work\n", "preparing\n"))
    assert metrics_of(ask(port, "/metrics").text)[("installation_camera_lost",)] == 1
    until(port, 503, "no picture on the wall for")


def test_closed_it_is_healthy(start):
    port = free_port()
    hours = "{open: [mon-sun 00:00-24:00], closed: [01-01..12-31]}"
    start(port, camera="{source: /dev/video987}", hours=hours)
    assert until(port, 200, "closed").startswith("closed")
    found = metrics_of(ask(port, "/metrics").text)
    assert found[("installation_open",)] == 0
    assert found[("installation_opens_timestamp_seconds",)] == math.inf


def test_closed_until_a_day_it_tells_when_it_opens(start):
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


# A GPU and a TensorRT, as if both were installed.
FOUND = """
import installation.inference.open_engines as room
device = room.CudaDevice("NVIDIA Stand-in", 86, "CUDA 13.0", (13, 0))
room.find_gpu = lambda: room.GpuInfo(device, room.Library("tensorrt", "10.3.0", None))
"""


def test_a_gpu_that_is_left_alone_is_told(start, tmp_path, built):
    engines = tmp_path / "engines"
    engines.mkdir()
    for engine in built.iterdir():
        if engine.name != "plans":
            (engines / engine.name).symlink_to(engine)
    for _ in range(MAX_FAILURES):
        circuit_breaker_for(engines).fail("it fell off the bus")
    port = free_port()
    wall = start(port, inference="{engines: engines, device: auto}", patch=FOUND)
    assert "warning: inference on the CPU for now" in until(port, 200, "for now")
    assert metrics_of(ask(port, "/metrics").text)[("installation_inference_fallback",)] == 1
    wall.wait_for("camera demo, CPU for now")


def test_a_server_that_is_not_there_is_told(start, built):
    port, nobody = free_port(), f"127.0.0.1:{free_port()}"
    wall = start(port, inference=f"{{engines: {built}, device: 'kserve://{nobody}'}}")
    assert f"warning: inference on the CPU (server {nobody} is unavailable)" in until(
        port, 200, "unavailable"
    )
    assert metrics_of(ask(port, "/metrics").text)[("installation_inference_fallback",)] == 1
    wall.wait_for("is unavailable) for now")


def test_a_record_that_cannot_be_written_is_a_warning(start, tmp_path, crowd_film):
    (tmp_path / "said.sqlite").mkdir()
    port = free_port()
    start(port, record="{file: said.sqlite}", camera=f"{{source: {crowd_film}}}")
    # Once a face has left there is something to write.
    assert until(port, 200, "recording pauses").startswith("works\nwarning: recording pauses")


def test_a_port_that_is_taken_is_no_reason_to_stop(start):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        wall = start(port)
        wall.wait_for("camera demo", times=2)
        assert wall.log.read_text().count(f"WARNING status.port: {port} of 127.0.0.1") == 1
    until(port, 200, "works")


def test_without_a_port_nothing_is_served(start):
    wall = start("null")
    wall.wait_for("camera demo")
    assert "status at" not in wall.log.read_text()


def test_no_crowd_of_rude_clients_stops_the_wall(start):
    port = free_port()
    wall = start(port)
    until(port, 200, "works")
    descriptors, before = wall.descriptors, shown(port)
    idlers = []
    try:
        for number in range(300):
            idlers.append(socket.create_connection(("127.0.0.1", port), timeout=LONG))
            idlers[-1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n" * (number % 2))
        wall.wait_for("pictures a second", times=2)
        assert wall.descriptors <= descriptors + 40
        assert shown(port) > before
    finally:
        for each in idlers:
            each.close()
    assert wall.end() == 0
