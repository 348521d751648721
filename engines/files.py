"""Write files atomically, and as the owner of the folder they belong in."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Name prefix of files and folders that are being written.
TEMPORARY = ".making-"
# The effective user is a property of the whole process.
_user_lock = threading.RLock()


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Act as the owner of a folder while root writes into it.

    New files then belong to the owner, who can replace them, and symbolic links in the folder
    cannot lead root to files that the owner could not write.

    Parameters
    ----------
    folder
        If it does not exist, the owner of the nearest existing parent counts.
    """
    if os.geteuid() != 0:
        yield
        return
    owner = next(each for each in (folder, *folder.absolute().parents) if each.is_dir()).stat()
    if owner.st_uid == 0:
        yield
        return
    with _user_lock:
        group, groups = os.getegid(), os.getgroups()
        os.setgroups([])
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file atomically, as the owner of its folder.

    Parameters
    ----------
    path
        Target file; its folder is created if necessary.
    data
        Content.
    mode
        Permissions.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    """
    with as_owner(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(mode)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
