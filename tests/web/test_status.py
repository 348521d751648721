"""The status over HTTP, and who may see it: a real server, real requests."""

import asyncio
import base64
import contextlib
import http.client
import math
import re
import shutil
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from starlette.datastructures import Headers

from installation.config.model import Status
from installation.display.metrics import Metrics
from installation.scene import Frame
from installation.web.status.auth import TokenCheck
from installation.web.status.health import evaluate
from installation.web.status.history import SAMPLE_INTERVAL_S
from installation.web.status.server import StatusServer, StatusTiming
from installation.web.status.snapshot import StatusSnapshot, WorkerHealth
from tests.ports import free_port

LONG = 300.0
FREE = ("installation_record_free_bytes",)
TOKEN = "correct horse battery staple"


def a_snapshot(**changes):
    metrics = Metrics()
    for index in range(40):
        metrics.present(index / 30, index / 30 - 0.02, index / 30 - 0.06, 0.004)
    snapshot = StatusSnapshot(
        # Never out of date, however long a test takes.
        at=time.monotonic() + 1e6,
        open=True,
        hours_text="open",
        opens_at=0.0,
        open_seconds=3700.0,
        preparing=None,
        picture_visible=True,
        shown_at=time.monotonic() + 1e6,
        screen_stuck=False,
        metrics=metrics,
        faces=2,
        workers=(WorkerHealth("vision", 0.1, 8.0), WorkerHealth("capture", 0.02, 8.0)),
        camera="/dev/video0",
        camera_error=None,
        camera_disconnects=3,
        device="CPU",
        fallback=False,
        classifier="person-semantic",
        policy="safe",
        record=Path("record.sqlite").absolute(),
        recording_error=None,
        frame=None,
    )
    return replace(snapshot, **changes)


class Response:
    """The response to one request."""

    def __init__(self, port, path="/", method="GET", address="127.0.0.1", **headers):
        connection = http.client.HTTPConnection(address, port, timeout=LONG)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            self.status, self.headers, self.body = answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    @property
    def text(self):
        return self.body.decode()


def until_listening(port):
    """Wait until the server accepts connections."""
    deadline = time.monotonic() + LONG
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ask(port, *arguments, **keywords):
    """Send a request, once the server listens."""
    deadline = time.monotonic() + LONG
    while True:
        try:
            return Response(port, *arguments, **keywords)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def serve():
    servers = []

    def begin(snapshot=None, timing=None, **settings):
        settings.setdefault("port", free_port())
        servers.append(StatusServer(Status(**settings), timing or StatusTiming()))
        if snapshot is not None:
            servers[-1].publish(snapshot)
        return settings["port"]

    yield begin
    for server in servers:
        server.stop()
        server.join(LONG)


def metrics_of(text):
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_wall_that_works_is_healthy(serve):
    answer = ask(serve(a_snapshot()), "/healthz")
    assert (answer.status, answer.text) == (200, "works\n")


@pytest.mark.parametrize(
    ("changes", "summary", "message"),
    [
        ({"at": -60.0}, "does not work", "the wall has not reported its status for"),
        ({"camera_error": "/dev/video0: no camera there"}, "does not work", "no camera there"),
        (
            {"picture_visible": False, "shown_at": -60.0},
            "does not work",
            "no camera frame on the screen for",
        ),
        ({"screen_stuck": True}, "does not work", "the screen is frozen"),
        (
            {"workers": (WorkerHealth("vision", 5.0, 8.0),)},
            "does not work",
            "vision has not responded for 5 s",
        ),
        ({"preparing": "preparing 34%"}, "preparing", "preparing 34%"),
        (
            {"preparing": "preparing", "engine_error": "x: no engine here"},
            "does not work",
            "x: no engine",
        ),
        ({"monitors_off": True}, "does not work", "no monitor is on"),
    ],
)
def test_a_wall_that_does_not_work_says_why(serve, changes, summary, message):
    answer = ask(serve(a_snapshot(**changes)), "/healthz")
    assert answer.status == 503
    first, fault, *others = answer.text.splitlines()
    assert first == summary
    assert fault.startswith("fault: ") and message in fault
    assert others == []


