"""Errors when a record is opened, read or written, and their remedies."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
from pathlib import Path

from installation.errors import InstallationError

# Opening a record and writing a few rows takes less.
_MIN_FREE_BYTES = 2**18
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_SET_ANOTHER_PATH = "set record.file to another path"
# What SQLite reports, among other things, if it cannot create its files beside a record.
_AMBIGUOUS = ("disk I/O error", "unable to open database file")
DISK_FULL = "the disk is full"
FREE_SPACE = "free some space on this disk"


class RecordError(InstallationError):
    """The record cannot be opened, read or written at the moment."""


class DamagedError(Exception):
    """The file is not a valid database; it may have been set aside."""


def exists(path: Path) -> bool:
    """Return whether a record file exists, without opening it: opening a pipe would block.

    Parameters
    ----------
    path
        The record; links are followed.

    Raises
    ------
    RecordError
        The path is something other than a file, or cannot be checked.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        if path.is_symlink() and not Path(os.path.realpath(path)).parent.is_dir():
            raise RecordError(
                f"{path}: a link to {path.readlink()}, which does not exist; "
                f"mount its disk, or {_SET_ANOTHER_PATH}"
            ) from error
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RecordError(
                f"{path}: a link to itself; remove it, or {_SET_ANOTHER_PATH}"
            ) from error
        if error.errno == errno.ENOTDIR:
            file = next((each for each in path.parents if each.exists() and not each.is_dir()), "")
            raise RecordError(f"{path}: {file} is not a folder; {_SET_ANOTHER_PATH}") from error
        raise as_record_error(path, error) from error
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise RecordError(f"{path}: {kind}, not a file; {_SET_ANOTHER_PATH}")
    return True


def is_corruption(error: BaseException) -> bool:
    """Return whether an error means that the file is corrupt or not a database."""
    # Python has no more specific class for "malformed" and "not a database"; and the message may
    # quote malformed content, which then cannot be decoded.
    return (
        type(error) is sqlite3.DatabaseError
        or isinstance(error, (UnicodeDecodeError, DamagedError))
        or "unsupported file format" in str(error)
    )


def as_record_error(path: Path, error: Exception) -> RecordError:
    """Turn an error from writing to a record into one that names the remedy."""
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    reason = actual_reason(path, reason)
    if _is_full(path):
        remedy = FREE_SPACE
    elif isinstance(error, FileNotFoundError) and not path.parent.is_dir():
        remedy = f"create the folder {path.parent}, or {_SET_ANOTHER_PATH}"
    elif "locked" in reason:
        remedy = "stop the other program that is writing to it"
    elif is_corruption(error):
        remedy = "replace it with a good copy, or move it away to start a new one"
    else:
        remedy = f"give this user write permission on a working disk, or {_SET_ANOTHER_PATH}"
    return RecordError(f"{path}: {reason}; {remedy}")


def actual_reason(path: Path, reason: str) -> str:
    """Return why a record cannot be used: `DISK_FULL` if that is what an ambiguous reason means.

    Parameters
    ----------
    path
        The record.
    reason
        What SQLite reported.
    """
    return DISK_FULL if reason in _AMBIGUOUS and _is_full(path) else reason


def _is_full(path: Path) -> bool:
    with contextlib.suppress(OSError):
        disk = os.statvfs(Path(os.path.realpath(path)).parent)
        no_more_files = disk.f_files > 0 and disk.f_favail == 0
        return no_more_files or disk.f_bavail * disk.f_frsize < _MIN_FREE_BYTES
    return False
