"""Nobody who sends a picture is remembered: the web extension, looked at as the wall is."""

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
# More than a parser that writes large parts to a temporary file keeps in memory.
_LARGE = 3_000_000


class Visited:
    """``installation web`` under strace, while pictures are sent; then all that it wrote."""

    def __init__(self, folder, built, pictures):
        self.folder, self.pictures = folder, pictures
        self.port = free_port()
        (folder / "config.yaml").write_text(
            f"inference: {{engines: {built}, device: cpu}}\n"
            "record: {file: said.sqlite}\n"
            f"web: {{port: {self.port}, seconds: 600}}\n"
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

    def visit(self):
        try:
            deadline = time.monotonic() + LONG
            while "serving the web extension" not in self.log.read_text():
                assert time.monotonic() < deadline and self.process.poll() is None
                time.sleep(0.1)
            for sent in self.pictures:
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
def visited(tmp_path_factory, built, pictures):
    sent = [cv2.imencode(".jpg", each)[1].tobytes() for each in pictures]
    # What follows a picture's end is no harm to it.
    sent[0] += bytes(max(_LARGE - len(sent[0]), 0))
    visited = Visited(tmp_path_factory.mktemp("web"), built, sent)
    visited.visit()
    return visited


def test_nothing_is_opened_or_met_that_could_take_a_picture(visited):
    folder = re.escape(str(visited.folder))
    files = (
        rf"{folder}/(log|said\.sqlite(-wal|-shm|-journal)?)",
        r"/proc/(self|\d+)/coredump_filter",
        r"/dev/(null|tty)",
    )
    found = suspicious(visited.calls, files, (r"/(var/)?run/nscd/socket",))
    assert [f"{each.name} {each.target} {each.data[:200]!r}" for each in found] == []


def test_no_file_holds_anything_of_a_picture(visited, pictures):
    # As they were decoded, and as they were sent.
    decoded = [
        cv2.imdecode(np.frombuffer(sent, np.uint8), cv2.IMREAD_COLOR) for sent in visited.pictures
    ]
    pixels = Pixels([*pictures, *decoded])
    kept = {str(path): path.read_bytes() for path in visited.folder.glob("said*")}
    written = to_files(visited.calls)
    assert any(name.endswith("said.sqlite-wal") for name in written)
    for name, data in (written | kept).items():
        assert not looks_like_pictures(data), name
        assert not pixels.are_in(data), name
        for sent in visited.pictures:
            parts = (sent[at : at + 16] for at in range(0, 200_000, 64))
            assert not any(part in data for part in parts if len(set(part)) > 8), name


def test_the_pictures_did_come_and_were_named(visited):
    received = sum("TCP" in each.target for each in visited.calls)
    assert received
    with sqlite3.connect(visited.folder / "said.sqlite") as record:
        rows = record.execute("SELECT * FROM entry").fetchall()
    assert len(rows) >= 2
    assert all(len(str(value)) < 40 for row in rows for value in row)


def test_neither_log_nor_record_knows_who_it_was(visited):
    for data in to_files(visited.calls).values():
        assert NAME.encode() not in data and b"rosebud" not in data
    log = visited.log.read_text().replace(f"http://127.0.0.1:{visited.port}/", "")
    assert "127.0.0.1" not in log and "Traceback" not in log


def test_it_forgoes_core_dumps(visited):
    assert re.search(r"^Max core file size\s+0\s+0\s", visited.limits, re.MULTILINE)
    assert int(visited.filter, 16) == 0
