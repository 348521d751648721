import os
import shutil
from collections import namedtuple
from contextlib import closing
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import pytest

from installation.checks import machine
from installation.checks.isolated import run_isolated
from installation.config.model import Camera, Config, Inference, Opening, Record
from installation.record.entry import Entry
from installation.record.expiry import Expiry
from installation.record.store import Store
from tests.record.odd_places import ODD_PLACES, make_odd_places

Usage = namedtuple("Usage", "total used free")


def kept(folder, name="record.sqlite"):
    return Config(
        record=Record(file=folder / name), inference=Inference(engines=folder / "engines")
    )


@pytest.mark.parametrize(
    ("free", "level", "said"),
    [
        (50e9, "ok", "50.0 GB free"),
        (1e9, "warning", "1.0 GB free"),
        (1e7, "trouble", "10 MB free"),
        (0, "trouble", "is full"),
    ],
)
def test_disks_are_looked_at_once_each(tmp_path, monkeypatch, free, level, said):
    monkeypatch.setattr(machine, "_SYSTEM", ())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100e9, 0, free))
    # Folders that are not there yet belong to the disk they will be on.
    (seen,) = machine.disk(kept(tmp_path))
    assert seen.level == level
    assert said in seen.said


def test_a_full_disk_of_the_system_is_named_though_nothing_of_ours_is_on_it(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_SYSTEM", (Path("/proc"),))
    usage = shutil.disk_usage
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda path: Usage(1e9, 1e9, 0) if path == Path("/proc") else usage(path),
    )
    seen = [each for each in machine.disk(kept(tmp_path)) if "/proc" in each.said]
    assert [(each.level, each.said) for each in seen] == [
        ("trouble", "the disk with /proc is full")
    ]


def test_a_disk_without_room_for_another_file_is_named(tmp_path, monkeypatch):
    told = list(os.statvfs(tmp_path))
    told[5], told[7] = 1000, 0
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(told))
    (seen,) = machine.disk(kept(tmp_path))
    assert seen.level == "trouble" and "no room for another file" in seen.said


class Clock(datetime):
    """A clock that shows a time of our choosing."""

    shows = "2026-11-22T12:00+00:00"

    @classmethod
    def now(cls, tz=None):
        return datetime.fromisoformat(cls.shows).astimezone(tz)


@pytest.fixture
def clock(monkeypatch):
    # The program's own files are older than that.
    os_stat = machine.Path.stat
    old = namedtuple("Stat", "st_mtime")(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp())
    monkeypatch.setattr(
        machine.Path,
        "stat",
        lambda path, **how: old if path.name == "machine.py" else os_stat(path, **how),
    )
    monkeypatch.setattr(machine, "datetime", Clock)
    monkeypatch.setattr(machine, "_synchronised", lambda: True)

    def check(shows, **hours):
        monkeypatch.setattr(Clock, "shows", shows)
        (seen,) = machine.clock(Config(hours=Opening(**hours)))
        return seen

    return check


def test_a_clock_that_is_right(clock):
    seen = clock("2026-11-22T12:00+00:00", timezone="Test/Berlin")
    assert (seen.level, seen.said) == ("ok", "2026-11-22 13:00 (Test/Berlin), synchronised")


@pytest.mark.parametrize("shows", ["1970-01-01T00:10+00:00", "2101-01-01T00:00+00:00"])
def test_a_clock_that_cannot_be_right(clock, shows):
    assert clock(shows, timezone="UTC").level == "trouble"


def test_a_clock_that_nobody_keeps_right(clock, monkeypatch):
    monkeypatch.setattr(machine, "_synchronised", lambda: False)
    assert clock("2026-11-22T12:00+00:00").level == "warning"


