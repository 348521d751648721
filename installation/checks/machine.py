"""Checks of the machine: record, disk, clock, temperature, permissions."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import grp
import os
import pwd
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from installation.checks.finding import Finding, error, ok, warning
from installation.checks.service import SYSTEMD, command_output
from installation.config.model import Config
from installation.record.errors import exists
from installation.record.expiry import KEEP_ROWS_ADVICE, announced_deletion
from installation.record.reader import open_readonly
from installation.supervision.temperature import temperature

_GB, _MB = 10**9, 10**6
# An upgrade with its engines takes the first; below the second nothing works reliably.
_UPGRADE_BYTES, _MIN_FREE_BYTES = 2.5 * _GB, 100 * _MB
_FULL_BYTES = _MB
_MIN_FREE_INODES = 100
# Where the system writes.
_SYSTEM_FOLDERS = (Path("/"), Path("/tmp"), Path("/var"))  # noqa: S108  # inspected, not used
_HIGH_TEMPERATURE_C = 85.0
# Result of adjtimex(2) while the clock is not synchronised.
_TIME_ERROR = 5
_MAX_YEAR = 2100
_GRAPHICS_NODES = ("dri/card*", "dri/renderD*", "nvidia[0-9]*", "nvidiactl")
_DEV = Path("/dev")


def check_record(config: Config) -> Iterator[Finding]:
    """Check that the record can be written and read, and was not damaged."""
    name, path = "record", config.record.file
    if path is None:
        yield ok(name, "none: record.file is null")
        return
    is_there = exists(path)
    # A link may lead to a file that does not exist yet.
    file = Path(os.path.realpath(path))
    if not file.parent.is_dir():
        yield error(name, f"{file.parent}: no such folder", "create it, or set record.file")
        return
    for each in (file.parent, file) if is_there else (file.parent,):
        if not os.access(each, os.W_OK):
            remedy = "let this user write there, or set record.file"
            yield error(name, f"{each} cannot be written", remedy)
            return
    if is_there:
        yield _check_rows(path)
    elif path.is_symlink():
        message = f"{path}: a link to {path.readlink()}, which does not exist yet"
        yield warning(name, message, "if it should exist, check that its disk is mounted")
    else:
        yield ok(name, f"{path}: nothing yet")
    damaged = {
        each.name.removesuffix("-wal").removesuffix("-shm")
        for each in file.parent.glob(f"{glob.escape(file.name)}.damaged-*")
    }
    if damaged:
        files = "file was" if len(damaged) == 1 else "files were"
        message = f"{len(damaged)} damaged {files} set aside: {min(damaged)}"
        yield warning(name, message, "move or delete it, and check the disk")


def _check_rows(path: Path) -> Finding:
    with open_readonly(path) as database:
        rows = database.execute("SELECT count(*) FROM entry").fetchone()[0]
        deletion = announced_deletion(database)
    if deletion is None:
        return ok("record", f"{path}: {rows:,} words")
    return warning("record", f"{path}: {rows:,} words; {deletion}", KEEP_ROWS_ADVICE)


def check_disk(
    config: Config, system_folders: Sequence[Path] = _SYSTEM_FOLDERS
) -> Iterator[Finding]:
    """Check the free space for record and engines, and where the system writes.

    Parameters
    ----------
    config
        Says where record and engines are.
    system_folders
        Where the system writes; reported only if there is no space left.
    """
    folders = [config.inference.engines]
    if config.record.file is not None:
        folders.append(config.record.file.parent)
    disks = set()
    for folder in map(_existing_folder, (*folders, *system_folders)):
        if (disk := folder.stat().st_dev) not in disks:
            disks.add(disk)
            yield from _check_space(folder, is_own=folder not in system_folders)


def _check_space(folder: Path, is_own: bool) -> Iterator[Finding]:
    name, stat = "disk", os.statvfs(folder)
    free = shutil.disk_usage(folder).free
    if stat.f_flag & os.ST_RDONLY:
        if is_own:
            yield error(name, f"{folder} is read-only", "look for disk errors: sudo dmesg")
    elif free < _FULL_BYTES:
        remedy = "free space; to see what takes it: sudo du -xhd1 / | sort -h"
        yield error(name, f"the disk with {folder} is full", remedy)
    elif stat.f_files and stat.f_favail < _MIN_FREE_INODES:
        message = f"the disk with {folder} has no room for another file (see df -i)"
        yield error(name, message, "delete some files")
    elif is_own and free < _MIN_FREE_BYTES:
        yield error(name, f"{free / _MB:.0f} MB free in {folder}", "free space")
    elif is_own and free < _UPGRADE_BYTES:
        message = f"{free / _GB:.1f} GB free in {folder}"
        yield warning(name, message, f"an upgrade takes {_UPGRADE_BYTES / _GB:g} GB")
    elif is_own:
        yield ok(name, f"{free / _GB:.1f} GB free in {folder}")


def _existing_folder(folder: Path) -> Path:
    """Return a folder or the nearest one above it that exists."""
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def is_clock_synchronised() -> bool:
    """Return whether the kernel says that the clock is synchronised (adjtimex(2))."""
    with contextlib.suppress(OSError, AttributeError):
        # The buffer is larger than the structure on any platform; zeros query and change nothing.
        return bool(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) != _TIME_ERROR)
    return False


def check_clock(
    config: Config, is_synchronised: Callable[[], bool] = is_clock_synchronised
) -> Iterator[Finding]:
    """Check date, time and time zone.

    Parameters
    ----------
    config
        Has the opening hours and their time zone.
    is_synchronised
        Returns whether the clock is synchronised.
    """
    name = "clock"
    now = datetime.now(config.hours.schedule.zone)
    zone = config.hours.timezone or f"{now:%Z}, the machine's"
    time = f"{now:%Y-%m-%d %H:%M} ({zone})"
    # No clock can be right that is before this program was installed.
    if now.timestamp() < Path(__file__).stat().st_mtime - 86400 or now.year >= _MAX_YEAR:
        remedy = "set it with timedatectl, or connect the machine to the network"
        yield error(name, f"{time} cannot be right", remedy)
    elif not is_synchronised():
        yield warning(name, f"{time}, not synchronised", _synchronisation_remedy())
    elif config.hours.open and config.hours.timezone is None and now.tzname() == "UTC":
        remedy = "set hours.timezone, such as Europe/Berlin"
        yield warning(name, f"{time}; opening hours are in UTC", remedy)
    else:
        yield ok(name, f"{time}, synchronised")


def _synchronisation_remedy() -> str:
    query = "timedatectl", "show", "-p", "CanNTP", "-p", "NTP"
    shown = command_output(SYSTEMD.timeout_s, *query) or ""
    if "CanNTP=no" in shown:
        return "no time service is installed: sudo apt-get install systemd-timesyncd"
    if "NTP=no" in shown.splitlines():
        return "the time service is off: sudo timedatectl set-ntp true"
    return "connect the machine to the network, and see timedatectl"


def check_temperature(_config: Config) -> Iterator[Finding]:
    """Check the machine's temperature, if it has a sensor."""
    degrees = temperature()
    if degrees is None:
        return
    message = f"{degrees:.0f} °C"
    if degrees >= _HIGH_TEMPERATURE_C:
        yield warning("temperature", message, "improve the ventilation")
    else:
        yield ok("temperature", message)


