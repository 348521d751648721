"""Nobody who sends an image is remembered: strace of the web extension, like that of the wall."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.ports import free_port
from tests.strace_capture import (
    Pixels,
    calls,
    looks_like_pictures,
    needs_strace,
    suspicious,
    to_files,
    under_strace,
)
from tests.wall_process import LONG, ROOT

pytest.importorskip("installation.web.upload.command")
pytestmark = needs_strace

NAME = "rosebud-at-the-beach.jpg"
# Form parsers write parts of this size to temporary files.
_LARGE_BYTES = 3_000_000


class TracedRun:
    """``installation web`` under strace while images are sent, and everything it wrote."""

    def __init__(self, folder, built, images):
        self.folder, self.images = folder, images
        self.port = free_port()
        (folder / "config.yaml").write_text(
            f"inference: {{engines: {built}, device: cpu}}\n"
            "record: {file: said.sqlite}\n"
            f"web: {{port: {self.port}, timeout_s: 600}}\n"
        )
        self.trace, self.log = folder / "trace", folder / "log"
        command = [sys.executable, "-m", "installation", "web"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*under_strace(self.trace), *command],
                cwd=folder,
                env=os.environ
                | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(folder)},
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def send(self, path, body, kind):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": kind}
        )
        with urllib.request.urlopen(request, timeout=LONG) as answer:
            return answer.read()

    def send_all(self):
        try:
            deadline = time.monotonic() + LONG
            while "serving the web extension" not in self.log.read_text():
                assert time.monotonic() < deadline and self.process.poll() is None
                time.sleep(0.1)
            for sent in self.images:
                mark = "0123456789abcdef"
                head = (
                    f'--{mark}\r\nContent-Disposition: form-data; name="picture"; '
                    f'filename="{NAME}"\r\nContent-Type: image/jpeg\r\n\r\n'
                )
                body = head.encode() + sent + f"\r\n--{mark}--\r\n".encode()
                assert self.send("/", body, f"multipart/form-data; boundary={mark}")
                assert self.send("/api/classify", sent, "image/jpeg")
            process = Path(f"/proc/{self.process.pid}")
            self.limits = (process / "limits").read_text()
            self.filter = (process / "coredump_filter").read_text()
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(LONG) == 0
        finally:
            self.process.kill()
            self.process.wait()
        self.calls = calls(self.trace, self.process.pid)


@pytest.fixture(scope="module")
def pictures(hopper, collins):
    return [hopper, collins]


@pytest.fixture(scope="module")
def traced(tmp_path_factory, built, pictures):
    sent = [cv2.imencode(".jpg", each)[1].tobytes() for each in pictures]
    # Bytes after the end of a JPEG are ignored.
    sent[0] += bytes(max(_LARGE_BYTES - len(sent[0]), 0))
    traced = TracedRun(tmp_path_factory.mktemp("web"), built, sent)
    traced.send_all()
    return traced


def test_no_file_or_socket_is_opened_that_could_take_an_image(traced):
    folder = re.escape(str(traced.folder))
    files = (
        rf"{folder}/(log|said\.sqlite(-wal|-shm|-journal)?)",
        r"/proc/(self|\d+)/(coredump_filter|oom_score_adj)",
        r"/dev/(null|tty)",
    )
    found = suspicious(traced.calls, files, (r"/(var/)?run/nscd/socket",))
    assert [f"{each.name} {each.target} {each.data[:200]!r}" for each in found] == []


def test_no_file_contains_any_part_of_an_image(traced, pictures):
    # As pixels and as files.
    decoded = [
        cv2.imdecode(np.frombuffer(sent, np.uint8), cv2.IMREAD_COLOR) for sent in traced.images
    ]
    pixels = Pixels([*pictures, *decoded])
    kept = {str(path): path.read_bytes() for path in traced.folder.glob("said*")}
    written = to_files(traced.calls)
    assert any(name.endswith("said.sqlite-wal") for name in written)
    for name, data in (written | kept).items():
        assert not looks_like_pictures(data), name
        assert not pixels.are_in(data), name
        for sent in traced.images:
            parts = (sent[at : at + 16] for at in range(0, 200_000, 64))
            assert not any(part in data for part in parts if len(set(part)) > 8), name


def test_the_images_arrived_and_got_words(traced):
    received = sum("TCP" in each.target for each in traced.calls)
    assert received
    with sqlite3.connect(traced.folder / "said.sqlite") as record:
        rows = record.execute("SELECT * FROM entry").fetchall()
    assert len(rows) >= 2
    assert all(len(str(value)) < 40 for row in rows for value in row)


def test_neither_log_nor_record_identifies_anybody(traced):
    for data in to_files(traced.calls).values():
        assert NAME.encode() not in data and b"rosebud" not in data
    log = traced.log.read_text().replace(f"http://127.0.0.1:{traced.port}/", "")
    assert "127.0.0.1" not in log and "Traceback" not in log


def test_core_dumps_are_disabled(traced):
    assert re.search(r"^Max core file size\s+0\s+0\s", traced.limits, re.MULTILINE)
    assert int(traced.filter, 16) == 0
