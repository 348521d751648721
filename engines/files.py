"""Writing files whole, and into a folder that belongs to another user as that user."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What begins the names of files and folders that are being made.
MAKING = ".making-"
# The effective user is the whole process's.
_switching = threading.RLock()


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Act as the owner of a folder, where root would write into another user's.

    Files are then the owner's, who can replace them, and symbolic links in the folder lead to
    nothing that the owner could not write to anyway.

    Parameters
    ----------
    folder
        Need not exist: then the owner is that of the nearest folder above it that does.
    """
    if os.geteuid() != 0:
        yield
        return
    owner = next(each for each in (folder, *folder.absolute().parents) if each.is_dir()).stat()
    if owner.st_uid == 0:
        yield
        return
    with _switching:
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


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that appears complete or not at all, as the folder's owner.

    Parameters
    ----------
    path
        Its folder is made if need be.
    data
        All of it.
    mode
        Its permissions.

    Raises
    ------
    OSError
        The folder cannot be written to, or the disk is full.
    """
    with as_owner(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, making = tempfile.mkstemp(prefix=MAKING, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(making).chmod(mode)
            Path(making).replace(path)
        except BaseException:
            Path(making).unlink(missing_ok=True)
            raise
