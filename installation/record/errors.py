"""What keeps a record from being opened, read or written, and what to do about it."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
from pathlib import Path

from installation.errors import InstallationError

# Bytes that opening a record takes, and some rows.
_ROOM = 2**18
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_ELSEWHERE = "set record.file to another place"
# What SQLite says, among others, where the files that it keeps beside a record cannot be made.
_UNCLEAR = ("disk I/O error", "unable to open database file")
FULL = "the disk is full"
MAKE_ROOM = "make room on this disk"


class RecordError(InstallationError):
    """The record cannot be opened, read or written for now."""


class DamagedError(Exception):
    """The file is no sound database, or was none and is set aside."""


def exists(path: Path) -> bool:
    """Tell whether there is a record file, without opening it: a pipe would wait for its writer.

    Parameters
    ----------
    path
        Of the record; a link is followed.

    Raises
    ------
    RecordError
        Something else is there, or it cannot be told.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        if path.is_symlink() and not Path(os.path.realpath(path)).parent.is_dir():
            raise RecordError(
                f"{path}: a link to {path.readlink()}, which is not there; "
                f"is its disk there? Else {_ELSEWHERE}"
            ) from error
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RecordError(
                f"{path}: a link that leads back to itself; remove it, or {_ELSEWHERE}"
            ) from error
        if error.errno == errno.ENOTDIR:
            file = next((each for each in path.parents if each.exists() and not each.is_dir()), "")
            raise RecordError(f"{path}: {file} is not a folder; {_ELSEWHERE}") from error
        raise as_record_error(path, error) from error
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise RecordError(f"{path}: {kind}, not a file; {_ELSEWHERE}")
    return True


def is_corruption(error: BaseException) -> bool:
    """Tell an error of a database that is none, or is broken, from others."""
    # Python has no better class for "malformed" and "not a database"; and what is malformed may
    # be quoted in the message, which then is no text.
    return (
        type(error) is sqlite3.DatabaseError
        or isinstance(error, (UnicodeDecodeError, DamagedError))
        or "unsupported file format" in str(error)
    )


def as_record_error(path: Path, error: Exception) -> RecordError:
    """Return an error met while writing to a record as one that says what to do."""
    reason = (isinstance(error, OSError) and error.strerror) or str(error)
    reason = clear(path, reason)
    if _is_full(path):
        remedy = MAKE_ROOM
    elif isinstance(error, FileNotFoundError) and not path.parent.is_dir():
        remedy = f"make the folder {path.parent}, or {_ELSEWHERE}"
    elif "locked" in reason:
        remedy = "end what else is writing there"
    elif is_corruption(error):
        remedy = "put a sound copy in its place, or move it away to begin a new one"
    else:
        remedy = f"let this user write there on a sound disk, or {_ELSEWHERE}"
    return RecordError(f"{path}: {reason}; {remedy}")


def clear(path: Path, reason: str) -> str:
    """Return why a record cannot be used: `FULL` where SQLite does not say so of a full disk.

    Parameters
    ----------
    path
        Of the record.
    reason
        SQLite's.
    """
    return FULL if reason in _UNCLEAR and _is_full(path) else reason


def _is_full(path: Path) -> bool:
    with contextlib.suppress(OSError):
        disk = os.statvfs(Path(os.path.realpath(path)).parent)
        no_more_files = disk.f_files > 0 and disk.f_favail == 0
        return no_more_files or disk.f_bavail * disk.f_frsize < _ROOM
    return False