def test_before_the_first_snapshot_it_is_starting(serve):
    port = serve()
    assert (
        ask(port, "/healthz").text == "starting\nfault: the wall has not reported its status yet\n"
    )
    assert ask(port, "/healthz").status == 503
    assert "starting" in ask(port).text
    assert metrics_of(ask(port, "/metrics").text)[("installation_healthy",)] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"picture_visible": False, "shown_at": -60.0},
        {"camera_error": "/dev/video0: no camera there", "screen_stuck": True},
        {"preparing": "preparing", "engine_error": "person-mine: no engine here"},
        {"monitors_off": True},
    ],
)
def test_closed_by_its_hours_it_is_healthy(changes):
    snapshot = a_snapshot(open=False, hours_text="closed until Mon 23 Nov 2026, 10:00", **changes)
    health = evaluate(snapshot, snapshot.at)
    assert (health.faults, health.summary) == ((), "closed until Mon 23 Nov 2026, 10:00")


def test_paused_recording_is_only_a_warning(serve):
    answer = ask(
        serve(a_snapshot(recording_error="recording paused: the disk is full")), "/healthz"
    )
    assert answer.status == 200
    assert answer.text == "works\nwarning: recording paused: the disk is full\n"


def test_fallback_is_only_a_warning(serve):
    port = serve(a_snapshot(fallback=True))
    answer = ask(port, "/healthz")
    assert answer.status == 200
    warning = "inference has fallen back to the CPU; the log says why"
    assert answer.text == f"works\nwarning: {warning}\n"
    assert metrics_of(ask(port, "/metrics").text)[("installation_inference_fallback",)] == 1
    page = ask(port).text
    assert warning in page and "CPU (fallback)" in page


def test_the_free_space_for_the_record_is_exposed(serve, tmp_path):
    port = serve(a_snapshot(record=tmp_path / "record.sqlite"))
    deadline = time.monotonic() + LONG
    while (free := metrics_of(ask(port, "/metrics").text).get(FREE)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)


@pytest.mark.parametrize("record", [None, Path("/nowhere/record.sqlite")])
def test_without_a_folder_for_the_record_no_free_space_is_exposed(record):
    server = StatusServer(Status(port=free_port()))
    try:
        server.publish(a_snapshot(record=record))
        port = server._settings.port
        # Long enough for two samples.
        until = time.monotonic() + 2.5 * SAMPLE_INTERVAL_S
        while time.monotonic() < until:
            found = metrics_of(ask(port, "/metrics").text)
            time.sleep(0.5)
        assert FREE not in found
        assert (("installation_recording_paused",) in found) == (record is not None)
    finally:
        server.stop()


@pytest.mark.parametrize("opens_at", [0.0, 1795435200.0, math.inf])
def test_the_opening_time_is_exposed(serve, opens_at):
    found = metrics_of(ask(serve(a_snapshot(opens_at=opens_at)), "/metrics").text)
    assert found[("installation_opens_timestamp_seconds",)] == opens_at


def test_prometheus_can_read_the_metrics(serve):
    answer = ask(serve(a_snapshot()), "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = metrics_of(answer.text)
    for name, value in {
        "healthy": 1,
        "frame_age_seconds_count": 40,
        "overlay_age_seconds_count": 40,
        "draw_duration_seconds_count": 40,
        "picture_visible": 1,
        "frames_presented_total": 40,
        "faces": 2,
        "camera_disconnects_total": 3,
        "camera_up": 1,
        "open_seconds_total": 3700,
        "recording_paused": 0,
        "inference_fallback": 0,
        "opens_timestamp_seconds": 0,
    }.items():
        assert found[(f"installation_{name}",)] == value, name
    assert found[("installation_frame_age_seconds_sum",)] == pytest.approx(40 * 0.02)
    assert found[("installation_frame_age_seconds_bucket", "0.015")] == 0
    assert found[("installation_frame_age_seconds_bucket", "+Inf")] == 40
    assert found[("installation_worker_heartbeat_age_seconds", "vision")] == 0.1
    assert found[("process_resident_memory_bytes",)] > 0
    assert found[("installation_process_threads",)] >= 2


def test_each_metric_is_documented(serve):
    from tests.conftest import ROOT

    table = (ROOT / "docs" / "status.md").read_text()
    text = ask(serve(a_snapshot()), "/metrics").text
    for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE):
        if not name.startswith("process_"):
            assert f"`{name}`" in table


def test_the_page_shows_it_without_a_script(serve):
    port = serve(a_snapshot(camera="<b>bold</b>"))
    time.sleep(1)
    answer = ask(port)
    assert answer.status == 200
    assert "<h1>works</h1>" in answer.text
    assert "&lt;b&gt;bold&lt;/b&gt;, 3 disconnects since the start" in answer.text
    assert 'http-equiv="refresh"' in answer.text
    assert "<script" not in answer.text and "style=" not in answer.text
    assert "//" not in answer.text.partition(">")[2].replace("</", "")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert ask(port, "/style.css").headers["content-type"].startswith("text/css")