def check_permissions(config: Config, dev: Path = _DEV) -> Iterator[Finding]:
    """Check that this user may use the camera, the graphics card and the engines.

    Parameters
    ----------
    config
        Says which camera, and where the engines are.
    dev
        Folder of the device nodes.
    """
    name, user = "permissions", str(os.geteuid())
    with contextlib.suppress(KeyError):
        user = pwd.getpwuid(os.geteuid()).pw_name
    faults = list(_denied(config, dev, user))
    yield from faults
    if not faults:
        yield ok(name, f"{user} may use camera and graphics card")


def _denied(config: Config, dev: Path, user: str) -> Iterator[Finding]:
    name = "permissions"
    for pattern in _GRAPHICS_NODES:
        for node in sorted(dev.glob(pattern)):
            if not os.access(node, os.R_OK | os.W_OK):
                yield warning(name, f"{user} may not use {node}", _group_remedy(node, user))
    source = config.camera.source
    node = dev / f"video{source}" if source.isdecimal() else Path(source)
    if node.is_relative_to(dev) and node.exists() and not os.access(node, os.R_OK | os.W_OK):
        yield error(name, f"{user} may not use {node}", _group_remedy(node, user))
    for folder in (config.inference.engines, *config.inference.engines.glob("*/")):
        # Left by a command that root ran.
        if folder.is_dir() and not os.access(folder, os.W_OK) and folder.owner() == "root":
            remedy = f"sudo chown -R {user}: {config.inference.engines}"
            yield warning(name, f"{user} cannot replace {folder}, which belongs to root", remedy)


def _group_remedy(node: Path, user: str) -> str:
    with contextlib.suppress(KeyError):
        return f"sudo usermod -aG {grp.getgrgid(node.stat().st_gid).gr_name} {user}"
    return "see the udev rules"
