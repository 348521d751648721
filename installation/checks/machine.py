"""What the program needs of the machine: room, time, and leave to use it."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import grp
import os
import pwd
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from installation.checks import service
from installation.checks.finding import Finding, ok, trouble, warning
from installation.config.model import Config
from installation.record.errors import exists
from installation.record.expiry import KEEP_THEM, announced
from installation.record.reader import open_readonly
from installation.supervision.temperature import temperature

_GB, _MB = 10**9, 10**6
# An upgrade with its engines takes the first; below the second nothing goes well any more.
_ROOM, _LITTLE = 2.5 * _GB, 100 * _MB
# Inodes.
_FEW_FILES = 100
# Where the system writes.
_SYSTEM = (Path("/"), Path("/tmp"), Path("/var"))  # noqa: S108  # looked at, not used
_HOT = 85.0
# What adjtimex(2) returns while nobody keeps the clock right.
_UNSYNCHRONISED = 5
_LAST_YEAR = 2100
_GRAPHICS = ("dri/card*", "dri/renderD*", "nvidia[0-9]*", "nvidiactl")
_DEV = Path("/dev")


def disk(config: Config) -> Iterator[Finding]:
    """Look at the room for record and engines, and for what the system writes."""
    folders = [config.inference.engines]
    if config.record.file is not None:
        folders.append(config.record.file.parent)
    seen = set()
    for folder in map(_there, (*folders, *_SYSTEM)):
        if (disk := folder.stat().st_dev) in seen:
            continue
        seen.add(disk)
        yield from _room(folder, ours=folder not in _SYSTEM)


def _room(folder: Path, ours: bool) -> Iterator[Finding]:
    about, told = "disk", os.statvfs(folder)
    free = shutil.disk_usage(folder).free
    if told.f_flag & os.ST_RDONLY:
        if ours:
            yield trouble(about, f"{folder} is read-only", "look for errors with: dmesg")
    elif free < _MB:
        remedy = "make room: sudo du -xhd1 / | sort -h tells what takes it"
        yield trouble(about, f"the disk with {folder} is full", remedy)
    elif told.f_files and told.f_favail < _FEW_FILES:
        said = f"the disk with {folder} has no room for another file, however small (see df -i)"
        yield trouble(about, said, "delete some")
    elif ours and free < _LITTLE:
        yield trouble(about, f"{free / _MB:.0f} MB free in {folder}", "make room")
    elif ours and free < _ROOM:
        said = f"{free / _GB:.1f} GB free in {folder}"
        yield warning(about, said, f"an upgrade takes {_ROOM / _GB:g} GB")
    elif ours:
        yield ok(about, f"{free / _GB:.1f} GB free in {folder}")


def _there(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def clock(config: Config) -> Iterator[Finding]:
    """Look at the time."""
    zone = config.hours.schedule.zone
    now = datetime.now(zone)
    named = config.hours.timezone or f"{now:%Z}, the machine's"
    said = f"{now:%Y-%m-%d %H:%M} ({named})"
    # Nobody can run a program that is yet to be installed.
    if now.timestamp() < Path(__file__).stat().st_mtime - 86400 or now.year >= _LAST_YEAR:
        remedy = "set it, with timedatectl, or connect the machine to the network"
        yield trouble("clock", f"{said} cannot be", remedy)
    elif not _synchronised():
        yield warning("clock", f"{said}, kept right by nobody", _time_service())
    elif config.hours.open and config.hours.timezone is None and now.tzname() == "UTC":
        remedy = "set hours.timezone, such as Europe/Berlin"
        yield warning("clock", f"{said}; opening hours are in UTC", remedy)
    else:
        yield ok("clock", f"{said}, synchronised")


def _synchronised() -> bool:
    """Ask the kernel (adjtimex(2)), which whatever keeps the time tells."""
    with contextlib.suppress(OSError, AttributeError):
        # Larger than its structure is anywhere; zeros ask and change nothing.
        return bool(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) != _UNSYNCHRONISED)
    return False


def _time_service() -> str:
    """Return what to do about a clock that nobody keeps right."""
    shown = service.ask("timedatectl", "show", "-p", "CanNTP", "-p", "NTP") or ""
    if "CanNTP=no" in shown:
        return "no time service is installed: sudo apt-get install systemd-timesyncd"
    if "NTP=no" in shown.splitlines():
        return "the time service is off: sudo timedatectl set-ntp true"
    return "connect the machine to the network, and see timedatectl"


def heat(_config: Config) -> Iterator[Finding]:
    """Look at the temperature."""
    found = temperature()
    if found is None:
        return
    said = f"{found:.0f} °C"
    if found >= _HOT:
        yield warning("temperature", said, "let it have more air")
    else:
        yield ok("temperature", said)


def permissions(config: Config) -> Iterator[Finding]:
    """Look at what this user may use."""
    about = "permissions"
    who = str(os.geteuid())
    with contextlib.suppress(KeyError):
        who = pwd.getpwuid(os.geteuid()).pw_name
    refused = False
    for pattern in _GRAPHICS:
        for node in sorted(_DEV.glob(pattern)):
            if not os.access(node, os.R_OK | os.W_OK):
                refused = True
                yield warning(about, f"{who} may not use {node}", _join(node, who))
    written = config.camera.source
    node = Path(f"/dev/video{written}" if written.isdecimal() else written)
    if node.is_relative_to(_DEV) and node.exists() and not os.access(node, os.R_OK | os.W_OK):
        refused = True
        yield trouble(about, f"{who} may not use {node}", _join(node, who))
    for folder in (config.inference.engines, *config.inference.engines.glob("*/")):
        # Root's files in it are what a command of another version has left.
        if folder.is_dir() and not os.access(folder, os.W_OK) and folder.owner() == "root":
            refused = True
            remedy = f"sudo chown -R {who}: {config.inference.engines}"
            yield warning(about, f"{who} cannot renew {folder}, which is root's", remedy)
    if not refused:
        yield ok(about, f"camera and graphics card are open to {who}")


def _join(node: Path, who: str) -> str:
    with contextlib.suppress(KeyError):
        return f"sudo usermod -aG {grp.getgrgid(node.stat().st_gid).gr_name} {who}"
    return "see the rules of udev"


def record(config: Config) -> Iterator[Finding]:
    """Look at the record."""
    about, path = "record", config.record.file
    if path is None:
        yield ok(about, "none is kept, as record.file says")
        return
    there = exists(path)
    # A link is followed, to a file that may be yet to be made.
    file = Path(os.path.realpath(path))
    if not file.parent.is_dir():
        yield trouble(about, f"{file.parent}: no such folder", "make it, or set record.file")
        return
    for each in (file.parent, file) if there else (file.parent,):
        if not os.access(each, os.W_OK):
            remedy = "let this user write there, or set record.file"
            yield trouble(about, f"{each} cannot be written", remedy)
            return
    if there:
        with open_readonly(path) as database:
            rows = database.execute("SELECT count(*) FROM entry").fetchone()[0]
            due = announced(database)
        if due is None:
            yield ok(about, f"{path}: {rows:,} words")
        else:
            yield warning(about, f"{path}: {rows:,} words; {due}", KEEP_THEM)
    elif path.is_symlink():
        said = f"{path}: a link to {path.readlink()}, where no file is yet"
        yield warning(about, said, "if it should be there, see whether its disk is")
    else:
        yield ok(about, f"{path}: nothing yet")
    aside = {
        each.name.removesuffix("-wal").removesuffix("-shm")
        for each in file.parent.glob(f"{glob.escape(file.name)}.damaged-*")
    }
    if aside:
        said = (
            f"{len(aside)} damaged {'was' if len(aside) == 1 else 'were'} set aside: {min(aside)}"
        )
        yield warning(about, said, "keep it elsewhere or delete it, and look at the disk")