def test_sparklines_appear_with_time(serve):
    server = StatusServer(Status(port=free_port()))
    try:
        port, snapshot = server._settings.port, a_snapshot()
        deadline = time.monotonic() + LONG
        while "<polyline" not in ask(port).text:
            assert time.monotonic() < deadline
            metrics = snapshot.metrics.copy()
            metrics.present(0.0, 0.0, None, 0.0)
            snapshot = replace(snapshot, at=snapshot.at + 0.2, metrics=metrics)
            server.publish(snapshot)
            time.sleep(0.2)
    finally:
        server.stop()


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/style.css", "/nowhere"])
def test_responses_are_never_cached(serve, path):
    headers = ask(serve(a_snapshot()), path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_reading_is_allowed(serve, method):
    assert ask(serve(a_snapshot()), "/", method).status == 405


def test_head_requests_are_answered(serve):
    answer = ask(serve(a_snapshot()), "/healthz", "HEAD")
    assert (answer.status, answer.body) == (200, b"")


def test_other_host_names_are_rejected(serve):
    port = serve(a_snapshot())
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "[", "0"):
        answer = ask(port, "/metrics", Host=host)
        assert answer.status in (400, 421)
        assert b"installation" not in answer.body
    for host in ("localhost", f"localhost:{port}", "127.0.0.1", f"[::1]:{port}"):
        assert ask(port, "/metrics", Host=host).status == 200


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


WRONG = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": f"Bearer {TOKEN[:-1]}"},
    {"Authorization": f"Bearer {TOKEN}x"},
    {"Authorization": f"Digest {TOKEN}"},
    {"Authorization": TOKEN},
    {"Authorization": basic(TOKEN, "")},
    {"Authorization": basic("technician", "wrong")},
    {"Authorization": "Basic %%%"},
    {"Authorization": "Basic /w=="},
    {"Authorization": "Bearer é"},
]


@pytest.mark.parametrize("headers", WRONG)
@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/style.css", "/preview.jpg", "/no"])
def test_without_the_token_nothing_is_served(serve, path, headers):
    answer = ask(serving(serve), path, **headers)
    assert (answer.status, answer.text) == (401, "Unauthorized\n")
    assert "installation" not in str(answer.headers)


def serving(serve):
    snapshot = a_snapshot(frame=Frame(0, 0.0, np.zeros((90, 160, 3), np.uint8)))
    timing = StatusTiming(wrong_token_s=0)
    token = SecretStr(TOKEN).get_secret_value()
    return serve(snapshot, timing, token=token, address="0.0.0.0", preview=True)


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", basic("me", TOKEN)])
def test_with_the_token_the_status_is_served(serve, given):
    answer = ask(serving(serve), "/healthz", Authorization=given, Host="wall.museum.example")
    assert (answer.status, answer.text) == (200, "works\n")


def test_local_requests_need_the_token_too(serve):
    port = serve(a_snapshot(), token=TOKEN)
    assert ask(port, "/healthz").status == 401
    assert ask(port, "/healthz", Authorization=f"Bearer {TOKEN}").status == 200


FRAME = Frame(0, 0.0, np.full((360, 640, 3), 200, np.uint8))


def test_no_preview_is_served_by_default(serve):
    port = serve(a_snapshot(frame=FRAME))
    assert ask(port, "/preview.jpg").status == 404
    assert "preview.jpg" not in ask(port).text


def test_the_preview_is_served_to_this_machine(serve):
    port = serve(a_snapshot(frame=FRAME), preview=True)
    answer = ask(port, "/preview.jpg")
    assert answer.status == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.body.startswith(b"\xff\xd8")
    assert "preview.jpg" in ask(port).text
    # A proxy on this machine may serve anybody.
    for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        assert ask(port, "/preview.jpg", **{header: "203.0.113.9"}).status == 404


def test_the_preview_is_served_to_no_other_machine(serve):
    own = own_address()
    port = serve(a_snapshot(frame=FRAME), preview=True, token=TOKEN, address="0.0.0.0")
    given = {"Authorization": f"Bearer {TOKEN}"}
    assert ask(port, "/healthz", address=own, **given).status == 200
    assert ask(port, "/preview.jpg", address=own, **given).status == 404
    assert ask(port, "/preview.jpg", **given).status == 200


