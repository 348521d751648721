"""A keeper on a disk that is full, then read-only: run in a mount namespace of its own.

    unshare --mount --map-root-user python -m tests.record.small_disk FOLDER

Prints what it saw, as JSON.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

from installation.record import writer as keeping
from installation.record.entry import Entry
from installation.record.store import RecordError, count
from installation.record.writer import RecordWriter

_PATIENCE = 300.0


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _wait(condition, what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain: {what}")
        time.sleep(0.01)


def _mount(folder: Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    subprocess.run(command, check=True, timeout=600)


def _entries(number: int) -> list[Entry]:
    return [Entry(472222, "n10104064", 0.5, 3, "wall", "safe", "person-semantic")] * number


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass


def main() -> None:
    """Play it through."""
    folder = Path(sys.argv[1])
    heard = _Lines()
    logging.basicConfig(level="INFO", handlers=[heard])
    keeping._FIRST_WAIT, keeping._LAST_WAIT = 0.02, 0.1
    keeping._LOG_EVERY = 0.5
    keeping._FAREWELL = _PATIENCE
    _mount(folder, "size=512k")

    def written() -> int:
        try:
            return count(path)
        except RecordError:  # It is being begun.
            return 0

    path, ballast = folder / "record.sqlite", folder / "ballast"
    keeper = RecordWriter(path)
    keeper.keep(_entries(10))
    _wait(lambda: written() == 10, "rows on an empty disk")
    seen = {"while empty": keeper.trouble}

    kept = 10
    attempts = 0
    began = time.monotonic()
    # Twice: letting go of the record to open it anew makes some room, which is used.
    while not (attempts > 20 and keeper.trouble and heard.lines[-1] == keeper.trouble):
        _fill(ballast)
        if keeper.waiting == 0:
            keeper.keep(_entries(10))
            kept += 10
        attempts += keeper.trouble is not None
        time.sleep(0.05)
    seen["while full"] = keeper.trouble
    seen["lines while full"] = len(heard.lines)
    seen["times to say so"] = 1 + int((time.monotonic() - began) / keeping._LOG_EVERY)
    ballast.unlink()
    _wait(lambda: keeper.trouble is None, "the end of the trouble")
    _wait(lambda: count(path) == kept, "rows that waited")
    seen["last line"] = heard.lines[-1]

    # As after a boot at which the file system was found in disorder.
    keeper.close()
    _mount(folder, "remount,ro")
    keeper = RecordWriter(path)
    keeper.keep(_entries(5))
    _wait(lambda: keeper.trouble is not None, "trouble with a disk that is read-only")
    seen["while read-only"] = keeper.trouble
    _mount(folder, "remount,rw")
    _wait(lambda: keeper.trouble is None, "the end of that")
    keeper.keep(_entries(5))
    _wait(lambda: count(path) == kept + 10, "rows that waited for a disk to write to")

    keeping._FAREWELL = 1.0
    _fill(ballast)
    keeper.keep(_entries(900))
    keeper.close()
    ballast.unlink()
    seen["safe in the end"] = count(path) >= kept + 10
    seen["aside"] = [each.name for each in folder.glob("*.damaged-*")]
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
