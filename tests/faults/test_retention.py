"""Nobody is remembered: all that the running program lets out of its memory is looked at.

The program runs on a film of real faces, and strace tells every call by which bytes can leave it.
"""

import re
import signal
import sqlite3
import urllib.request
from pathlib import Path
from textwrap import dedent

import cv2
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
from tests.wall_process import LONG, Running, needs_xvfb, with_timing, x_server

pytestmark = [needs_xvfb, needs_strace]

# More than the record and the log take of a minute, less than a film of it.
_MOST = 1_000_000
# What is connected to: the screen, the manager, and a name service that may be asked who we are.
SOCKETS = (r".*/\.X11-unix/X\d+", r".*/notify", r"/(var/)?run/nscd/socket")


@pytest.fixture(scope="module")
def screen():
    with x_server() as (_, display):
        yield display


@pytest.fixture(scope="module")
def pixels(crowd_film):
    film = cv2.VideoCapture(str(crowd_film))
    pictures = []
    while (read := film.read())[0]:
        pictures.append(read[1])
    film.release()
    assert len(pictures) == 90
    return Pixels(pictures[::2])


# However slow the machine is under strace, all that waits is recorded at the end.
UNHURRIED = with_timing(
    "WallTiming(shutdown_timeout_s=300, forced_end_s=900, writer=WriterTiming(close_timeout_s=300))"
)


class Watched:
    """The wall under strace, for a while; then all that it wrote."""

    def __init__(self, folder, screen, built, film, patch=""):
        self.folder, self.port = folder, free_port()
        (folder / "config.yaml").write_text(
            f"camera: {{source: {film}}}\n"
            f"inference: {{engines: {built}, device: cpu}}\n"
            "record: {file: said.sqlite}\n"
            f"status: {{port: {self.port}}}\n"
        )
        # The graphics driver keeps compiled shaders; here, where they can be looked at.
        environment = {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        self.trace = folder / "trace"
        under = under_strace(self.trace)
        patch = UNHURRIED + dedent(patch)
        self.wall = Running(folder, screen, patch, under, environment.items())
        self.kept: dict[str, bytes] = {}

    def ask(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=LONG) as answer:
            return answer.read()

    def look_at_files(self):
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in (self.trace, self.folder / "config.yaml"):
                self.kept[f"{path} {len(self.kept)}"] = path.read_bytes()

    def run(self):
        try:
            self.wall.wait_for(" 2 faces,", times=3)
            self.look_at_files()
            self.ask("/")
            self.ask("/metrics")
            self.limits = Path(f"/proc/{self.wall.process.pid}/limits").read_text()
            self.filter = Path(f"/proc/{self.wall.process.pid}/coredump_filter").read_text()
            self.wall.send(signal.SIGHUP)
            self.wall.wait_for("READY=1")
            assert self.wall.end() == 0
        finally:
            self.wall.close()
        self.look_at_files()
        self.calls = calls(self.trace, self.wall.process.pid)

    @property
    def suspects(self):
        folder = re.escape(str(self.folder))
        files = (
            rf"({folder}/)?said\.sqlite(-wal|-shm|-journal)?",
            rf"{folder}/(log|cache(/mesa_shader_cache.*)?)",
            r"/proc/(self|\d+)/coredump_filter",
            # The graphics driver's; of udmabuf it makes buffers that it and the screen share.
            r"/dev/(null|tty|udmabuf|dri/.*)",
        )
        return suspicious(self.calls, files, SOCKETS)


@pytest.fixture(scope="module")
def watched(tmp_path_factory, screen, built, crowd_film):
    watched = Watched(tmp_path_factory.mktemp("wall"), screen, built, crowd_film)
    watched.run()
    return watched


def test_nothing_is_opened_or_met_that_could_take_a_picture(watched):
    assert [f"{each.name} {each.target} {each.data!r}" for each in watched.suspects] == []


def test_no_file_holds_anything_of_a_picture(watched, pixels):
    written = to_files(watched.calls)
    assert any(name.endswith("said.sqlite-wal") for name in written)
    for name, data in (written | watched.kept).items():
        assert not looks_like_pictures(data), name
        assert not pixels.are_in(data), name
        assert len(data) < _MOST or "mesa_shader_cache" in name, name


def test_the_log_is_text_and_short(watched):
    log = to_files(watched.calls)[str(watched.folder / "log")].decode()
    assert "Traceback" not in log and log.replace("\n", "").isprintable()
    assert all(len(line) < 300 for line in log.splitlines())


def test_no_picture_is_served(watched, pixels):
    sent = b"".join(each.data for each in watched.calls if each.target.startswith("TCP"))
    assert b"installation_healthy" in sent
    assert not looks_like_pictures(sent) and not pixels.are_in(sent)


def test_what_is_recorded_tells_nobody(watched):
    with sqlite3.connect(watched.folder / "said.sqlite") as record:
        columns = record.execute("SELECT name FROM pragma_table_info('entry')").fetchall()
        rows = record.execute("SELECT * FROM entry").fetchall()
    assert rows
    # The id is made of chance alone.
    allowed = {"hour", "wnid", "confidence", "seconds", "source", "policy", "engine", "id"}
    assert {name for (name,) in columns} <= allowed
    assert all(not isinstance(value, bytes) for row in rows for value in row)
    assert all(len(str(value)) < 40 for row in rows for value in row)


def test_it_forgoes_core_dumps(watched):
    assert re.search(r"^Max core file size\s+0\s+0\s", watched.limits, re.MULTILINE)
    assert int(watched.filter, 16) == 0


LEAKS = """
    import os, socket, sys, tempfile
    import cv2
    from installation.display.presenter import Presenter
    honest, leaks = Presenter.show, []

    def leak(pixels):
        cv2.imwrite("leaked.jpg", pixels)
        tempfile.TemporaryFile().write(b"anything")
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"anything", ("127.0.0.1", 9))
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect_ex(("192.0.2.1", 9))
        file = os.open("said.sqlite", os.O_RDWR | os.O_CREAT)
        os.pwrite(file, pixels[300].tobytes(), 1 << 20)
        os.mkdir("elsewhere")

    def show(wall):
        honest(wall)
        if wall.frame is not None and wall.face_count == 2 and not leaks:
            leaks.append(leak(wall.frame.pixels))

    Presenter.show = show
    socket.setdefaulttimeout(0.1)
"""


def test_what_leaves_it_would_be_noticed(tmp_path, screen, built, crowd_film, pixels):
    watched = Watched(tmp_path, screen, built, crowd_film, LEAKS)
    watched.run()
    noticed = [f"{each.name}({each.target} {each.data!r}" for each in watched.suspects]
    for leak in (
        r"openat\( .*leaked\.jpg",
        r"openat\( .*/tmp",
        r"sendto\(UDP",
        r"connect\(TCP",
        r"mkdir\( .*elsewhere",
    ):
        assert any(re.match(leak, each) for each in noticed), (leak, noticed)
    assert looks_like_pictures((tmp_path / "leaked.jpg").read_bytes())
    hidden = [data for name, data in to_files(watched.calls).items() if name.endswith(".sqlite")]
    assert pixels.are_in(hidden[0])
