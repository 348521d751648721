"""A changed config is noticed without being told, once, and not while it is being replaced."""

import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from installation.config.reload import ConfigFile
from installation.config.watch import ConfigWatch, WatchTiming
from installation.runtime.signals import Signals
from installation.supervision.systemd_notify import Notifier

LONG = 60
# So that nothing is told that is put right within a minute.
NEVER = 600.0


class Program:
    """Goes by a config that is linked into a folder which others share."""

    def __init__(self, folder, caplog):
        self.shared = folder / "shared"
        self.shared.mkdir()
        self.target = self.shared / "config.yaml"
        self.target.write_text("theme: {text_scale: 1}\n")
        self.path = folder / "etc" / "config.yaml"
        self.overlays = folder / "etc" / "config.d"
        self.overlays.mkdir(parents=True)
        self.path.symlink_to(self.target)
        self.used = []
        self.told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.told.bind(str(folder / "notify"))
        self.told.setblocking(False)
        self.notifier = Notifier(str(folder / "notify"))
        self.signals = Signals()
        self.file = ConfigFile(self.path, None)
        self._caplog = caplog
        caplog.set_level(logging.INFO)

    def start(self, replace_s=0.2, hang_s=NEVER):
        assert self.file.start().theme.text_scale == 1
        self.watch = ConfigWatch(self.file, WatchTiming(0.02, 0.05, replace_s, hang_s))

    def close(self):
        self.watch.stop()
        self.signals.restore()
        self.notifier.close()
        self.told.close()

    @property
    def sizes(self):
        return [config.theme.text_scale for config in self.used]

    @property
    def lines(self):
        return [each.message for each in self._caplog.records]

    @property
    def states(self):
        """What it has told its manager."""
        heard = []
        try:
            while True:
                heard.append(self.told.recv(4096).decode().partition("\n")[0])
        except BlockingIOError:
            return heard

    def poll(self):
        self.watch.poll(self.signals, self.notifier, self.used.append)

    def until(self, condition):
        end = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < end, (self.sizes, self.lines)
            self.poll()
            time.sleep(0.005)

    def rest(self, seconds=0.5):
        """Go on for a while in which something might happen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.poll()
            time.sleep(0.005)


@pytest.fixture
def program(tmp_path, caplog):
    program = Program(tmp_path, caplog)
    yield program
    program.close()


def write_in_place(program, text):
    program.target.write_text(text)


def rename_over(program, text):
    new = program.shared / "new"
    new.write_text(text)
    new.rename(program.target)


def swap_the_folder(program, text):
    other = program.shared.with_name("other")
    other.mkdir()
    (other / "config.yaml").write_text(text)
    program.shared.rename(program.shared.with_name("old"))
    other.rename(program.shared)


def point_the_link_elsewhere(program, text):
    (program.shared / "another.yaml").write_text(text)
    program.path.unlink()
    program.path.symlink_to(program.shared / "another.yaml")


def keep_size_and_time(program, text):
    before = program.target.stat()
    program.target.write_text(text)
    os.utime(program.target, ns=(before.st_atime_ns, before.st_mtime_ns))


def lay_over_it(program, text):
    (program.overlays / "wall.yaml").write_text(text)


def lay_a_link_over_it(program, text):
    (program.shared / "west.yaml").write_text(text)
    (program.overlays / "wall.yaml").symlink_to(program.shared / "west.yaml")


@pytest.mark.parametrize(
    "change",
    [
        *(write_in_place, rename_over, swap_the_folder, point_the_link_elsewhere),
        *(keep_size_and_time, lay_over_it, lay_a_link_over_it),
    ],
)
def test_a_change_is_applied(program, change):
    program.start()
    program.rest(0.2)
    change(program, "theme: {text_scale: 2}\n")
    program.until(lambda: program.used)
    program.rest()
    assert program.sizes == [2] and program.lines == [] and program.states == []


def test_overlays_may_change_and_be_removed(program):
    program.start()
    lay_a_link_over_it(program, "theme: {text_scale: 2}")
    program.until(lambda: program.used)
    (program.shared / "west.yaml").write_text("theme: {text_scale: 3}")
    program.until(lambda: len(program.used) == 2)
    (program.overlays / "wall.yaml").unlink()
    program.until(lambda: len(program.used) == 3)
    assert program.sizes == [2, 3, 1]


def test_a_change_during_the_start_is_noticed(program):
    program.start()
    program.watch.stop()
    write_in_place(program, "theme: {text_scale: 2}")
    program.watch = ConfigWatch(program.file, WatchTiming(0.02, 0.05, 0.2, NEVER))
    program.until(lambda: program.used)
    assert program.sizes == [2]


def test_a_file_moved_away_and_back_changes_nothing(program):
    program.start(replace_s=NEVER)
    away = program.shared.with_name("away")
    for _ in range(3):
        program.shared.rename(away)
        program.rest(0.3)
        away.rename(program.shared)
        program.rest(0.3)
    assert program.used == [] and program.lines == []


def test_a_file_replaced_meanwhile_is_read_when_complete(program):
    program.start(replace_s=NEVER)
    program.target.unlink()
    program.rest(0.3)
    program.target.write_text("")
    program.rest(0.3)
    program.target.write_text("theme: {text_scale: ")
    program.rest(0.3)
    program.target.write_text("theme: {text_scale: 2}")
    program.until(lambda: program.used)
    assert program.sizes == [2] and program.lines == []


@pytest.mark.parametrize("broken", [None, "", "theme: {text_scale: 9}"])
def test_an_error_that_lasts_and_its_end_are_each_reported_once(program, broken):
    program.start()
    if broken is None:
        program.target.unlink()
    else:
        program.target.write_text(broken)
    program.until(lambda: program.lines)
    program.rest()
    (line,) = program.lines
    assert line.startswith(f"{program.path}:1: ")
    assert line.endswith("; keeping the previous configuration")
    assert program.file.error and line.startswith(program.file.error)
    program.target.write_text("theme: {text_scale: 2}")
    program.until(lambda: program.used)
    assert program.sizes == [2] and len(program.lines) == 1 and program.file.error is None


def test_when_it_is_gone_the_copy_is_named(program, tmp_path):
    program.file = ConfigFile(program.path, tmp_path)
    program.start()
    program.path.unlink()
    program.until(lambda: program.lines)
    (line,) = program.lines
    assert (
        f"; the last good config is kept in {tmp_path}/config.last-good.yaml; keeping the" in line
    )
    assert (tmp_path / "config.last-good.yaml").is_file()


def test_a_file_that_becomes_readable_is_read(program):
    program.start()
    program.target.write_bytes(b"# \xff")
    program.until(lambda: program.lines)
    program.target.write_text("theme: {text_scale: 2}")
    program.until(lambda: program.used)
    assert program.sizes == [2]


def send(program):
    os.kill(os.getpid(), signal.SIGHUP)
    program.rest(0.05)


def test_asked_for_it_is_read_at_once_and_then_no_more(program):
    program.watch = ConfigWatch(program.file, WatchTiming(NEVER, NEVER, NEVER, NEVER))
    program.file.start()
    for size in (2, 3):
        write_in_place(program, f"theme: {{text_scale: {size}}}")
        send(program)
        program.until(lambda size=size: program.sizes[-1:] == [size])
    heard = program.states
    assert [each for each in heard if each != "RELOADING=1"] == ["READY=1"] * 2
    assert heard[0] == "RELOADING=1" and heard[-1] == "READY=1"


def test_an_unchanged_config_answers_a_reload_request_only(program):
    program.start()
    heard = []
    for _ in range(3):
        send(program)
        program.until(lambda: heard.extend(program.states) or "READY=1" in heard[-1:])
    write_in_place(program, "theme: {text_scale: 2}")
    send(program)
    program.until(lambda: program.used)
    os.utime(program.target)
    send(program)
    program.rest()
    assert program.sizes == [2] and program.lines == []


def test_a_requested_reload_reports_an_error_at_once(program):
    program.start(replace_s=NEVER)
    write_in_place(program, "theme: {text_scale: 9}")
    send(program)
    program.until(lambda: program.lines)
    send(program)
    program.rest()
    (line,) = program.lines
    assert "theme.text_scale" in line


def test_a_requested_reload_waits_before_it_reports_a_missing_file(program):
    program.start(replace_s=NEVER)
    program.target.unlink()
    send(program)
    program.rest()
    assert program.lines == [] and "READY=1" not in program.states
    program.target.write_text("theme: {text_scale: 1}\n")
    heard = []
    program.until(lambda: heard.extend(program.states) or "READY=1" in heard)
    assert program.used == [] and program.lines == []


def test_a_file_server_that_does_not_respond_blocks_nobody(program, monkeypatch):
    program.start(hang_s=0.1)
    answers, stat = threading.Event(), Path.stat

    def hang(path, **how):
        if path == program.path:
            answers.wait(LONG)
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", hang)
    program.until(lambda: program.lines)
    send(program)
    program.rest()
    (line,) = program.lines
    assert line.startswith(f"{program.path}:1: does not respond; ")
    write_in_place(program, "theme: {text_scale: 2}")
    answers.set()
    program.until(lambda: program.used)
    assert program.sizes == [2] and len(program.lines) == 1
