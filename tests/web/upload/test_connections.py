"""Connections: how many, from whom, and what their requests must look like."""

import asyncio
import select
import socket
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from installation.web.http_server import bind
from installation.web.upload.server import UploadProtocol
from tests.benchmarks.slow_senders import attack
from tests.web.upload.serving import GATE, LONG, Serving

PATHS = ("/", "/api", "/api/", "/openapi.json", "/healthz", "/metrics", "/style.css", "/nowhere")


def exchange(site, request, source="127.0.0.1"):
    """Send bytes; return everything that comes back."""
    heard = b""
    with site.connect(source) as connection:
        connection.sendall(request)
        while part := connection.recv(65536):
            heard += part
    return heard


def request(path, host, extra=b"", method=b"GET"):
    return b"%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n" % (
        method,
        path.encode(),
        host,
        extra,
    )


@pytest.mark.parametrize("name", ["slow", "idle"])
def test_visitors_are_answered_beside_hundreds_of_slow_or_idle_connections(built, tmp_path, name):
    """A short run of `tests.benchmarks.slow_senders`."""
    with Serving(tmp_path, built, "max_per_minute: 0, timeout_s: 600") as site:
        outcome = attack(site, name, 12, 2)
    assert outcome.answered >= 0.95, outcome.as_text()


def test_an_address_with_too_many_idle_connections_loses_the_oldest(built, tmp_path):
    with Serving(tmp_path, built) as site, ExitStack() as stack:
        visitor = stack.enter_context(site.connect("127.0.0.3"))
        idle = [
            stack.enter_context(site.connect("127.0.0.2"))
            for _ in range(UploadProtocol.max_per_client + 1)
        ]
        gone, _, _ = select.select([*idle, visitor], [], [], LONG)
        assert gone == idle[:1]
        for each in (idle[-1], visitor):
            each.sendall(request("/healthz", b"x"))
            assert each.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_requests_in_progress_are_not_closed_for_others(built, tmp_path, small):
    options = "max_in_flight: 256, max_per_minute: 0, timeout_s: 600"
    with Serving(tmp_path, built, options, patch=GATE) as site, ExitStack() as stack:
        header = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n" % len(small)
        upload = request("/api/classify", b"x", header, b"POST") + small
        uploads = []
        for _ in range(UploadProtocol.max_per_client):
            uploads.append(stack.enter_context(site.connect("127.0.0.2")))
            uploads[-1].sendall(upload)
        site.wait_for_in_flight(len(uploads))
        refused = stack.enter_context(site.connect("127.0.0.2"))
        assert refused.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert site.ask(path="/healthz").status == 200
        (tmp_path / "gate").touch()
        for each in uploads:
            assert each.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_responses_are_sent_at_once():
    """Without TCP_NODELAY each one on a kept connection waits for the acknowledgement before."""

    async def accepted():
        transports = asyncio.Queue()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                transports.put_nowait(transport)

        with bind(ip_address("127.0.0.1"), 0) as listening:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(Protocol, sock=listening)
            address = listening.getsockname()
            _, writer = await asyncio.open_connection(*address)
            transport = await transports.get()
            found = transport.get_extra_info("socket").getsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY
            )
            writer.close()
            server.close()
            return found

    assert asyncio.run(accepted())


@pytest.mark.parametrize("proxies", ["127.0.0.1", "127.0.0.0/8", "'::ffff:127.0.0.1'"])
def test_ipv4_visitors_are_told_apart_on_an_ipv6_socket(built, tmp_path, proxies):
    options = f"address: '::', max_per_minute: 1, proxies: [{proxies}]"
    with Serving(tmp_path, built, options) as site:

        def status(visitor):
            headers = {"Content-Type": "image/png", "X-Forwarded-For": visitor}
            return site.ask("POST", "/api/classify", b"x", headers).status

        visitors = ("192.0.2.1", "192.0.2.2", "192.0.2.1", "::ffff:192.0.2.2", "2001:db8::1")
        assert [status(visitor) for visitor in visitors] == [400, 400, 429, 429, 400]
        assert site.ask(path="/metrics").status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 17_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 4_000 + b"\r\n",
        b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /?" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000,
        b"GET /" + b"a" * 100_000,
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20_000,
    ],
)
def test_headers_that_are_too_long_are_refused_in_any_form(site, sent):
    with site.connect() as client:
        client.sendall(sent)
        heard = client.recv(65536)
    assert heard.startswith(b"HTTP/1.1 431 ")
    assert b"no-store" in heard
    assert site.ask(headers={"X": "y" * 12_000}).status == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_host_that_cannot_be_one_is_refused_on_every_path(site, path):
    for host in (b"", b"a b", b"x/y", b"x@y", b"[", b"x:1:2", b"<b>", b"x" * 300, b"\xc3\xa9"):
        heard = exchange(site, request(path, host))
        assert heard.startswith(b"HTTP/1.1 400 "), (host, heard[:200])
        assert b"no-store" in heard


@pytest.mark.parametrize("path", PATHS)
def test_the_host_is_never_repeated(site, path):
    heard = exchange(site, request(path, b"elsewhere.example"))
    assert b"elsewhere" not in heard
    assert b"\r\nlocation:" not in heard.lower()


def test_any_name_of_the_page_is_allowed(site):
    for host in (
        b"mirror.example.org",
        b"MIRROR.example:8443",
        b"192.0.2.7:80",
        b"[2001:db8::7]:80",
    ):
        assert exchange(site, request("/", host)).startswith(b"HTTP/1.1 200 ")
    # As HAProxy checks the health.
    assert exchange(site, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_the_metrics_are_not_served_under_another_name(site):
    """A website open in a browser on this machine could otherwise read them (DNS rebinding)."""
    assert b" 404 " in exchange(site, request("/metrics", b"elsewhere.example"))[:20]
    for host in (b"localhost", b"127.0.0.1:8080", b"[::1]"):
        assert exchange(site, request("/metrics", host)).startswith(b"HTTP/1.1 200 ")
