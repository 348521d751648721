"""What may be in the place of a record, and what is said of it."""

import os
import socket
from pathlib import Path

# By name, in a folder that `make_odd_places` has filled.
ODD_PLACES = {
    "fifo": "{}/fifo: a pipe (FIFO), not a file; ",
    "socket": "{}/socket: a socket, not a file; ",
    "folder": "{}/folder: a folder, not a file; ",
    "device": "{}/device: a device, not a file; ",
    "link-to-fifo": "{}/link-to-fifo: a pipe (FIFO), not a file; ",
    "link-to-no-folder": "{}/link-to-no-folder: a link to gone/record.sqlite, which does not",
    "loop": "{}/loop: a link to itself; ",
    "file/record.sqlite": "{0}/file/record.sqlite: {0}/file is not a folder; ",
    "file/a/record.sqlite": "{0}/file/a/record.sqlite: {0}/file is not a folder; ",
}


def make_odd_places(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "folder").mkdir()
    (folder / "file").touch()
    (folder / "device").symlink_to("/dev/zero")
    (folder / "link-to-fifo").symlink_to("fifo")
    (folder / "link-to-no-folder").symlink_to("gone/record.sqlite")
    (folder / "loop").symlink_to("another")
    (folder / "another").symlink_to("loop")
    before = Path.cwd()
    # A socket's name has no room for a long folder.
    os.chdir(folder)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("socket")
    finally:
        os.chdir(before)
