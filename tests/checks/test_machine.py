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
from installation.config.model import Camera, Config, Hours, Inference, Record
from installation.record.entry import Entry
from installation.record.expiry import Expiry
from installation.record.store import Store
from tests.record.odd_places import ODD_PLACES, make_odd_places

Usage = namedtuple("Usage", "total used free")


def config_in(folder, name="record.sqlite"):
    return Config(
        record=Record(file=folder / name), inference=Inference(engines=folder / "engines")
    )


@pytest.mark.parametrize(
    ("free", "level", "message"),
    [
        (50e9, "ok", "50.0 GB free"),
        (1e9, "warning", "1.0 GB free"),
        (1e7, "error", "10 MB free"),
        (0, "error", "is full"),
    ],
)
def test_each_disk_is_checked_once(tmp_path, monkeypatch, free, level, message):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100e9, 0, free))
    # Folders that do not exist yet belong to the disk they will be on.
    (seen,) = machine.check_disk(config_in(tmp_path), ())
    assert seen.level == level
    assert message in seen.message


def test_a_full_system_disk_is_an_error_though_nothing_of_ours_is_on_it(tmp_path, monkeypatch):
    usage = shutil.disk_usage
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda path: Usage(1e9, 1e9, 0) if path == Path("/proc") else usage(path),
    )
    findings = machine.check_disk(config_in(tmp_path), (Path("/proc"),))
    seen = [each for each in findings if "/proc" in each.message]
    assert [(each.level, each.message) for each in seen] == [
        ("error", "the disk with /proc is full")
    ]


def test_a_disk_without_inodes_is_an_error(tmp_path, monkeypatch):
    stat = list(os.statvfs(tmp_path))
    stat[5], stat[7] = 1000, 0
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(stat))
    (seen,) = machine.check_disk(config_in(tmp_path), ())
    assert seen.level == "error" and "no room for another file" in seen.message


class Clock(datetime):
    """A clock that shows a time of the test's choice."""

    shows = "2026-11-22T12:00+00:00"

    @classmethod
    def now(cls, tz=None):
        return datetime.fromisoformat(cls.shows).astimezone(tz)


@pytest.fixture
def clock(monkeypatch):
    # The installed files are older than that.
    os_stat = machine.Path.stat
    old = namedtuple("Stat", "st_mtime")(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp())
    monkeypatch.setattr(
        machine.Path,
        "stat",
        lambda path, **how: old if path.name == "machine.py" else os_stat(path, **how),
    )
    monkeypatch.setattr(machine, "datetime", Clock)

    def check(shows, is_synchronised=True, **hours):
        monkeypatch.setattr(Clock, "shows", shows)
        config = Config(hours=Hours(**hours))
        (seen,) = machine.check_clock(config, lambda: is_synchronised)
        return seen

    return check


def test_a_correct_clock(clock):
    seen = clock("2026-11-22T12:00+00:00", timezone="Test/Berlin")
    assert (seen.level, seen.message) == ("ok", "2026-11-22 13:00 (Test/Berlin), synchronised")


@pytest.mark.parametrize("shows", ["1970-01-01T00:10+00:00", "2101-01-01T00:00+00:00"])
def test_an_impossible_time_is_an_error(clock, shows):
    assert clock(shows, timezone="UTC").level == "error"


def test_a_clock_that_is_not_synchronised(clock):
    assert clock("2026-11-22T12:00+00:00", is_synchronised=False).level == "warning"