def own_address():
    """Return an address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("no network here")
        address = asked.getsockname()[0]
    if address.startswith("127."):
        pytest.skip("no network here")
    return address


def test_a_taken_port_is_reported_once_and_tried_again(serve, caplog):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        timing = StatusTiming(retry_s=0.1)
        port = serve(a_snapshot(), timing, port=other.getsockname()[1])
        deadline = time.monotonic() + LONG
        while "cannot use port" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
    assert caplog.text.count(f"status.port: cannot use port {port} of 127.0.0.1") == 1
    assert ask(port, "/healthz").status == 200


def test_idle_connections_keep_nobody_out(serve):
    port = serve(a_snapshot())
    assert ask(port, "/healthz").status == 200
    before = threading.active_count()
    idlers = []
    try:
        for _ in range(200):
            idlers.append(socket.create_connection(("127.0.0.1", port)))
            idlers[-1].sendall(b"GET / HTTP/1.1\r\nHost: loc")
        assert ask(port, "/healthz").status == 200
        assert threading.active_count() <= before
        # Most were closed to make room.
        gone = 0
        for each in idlers[:100]:
            each.settimeout(LONG)
            try:
                gone += each.recv(1) == b""
            except ConnectionResetError:
                gone += 1
        assert gone == 100
    finally:
        for each in idlers:
            each.close()


def test_a_connection_has_a_time_limit(serve):
    port = serve(a_snapshot(), StatusTiming(connection_s=0.5))
    until_listening(port)
    with socket.create_connection(("127.0.0.1", port), timeout=LONG) as slow:
        slow.sendall(b"GET / HT")
        with contextlib.suppress(ConnectionResetError):
            assert slow.recv(1) == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n\x00\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/x\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 300_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: [\r\n\r\n",
    ],
)
def test_malformed_requests_do_no_harm(serve, sent, caplog):
    port = serve(a_snapshot())
    ask(port, "/healthz")
    with socket.create_connection(("127.0.0.1", port), timeout=LONG) as client:
        try:
            client.sendall(sent)
            answer = client.recv(100)
        except (ConnectionResetError, BrokenPipeError):
            answer = b"HTTP/1.1 4"
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert ask(port, "/healthz").status == 200
    assert "Traceback" not in caplog.text and "unexpected" not in caplog.text


def test_it_stops_without_waiting_for_open_connections():
    server = StatusServer(Status(port=free_port()))
    server.publish(a_snapshot())
    port = server._settings.port
    ask(port, "/healthz")
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        server.stop()
        server.join(LONG)
        assert not server._thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        Response(port)


def test_headers_that_are_too_long_are_refused(serve):
    port = serve(a_snapshot())
    ask(port)
    for sent in (
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 17_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 4_000 + b"\r\n",
        b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000,
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=LONG) as client:
            client.sendall(sent)
            assert client.recv(100).startswith(b"HTTP/1.1 431 ")


def test_nothing_is_redirected_to_the_given_host(serve):
    given = {"Authorization": f"Bearer {TOKEN}", "Host": "elsewhere.example"}
    port = serving(serve)
    for path in ("/healthz/", "/metrics/", "//"):
        answer = ask(port, path, **given)
        assert answer.status == 404
        assert "location" not in answer.headers and "elsewhere" not in str(answer.headers)


def test_a_host_that_cannot_be_one_is_refused(serve):
    port = serving(serve)
    for host in ("a b", "x/y", "x@y", "[", "<b>", ""):
        answer = ask(port, "/healthz", Authorization=f"Bearer {TOKEN}", Host=host)
        assert answer.status == 400


def test_the_preview_is_not_served_under_another_name(serve):
    port = serving(serve)
    given = {"Authorization": f"Bearer {TOKEN}"}
    assert ask(port, "/preview.jpg", Host="elsewhere.example", **given).status == 404
    assert ask(port, "/preview.jpg", **given).status == 200


def test_after_a_wrong_token_answers_are_delayed_and_nobody_is_locked_out():
    right, wrong = (Headers({"Authorization": f"Bearer {each}"}) for each in (TOKEN, "wrong"))

    async def run():
        slow = TokenCheck(TOKEN, LONG)
        assert await slow.allows(right) and not await slow.allows(Headers())
        for given in (wrong, right):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(slow.allows(given), 0.1)
        assert not await slow.allows(Headers())
        quick = TokenCheck(TOKEN, 0.01)
        assert [await quick.allows(each) for each in (wrong, right, wrong)] == [False, True, False]

    asyncio.run(run())


def test_idle_connections_of_one_address_keep_no_other_waiting(serve):
    port = serve(a_snapshot(), StatusTiming(connection_s=LONG))
    until_listening(port)
    with contextlib.ExitStack() as stack:
        patient = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        for _ in range(100):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", port), LONG, ("127.0.0.2", 0))
            )
        patient.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert patient.recv(100).startswith(b"HTTP/1.1 200 ")