@pytest.mark.parametrize(
    ("told", "remedy"),
    [
        (
            "CanNTP=no\nNTP=no",
            "no time service is installed: sudo apt-get install systemd-timesyncd",
        ),
        ("CanNTP=yes\nNTP=no", "sudo timedatectl set-ntp true"),
        ("CanNTP=yes\nNTP=yes", "connect the machine to the network"),
    ],
)
def test_what_would_keep_the_clock_right_is_named(clock, monkeypatch, tmp_path, told, remedy):
    monkeypatch.setattr(machine, "_synchronised", lambda: False)
    script = tmp_path / "timedatectl"
    script.write_text(f"#!/bin/sh\nprintf '{told}\\n'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert remedy in clock("2026-11-22T12:00+00:00").remedy


def test_opening_hours_in_a_zone_that_nobody_set(clock, monkeypatch):
    monkeypatch.setattr("installation.supervision.hours._machine_zone", lambda: timezone.utc)
    assert clock("2026-11-22T12:00+00:00").level == "ok"
    seen = clock("2026-11-22T12:00+00:00", open=("mon 10:00-18:00",))
    assert seen.level == "warning" and "hours.timezone" in seen.remedy


def test_the_kernel_tells_whether_the_clock_is_kept():
    assert machine._synchronised() in (True, False)


@pytest.mark.parametrize(("degrees", "level"), [(50.0, "ok"), (95.0, "warning")])
def test_heat(monkeypatch, degrees, level):
    monkeypatch.setattr(machine, "temperature", lambda: degrees)
    (seen,) = machine.heat(Config())
    assert seen.level == level
    monkeypatch.setattr(machine, "temperature", lambda: None)
    assert list(machine.heat(Config())) == []


def test_a_record_is_counted(tmp_path):
    config = kept(tmp_path)
    (seen,) = machine.record(config)
    assert (seen.level, seen.said) == ("ok", f"{tmp_path}/record.sqlite: nothing yet")
    with closing(Store(config.record.file)) as store:
        store.add([Entry(472222, "n10104064", 0.5, 3, "wall", "safe", "e")] * 1234)
        # While the wall writes, too.
        (seen,) = machine.record(config)
    assert seen.said == f"{tmp_path}/record.sqlite: 1,234 words"


def test_a_deletion_that_is_announced_is_told(tmp_path):
    config = kept(tmp_path)
    with closing(Store(config.record.file)) as store:
        store.add([Entry(hour, "n10104064", 0.5, 3, "wall", "safe", "e") for hour in (1, 2, 10**6)])
        Expiry(config.record.file, 30).sweep(store, 480_000 * 3600)
    (seen,) = machine.record(config)
    assert seen.level == "warning"
    assert seen.said.startswith(f"{tmp_path}/record.sqlite: 3 words; 2 words from before 20")
    assert "will be deleted on 20" in seen.said and "record.keep_days is 30" in seen.said
    assert seen.remedy.startswith("to keep them, put record.keep_days back")


@pytest.mark.parametrize("place", ODD_PLACES)
def test_what_is_no_record_is_told_at_once(tmp_path, place):
    make_odd_places(tmp_path)
    (seen,) = run_isolated("record", partial(machine.record, kept(tmp_path, place)), 60)
    assert seen.level == "trouble"
    assert seen.said.startswith(ODD_PLACES[place].format(tmp_path))


def test_a_link_to_a_record_is_followed(tmp_path):
    link = tmp_path / "link"
    (tmp_path / "disk").mkdir()
    link.symlink_to("disk/record.sqlite")
    (seen,) = machine.record(kept(tmp_path, "link"))
    assert seen.level == "warning"
    assert seen.said == f"{link}: a link to disk/record.sqlite, where no file is yet"
    Store(link).close()
    (tmp_path / "disk" / "record.sqlite.damaged-20261122-180000").touch()
    found, aside = machine.record(kept(tmp_path, "link"))
    assert (found.level, found.said) == ("ok", f"{link}: 0 words")
    assert "1 damaged was set aside" in aside.said


def test_a_record_that_was_damaged(tmp_path):
    for name in ("20261122-180000", "20261122-180000-wal"):
        (tmp_path / f"record.sqlite.damaged-{name}").touch()
    (_, seen) = machine.record(kept(tmp_path))
    assert seen.level == "warning" and "1 damaged was set aside" in seen.said


def test_a_record_that_cannot_be(tmp_path, monkeypatch):
    (seen,) = machine.record(kept(tmp_path / "nowhere"))
    assert seen.level == "trouble" and "no such folder" in seen.said
    monkeypatch.setattr(os, "access", lambda *_: False)
    (seen,) = machine.record(kept(tmp_path))
    assert seen.level == "trouble" and "cannot be written" in seen.said
    (seen,) = machine.record(Config(record=Record(file=None)))
    assert seen.level == "ok"


def test_what_a_user_may_not_use_is_named_with_its_group(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_DEV", tmp_path)
    (tmp_path / "dri").mkdir()
    for name in ("dri/renderD128", "video0"):
        (tmp_path / name).touch()
    config = Config(camera=Camera(source=str(tmp_path / "video0")))
    (seen,) = machine.permissions(config)
    assert seen.level == "ok"
    # Root may use anything, so that it is said here.
    monkeypatch.setattr(os, "access", lambda *_: False)
    graphics, camera, *_ = machine.permissions(config)
    assert (graphics.level, camera.level) == ("warning", "trouble")
    assert str(tmp_path / "video0") in camera.said
    assert camera.remedy.startswith("sudo usermod -aG ")