@pytest.mark.parametrize(
    ("shown", "remedy"),
    [
        (
            "CanNTP=no\nNTP=no",
            "no time service is installed: sudo apt-get install systemd-timesyncd",
        ),
        ("CanNTP=yes\nNTP=no", "sudo timedatectl set-ntp true"),
        ("CanNTP=yes\nNTP=yes", "connect the machine to the network"),
    ],
)
def test_the_remedy_depends_on_the_time_service(clock, monkeypatch, tmp_path, shown, remedy):
    script = tmp_path / "timedatectl"
    script.write_text(f"#!/bin/sh\nprintf '{shown}\\n'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert remedy in clock("2026-11-22T12:00+00:00", is_synchronised=False).remedy


def test_opening_hours_without_a_time_zone(clock, monkeypatch):
    monkeypatch.setattr("installation.supervision.hours._machine_zone", lambda: timezone.utc)
    assert clock("2026-11-22T12:00+00:00").level == "ok"
    seen = clock("2026-11-22T12:00+00:00", open=("mon 10:00-18:00",))
    assert seen.level == "warning" and "hours.timezone" in seen.remedy


def test_the_kernel_says_whether_the_clock_is_synchronised():
    assert machine.is_clock_synchronised() in (True, False)


@pytest.mark.parametrize(("degrees", "level"), [(50.0, "ok"), (95.0, "warning")])
def test_temperature(monkeypatch, degrees, level):
    monkeypatch.setattr(machine, "temperature", lambda: degrees)
    (seen,) = machine.check_temperature(Config())
    assert seen.level == level
    monkeypatch.setattr(machine, "temperature", lambda: None)
    assert list(machine.check_temperature(Config())) == []


def test_the_rows_of_a_record_are_counted(tmp_path):
    config = config_in(tmp_path)
    (seen,) = machine.check_record(config)
    assert (seen.level, seen.message) == ("ok", f"{tmp_path}/record.sqlite: nothing yet")
    with closing(Store(config.record.file)) as store:
        store.add([Entry(472222, "n10104064", 0.5, 3, "wall", "safe", "e")] * 1234)
        # Also while it is being written.
        (seen,) = machine.check_record(config)
    assert seen.message == f"{tmp_path}/record.sqlite: 1,234 words"


def test_an_announced_deletion_is_a_warning(tmp_path):
    config = config_in(tmp_path)
    with closing(Store(config.record.file)) as store:
        store.add([Entry(hour, "n10104064", 0.5, 3, "wall", "safe", "e") for hour in (1, 2, 10**6)])
        Expiry(config.record.file, 30).sweep(store, 480_000 * 3600)
    (seen,) = machine.check_record(config)
    assert seen.level == "warning"
    assert seen.message.startswith(f"{tmp_path}/record.sqlite: 3 words; 2 words from before 20")
    assert "will be deleted on 20" in seen.message and "record.keep_days is 30" in seen.message
    assert seen.remedy.startswith("to keep them, restore record.keep_days")


@pytest.mark.parametrize("place", ODD_PLACES)
def test_a_file_that_is_not_a_record_is_an_error(tmp_path, place):
    make_odd_places(tmp_path)
    (seen,) = run_isolated("record", partial(machine.check_record, config_in(tmp_path, place)), 60)
    assert seen.level == "error"
    assert seen.message.startswith(ODD_PLACES[place].format(tmp_path))


def test_a_link_to_a_record_is_followed(tmp_path):
    link = tmp_path / "link"
    (tmp_path / "disk").mkdir()
    link.symlink_to("disk/record.sqlite")
    (seen,) = machine.check_record(config_in(tmp_path, "link"))
    assert seen.level == "warning"
    assert seen.message == f"{link}: a link to disk/record.sqlite, which does not exist yet"
    Store(link).close()
    (tmp_path / "disk" / "record.sqlite.damaged-20261122-180000").touch()
    found, damaged = machine.check_record(config_in(tmp_path, "link"))
    assert (found.level, found.message) == ("ok", f"{link}: 0 words")
    assert "1 damaged file was set aside" in damaged.message


def test_a_damaged_record_is_a_warning(tmp_path):
    for name in ("20261122-180000", "20261122-180000-wal"):
        (tmp_path / f"record.sqlite.damaged-{name}").touch()
    (_, seen) = machine.check_record(config_in(tmp_path))
    assert seen.level == "warning" and "1 damaged file was set aside" in seen.message


def test_a_record_that_cannot_be_written(tmp_path, monkeypatch):
    (seen,) = machine.check_record(config_in(tmp_path / "nowhere"))
    assert seen.level == "error" and "no such folder" in seen.message
    monkeypatch.setattr(os, "access", lambda *_: False)
    (seen,) = machine.check_record(config_in(tmp_path))
    assert seen.level == "error" and "cannot be written" in seen.message
    (seen,) = machine.check_record(Config(record=Record(file=None)))
    assert seen.level == "ok"


def test_a_denied_device_is_named_with_its_group(tmp_path, monkeypatch):
    (tmp_path / "dri").mkdir()
    for name in ("dri/renderD128", "video0"):
        (tmp_path / name).touch()
    config = Config(camera=Camera(source=str(tmp_path / "video0")))
    (seen,) = machine.check_permissions(config, tmp_path)
    assert seen.level == "ok"
    # Patched, because root may use anything.
    monkeypatch.setattr(os, "access", lambda *_: False)
    graphics, camera, *_ = machine.check_permissions(config, tmp_path)
    assert (graphics.level, camera.level) == ("warning", "error")
    assert str(tmp_path / "video0") in camera.message
    assert camera.remedy.startswith("sudo usermod -aG ")
