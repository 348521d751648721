"""The process: what it writes, how it limits clients, how it starts and ends."""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import cv2
import pytest

from installation.record.entry import Entry
from installation.record.store import count_rows
from installation.record.writer import RecordWriter, WriterTiming
from tests.ports import free_port
from tests.web.upload.serving import (
    ANSWERED,
    GATE,
    LONG,
    RECEIVED,
    RECORDED,
    ROOT,
    Serving,
    encoded,
    form,
    nothing_may_be_written,
    with_timing,
)


def test_damaged_engines_are_built_again_from_the_kept_wheels(built, tmp_path, small):
    for name in ("person-semantic", "face-centerface", "person-glosses", "wheels"):
        shutil.copytree(built / name, tmp_path / "engines" / name)
    os.truncate(tmp_path / "engines/person-semantic/model.onnx", 1000)
    os.truncate(tmp_path / "engines/person-glosses/glosses.tsv", 1000)
    with Serving(tmp_path, tmp_path / "engines", "timeout_s: 100") as site:
        assert site.send(small, "image/png").status == 200
        assert site.end() == 0
    assert sum("; rebuilding" in line for line in site.lines) == 2


class TestNothingIsStored:
    def test_it_works_where_nothing_can_be_written(self, built, tmp_path, faceless):
        # 8 MB, which a spooling parser would write to a temporary file.
        noise = encoded(cv2.resize(faceless["coffee"], (1900, 1500)), ".png")
        noise += bytes(8_000_000 - min(len(noise), 8_000_000))
        assert len(noise) >= 8_000_000
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        with Serving(
            tmp_path,
            built,
            "timeout_s: 600",
            env={"TMPDIR": str(scratch)},
            preexec_fn=nothing_may_be_written,
        ) as site:
            assert site.submit(noise).status == 200
            assert site.send(noise, "image/png").status == 200
            assert site.end() == 0
        assert list(scratch.iterdir()) == []

    def test_that_writing_would_fail_there(self, tmp_path):
        code = "import tempfile; tempfile.TemporaryFile().write(b'x' * 100_000)"
        ran = subprocess.run(
            [sys.executable, "-c", code],
            preexec_fn=nothing_may_be_written,
            capture_output=True,
            check=False,
        )
        assert ran.returncode != 0

    def test_the_log_contains_neither_addresses_nor_names(self, built, tmp_path, small):
        with Serving(tmp_path, built, "timeout_s: 600") as site:
            site.submit(small, name="myself-naked.jpg", source="127.0.0.77")
            site.submit(b"x", name="myself-naked.jpg", source="127.0.0.77")
            site.ask(path="/secret-path", source="127.0.0.77")
            with site.connect("127.0.0.77") as rude:
                rude.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
                assert rude.recv(4096).startswith(b"HTTP/1.1 400 ")
            assert site.end() == 0
        said = "".join(site.lines)
        assert "serving" in said
        for secret in ("127.0.0.77", "naked", "secret", "Traceback"):
            assert secret not in said

    def test_three_workers_record_into_one_file(self, built, tmp_path, small):
        path = tmp_path / "record.sqlite"
        with ExitStack() as stack:
            workers = []
            for number in range(3):
                folder = tmp_path / str(number)
                folder.mkdir()
                more = f"record: {{file: {path}}}"
                options = "timeout_s: 600, max_per_minute: 0"
                worker = Serving(folder, built, options, more, patch=RECORDED)
                workers.append(stack.enter_context(worker))
            with ThreadPoolExecutor(6) as crowd:
                answers = crowd.map(lambda index: workers[index % 3].send(small), range(60))
                assert {answer.status for answer in answers} == {200}
            assert [worker.end() for worker in workers] == [0] * 3
        assert count_rows(path) == 60
        assert not [line for each in workers for line in each.lines if line.startswith("ERROR")]

    def test_words_are_recorded_while_another_process_records_too(self, built, tmp_path, hopper):
        path = tmp_path / "record.sqlite"
        entry = Entry(472222, "n10104064", 0.5, 3, "wall", "safe", "person-semantic")
        more = f"record: {{file: {path}}}"
        with Serving(
            tmp_path, built, "timeout_s: 600, max_per_minute: 0", more, patch=RECORDED
        ) as site:
            wall = RecordWriter(path, timing=WriterTiming(close_timeout_s=LONG))
            both = encoded(cv2.hconcat([hopper, hopper]))
            for _ in range(5):
                for _ in range(20):
                    wall.submit([entry])
                assert len(site.send(both).json["faces"]) == 2
            wall.close()
            assert site.end() == 0
        assert count_rows(path) == 5 * 20 + 5 * 2
        assert not [line for line in site.lines if line.startswith("ERROR")]
        columns = subprocess.run(
            [sys.executable, "-c", f"import sqlite3; print(sqlite3.connect({str(path)!r})"
             ".execute('select distinct seconds, source, policy from entry').fetchall())"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "(0, 'web', 'safe')" in columns and "(3, 'wall', 'safe')" in columns


# Images are decoded once there is a file named gate.
STUCK = """
import time
from pathlib import Path
from installation.web.upload.decoders import Decoders
decode = Decoders.decode
def decoded(*arguments):
    while not Path("gate").exists():
        time.sleep(0.01)
    return decode(*arguments)
Decoders.decode = decoded
"""
# From the fourth image on, each takes two seconds.
SLOW = """
import time
from installation.vision.still_classifier import ImageClassifier
look, looks = ImageClassifier.classify, []
def looked(reader, picture):
    looks.append(None)
    time.sleep(2 if len(looks) > 3 else 0)
    return look(reader, picture)
ImageClassifier.classify = looked
""" + with_timing("drain_timeout_s=3")


class TestLimits:
    def test_too_many_images_get_a_retry_after(self, built, tmp_path, small):
        options = "max_in_flight: 2, workers: 1, max_per_minute: 0, timeout_s: 600"
        with Serving(tmp_path, built, options, patch=GATE) as site, ThreadPoolExecutor(2) as crowd:
            waiting = [crowd.submit(site.send, small)]
            site.wait_for_in_flight(1)
            response = site.send(small)
            assert response.status == 429
            assert int(response.headers["Retry-After"]) > 0
            page = site.submit(small)
            assert page.status == 429 and "Several of your images" in page.text
            # Another client still has its half.
            waiting.append(crowd.submit(site.send, small, source="127.0.0.2"))
            site.wait_for_in_flight(2)
            response = site.send(small, source="127.0.0.3")
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            (tmp_path / "gate").touch()
            assert [each.result().status for each in waiting] == [200, 200]
            assert site.send(small).status == 200

    def test_an_image_takes_no_place_before_it_has_arrived(self, built, tmp_path, small):
        options = "max_in_flight: 2, workers: 1, max_per_minute: 0, timeout_s: 600"
        with Serving(tmp_path, built, options, patch=RECEIVED) as site, ExitStack() as stack:
            for number in range(20):
                slow = stack.enter_context(site.connect(f"127.0.0.{number % 4 + 2}"))
                slow.sendall(
                    b"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
                    b"Content-Type: image/png\r\n\r\nx"
                )
            site.wait_for_receiving(20)
            assert site.in_flight == 0
            assert site.ask(path="/healthz").text == "ok\n"
            for source in ("127.0.0.1", "127.0.0.2"):
                assert site.send(small, source=source).status == 200

    def test_the_bytes_of_all_images_are_bounded(self, built, tmp_path, small):
        options = "max_in_flight: 2, max_upload_mb: 1, max_per_minute: 0, timeout_s: 600"
        with Serving(tmp_path, built, options, patch=RECEIVED) as site, ExitStack() as stack:

            def begin(source):
                sender = stack.enter_context(site.connect(source))
                sender.sendall(
                    b"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
                    b"Content-Type: image/png\r\n\r\n" + bytes(990_000)
                )
                return sender

            greedy = [begin("127.0.0.2") for _ in range(3)]
            heard, _, _ = select.select(greedy, [], [], LONG)
            assert heard[0].recv(4096).startswith(b"HTTP/1.1 503 ")
            # Those that are refused are also received for a while.
            others = [each for each in greedy if each is not heard[0]]
            modest = begin("127.0.0.3")
            heard, _, _ = select.select([*others, modest], [], [], LONG)
            assert modest not in heard
            assert heard[0].recv(4096).startswith(b"HTTP/1.1 503 ")
            assert site.send(small, source="127.0.0.4").status == 200

    def test_the_rate_limit_is_per_address(self, built, tmp_path, small):
        with Serving(tmp_path, built, "max_per_minute: 2, timeout_s: 600") as site:
            statuses = [site.send(b"x").status for _ in range(3)]
            assert statuses == [400, 400, 429]
            assert site.send(b"x", source="127.0.0.2").status == 400

    def test_forwarded_addresses_count_only_from_trusted_proxies(self, built, tmp_path):
        def statuses(site, *addresses):
            return [
                site.ask("POST", "/api/classify", b"x",
                         {"Content-Type": "image/png", "X-Forwarded-For": each}).status
                for each in addresses
            ]  # fmt: skip

        with Serving(tmp_path, built, "max_per_minute: 1") as site:
            assert statuses(site, "192.0.2.1", "192.0.2.2") == [400, 429]
        with Serving(tmp_path, built, "max_per_minute: 1, proxies: [127.0.0.0/8]") as site:
            assert statuses(site, "192.0.2.1", "192.0.2.2", "192.0.2.1") == [400, 400, 429]

    def test_images_of_disconnected_clients_are_skipped(self, built, tmp_path, hopper):
        picture = encoded(cv2.resize(hopper, (1600, 1600)))
        head = (
            "POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
            f"Content-Length: {len(picture)}\r\n\r\n"
        )
        options = "max_in_flight: 64, workers: 1, max_per_minute: 0, timeout_s: 600"
        with Serving(tmp_path, built, options, patch=GATE) as site:
            leaving = [site.connect() for _ in range(30)]
            for connection in leaving:
                connection.sendall(head.encode() + picture)
            site.wait_for_admitted(30)
            for connection in leaving:
                connection.close()
            site.wait_for_in_flight(0)
            (tmp_path / "gate").touch()
            assert site.send(picture).status == 200
        # One was being classified when its client left.
        assert len((tmp_path / "looks").read_text()) <= 2

    def test_overload_is_shed_and_the_rest_served(self, built, tmp_path, hopper):
        picture = encoded(cv2.resize(hopper, (800, 938)))
        with Serving(
            tmp_path, built, "max_in_flight: 10, workers: 1, max_per_minute: 0, timeout_s: 60"
        ) as site:

            def ask(number):
                response = site.send(picture, source=f"127.0.1.{number % 200 + 1}")
                if response.status != 200:
                    assert int(response.headers["Retry-After"]) > 0
                return response.status

            before = site.memory
            with ThreadPoolExecutor(50) as crowd:
                assert set(crowd.map(ask, range(600))) == {200, 503}
            site.wait_for_in_flight(0)
            assert site.ask(path="/healthz").status == 200
            assert site.send(picture).status == 200
            assert site.memory < before + 200

    def test_health_says_whether_images_are_accepted(self, built, tmp_path, small):
        options = "max_in_flight: 2, max_per_minute: 0, timeout_s: 600"
        with Serving(tmp_path, built, options, patch=GATE) as site, ThreadPoolExecutor(2) as crowd:
            assert site.ask(path="/healthz").text == "ok\n"
            assert site.metrics["installation_web_healthy"] == 1
            waiting = [crowd.submit(site.send, small, source=f"127.0.0.{n}") for n in (2, 3)]
            site.wait_for_in_flight(2)
            full = site.ask(path="/healthz")
            assert full.status == 503 and "Many people" in full.text
            assert site.metrics["installation_web_healthy"] == 0
            (tmp_path / "gate").touch()
            assert [each.result().status for each in waiting] == [200, 200]
            site.wait_for_in_flight(0)
            assert site.metrics["installation_web_healthy"] == 1
            assert site.ask(path="/healthz").status == 200

    def test_it_is_unhealthy_while_nobody_is_free_for_too_long(self, built, tmp_path, small):
        options = "workers: 1, max_per_minute: 0, timeout_s: 2"
        with Serving(tmp_path, built, options, patch=STUCK) as site:
            assert site.ask(path="/healthz").status == 200
            with site.connect() as client, site.connect() as other:
                for each in (client, other):
                    each.sendall(
                        b"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
                        b"Content-Length: %d\r\n\r\n" % len(small) + small
                    )
                deadline = time.monotonic() + LONG
                while (health := site.ask(path="/healthz")).status == 200:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                assert health.status == 503 and "Many people" in health.text
                assert site.send(small).status == 503
            (tmp_path / "gate").touch()
            while site.ask(path="/healthz").status != 200:
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def test_one_greedy_client_starves_nobody(self, built, tmp_path, small):
        with Serving(
            tmp_path, built, "max_in_flight: 16, workers: 1, max_per_minute: 0, timeout_s: 600"
        ) as site:
            over = threading.Event()

            def flood():
                while not over.is_set():
                    site.send(small, source="127.0.0.9")

            with ThreadPoolExecutor(12) as crowd:
                for _ in range(12):
                    crowd.submit(flood)
                try:
                    assert [site.send(small).status for _ in range(3)] == [200] * 3
                finally:
                    over.set()


class TestSlowAndMalformed:
    def test_an_endless_header_is_cut_off(self, site):
        with site.connect() as slow:
            slow.settimeout(LONG)
            slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            assert slow.recv(4096) == b""

    def test_a_dripping_body_is_rejected_and_cut_off(self, site):
        with site.connect() as slow:
            slow.settimeout(1)
            slow.sendall(
                b"POST /api/classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
                b"Content-Type: image/png\r\n\r\n"
            )
            heard, deadline = b"", time.monotonic() + LONG
            while time.monotonic() < deadline:
                try:
                    slow.sendall(b"x")
                    part = slow.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    break
                if not part:
                    break
                heard += part
            else:
                pytest.fail("never cut off")
            assert heard.startswith(b"HTTP/1.1 408 ")

    @pytest.mark.parametrize("address", ["/api/classify", "/nowhere"])
    @pytest.mark.parametrize("connection", ["close", "keep-alive"])
    def test_a_client_rejected_while_sending_gets_the_response(self, site, address, connection):
        sent = bytes(20_000_000)
        head = (
            f"POST {address} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n"
            f"Content-Type: image/png\r\nContent-Length: {len(sent)}\r\n\r\n"
        )
        for _ in range(5):
            with site.connect() as whole:
                whole.sendall(head.encode() + sent)
                status = b" 413 " if address == "/api/classify" else b" 404 "
                assert whole.recv(65536).startswith(b"HTTP/1.1" + status)

    def test_expect_continue_is_answered_at_once(self, site):
        with site.connect() as asking:
            asking.sendall(
                b"POST /api/classify HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                b"Connection: close\r\nContent-Type: image/png\r\n"
                b"Content-Length: 20000000\r\n\r\n"
            )
            heard = b""
            while part := asking.recv(65536):
                heard += part
        assert heard.startswith(b"HTTP/1.1 413 ") and b" 100 " not in heard

    def test_oversized_headers_are_rejected(self, site):
        with site.connect() as rude:
            rude.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000)
            heard = rude.recv(65536)
        assert heard.startswith(b"HTTP/1.1 431 ")
        assert b"no-store" in heard

    def test_disconnected_clients_do_not_block(self, site, hopper):
        picture = encoded(cv2.resize(hopper, (1600, 1600)))
        body, kind = form({"picture": ("x", picture)})
        for _ in range(8):
            with site.connect() as leaving:
                head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
                leaving.sendall(f"{head}Content-Type: {kind}\r\n\r\n".encode() + body)
        assert site.send(encoded(hopper)).status == 200

    def test_an_upgrade_is_ignored(self, site):
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        assert site.ask(headers=headers).status == 200


# A proxy that polls /healthz notices the end, however slow the machine.
NOTICED = with_timing("drain_timeout_s=300, proxy_notice_s=20, health_poll_s=600, forced_end_s=900")


class TestStartAndEnd:
    def test_it_ends_at_once(self, built, tmp_path):
        for number in (signal.SIGTERM, signal.SIGINT):
            with Serving(tmp_path, built) as site:
                assert site.end(number) == 0
                assert not [line for line in site.lines if not line.startswith("INFO")]

    def test_at_the_end_only_images_in_flight_are_served(self, built, tmp_path, hopper):
        picture = encoded(cv2.resize(hopper, (800, 938)))
        options = "workers: 1, max_per_minute: 0, timeout_s: 600"
        with Serving(tmp_path, built, options, patch=ANSWERED) as site:
            with ThreadPoolExecutor(4) as crowd:
                asked = [crowd.submit(site.send, picture) for _ in range(4)]
                site.wait_for_admitted(4)
                site.process.send_signal(signal.SIGTERM)
                deadline = time.monotonic() + LONG
                # So that a proxy uses the next worker.
                with pytest.raises(ConnectionRefusedError):
                    while time.monotonic() < deadline:
                        # Reset: still in the backlog of the socket that closed.
                        with suppress(ConnectionResetError):
                            site.connect().close()
                assert [each.result().status for each in asked] == [200] * 4
            assert site.process.wait(LONG) == 0

    def test_a_polling_proxy_is_told_first_and_served_meanwhile(self, built, tmp_path, small):
        with Serving(tmp_path, built, "max_per_minute: 0, timeout_s: 600", patch=NOTICED) as site:
            assert site.ask(path="/healthz").status == 200
            site.process.send_signal(signal.SIGTERM)
            statuses, deadline = set(), time.monotonic() + LONG
            with pytest.raises(ConnectionError):
                while time.monotonic() < deadline:
                    health = site.ask(path="/healthz")
                    statuses.add(site.send(small).status)
            assert health.status == 503 and "closing" in health.text
            assert statuses == {200}
            assert site.process.wait(LONG) == 0

    def test_images_that_take_too_long_at_the_end_get_503(self, built, tmp_path, hopper):
        picture = encoded(cv2.resize(hopper, (1600, 1600)))
        options = "max_in_flight: 200, workers: 1, max_per_minute: 0, timeout_s: 600"
        with Serving(tmp_path, built, options, patch=SLOW) as site:
            with ThreadPoolExecutor(100) as crowd:
                asked = [
                    crowd.submit(site.send, picture, source=f"127.0.0.{number % 4 + 2}")
                    for number in range(100)
                ]
                site.wait_for_admitted(100)
                site.wait_for_classified(1)
                assert site.end() == 0
                statuses = [each.result().status for each in asked if not each.exception()]
            assert set(statuses) == {200, 503}

    def test_the_port_option_overrides_the_config(self, built, tmp_path):
        port = free_port()
        with Serving(tmp_path, built, arguments=("--port", str(port))) as site:
            assert site.port == port and site.ask().status == 200
            # The port in the file is no change then.
            with (tmp_path / "config.yaml").open("a") as file:
                file.write("\n# edited\n")
            site.process.send_signal(signal.SIGHUP)
            assert "nothing has changed" in site.wait_to_log("configuration reloaded")

    def test_changes_of_a_linked_config_are_noticed(self, built, tmp_path):
        watchful = with_timing("watch=WatchTiming(0.1, 0.1, 0.5, 60)")
        with Serving(tmp_path, built, patch=watchful) as site:
            path = tmp_path / "config.yaml"
            shared = tmp_path / "shared.yaml"
            path.rename(shared)
            path.symlink_to(shared)
            shared.write_text(shared.read_text() + "\ntheme: {text_scale: 2}\n")
            assert "theme.text_scale" in site.wait_to_log("configuration reloaded")
            shared.rename(tmp_path / "away.yaml")
            assert "No such file" in site.wait_to_log("keeping the previous configuration")
            # After the first change the engines are opened again.
            deadline = time.monotonic() + LONG
            while site.ask(path="/healthz").status != 200:
                assert time.monotonic() < deadline

    def test_it_notifies_systemd(self, built, tmp_path, small):
        address = tmp_path / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(address))
            manager.settimeout(LONG)
            with Serving(tmp_path, built, env={"NOTIFY_SOCKET": str(address)}) as site:
                site.send(small)

                def wait_for(what):
                    while what not in manager.recv(4096).decode():
                        pass

                wait_for("READY=1")
                wait_for("WATCHDOG=1")
                wait_for("1 images classified")
                site.process.send_signal(signal.SIGTERM)
                wait_for("STOPPING=1")
                assert site.process.wait(LONG) == 0

    @pytest.mark.parametrize(
        ("more", "says"),
        [
            ("web: {port: 70000}", "web.port"),
            ("web: {address: nowhere}", "web.address"),
            ("web: {proxies: [nobody]}", "neither an address nor a network"),
            ("web: {address: 192.0.2.1}", "choose another"),
            ("inference: {engines: nowhere}", "nowhere"),
        ],
    )
    def test_a_config_error_is_one_line(self, built, tmp_path, more, says):
        path = tmp_path / "config.yaml"
        path.write_text(more)
        ran = subprocess.run(
            [sys.executable, "-m", "installation", "web", "--config", str(path)],
            capture_output=True,
            text=True,
            timeout=LONG,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
        )
        lines = [line for line in ran.stderr.splitlines() if not line.startswith("INFO")]
        assert ran.returncode == 1
        assert len(lines) == 1 and says in lines[0]

    def test_a_taken_port_is_an_error(self, built, tmp_path):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            path = tmp_path / "config.yaml"
            path.write_text(f"web: {{port: {taken.getsockname()[1]}}}")
            ran = subprocess.run(
                [sys.executable, "-m", "installation", "web", "--config", str(path)],
                capture_output=True,
                text=True,
                timeout=LONG,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                check=False,
            )
        assert ran.returncode == 1
        assert "stop the program that uses it" in ran.stderr
