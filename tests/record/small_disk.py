"""A writer on a disk that is full, then read-only: run in a mount namespace of its own.

    unshare --mount --map-root-user python -m tests.record.small_disk FOLDER

Prints what it saw, as JSON.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from installation.record.entry import Entry
from installation.record.store import RecordError, count_rows
from installation.record.writer import RecordWriter, WriterTiming

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
    timing = WriterTiming(0.02, 0.1, log_interval_s=0.5, close_timeout_s=_PATIENCE)
    _mount(folder, "size=512k")

    def written() -> int:
        try:
            return count_rows(path)
        except RecordError:  # It is being begun.
            return 0

    path, ballast = folder / "record.sqlite", folder / "ballast"
    writer = RecordWriter(path, timing=timing)
    writer.submit(_entries(10))
    _wait(lambda: written() == 10, "rows on an empty disk")
    seen = {"while empty": writer.error}

    kept = 10
    attempts = 0
    began = time.monotonic()
    # Twice: letting go of the record to open it anew makes some room, which is used.
    while not (attempts > 20 and writer.error and heard.lines[-1] == writer.error):
        _fill(ballast)
        if writer.pending == 0:
            writer.submit(_entries(10))
            kept += 10
        attempts += writer.error is not None
        time.sleep(0.05)
    seen["while full"] = writer.error
    seen["lines while full"] = len(heard.lines)
    seen["times to say so"] = 1 + int((time.monotonic() - began) / timing.log_interval_s)
    ballast.unlink()
    _wait(lambda: writer.error is None, "the end of the trouble")
    _wait(lambda: count_rows(path) == kept, "rows that waited")
    seen["last line"] = heard.lines[-1]

    # As after a boot at which the file system was found in disorder.
    writer.close()
    _mount(folder, "remount,ro")
    writer = RecordWriter(path, timing=timing)
    writer.submit(_entries(5))
    _wait(lambda: writer.error is not None, "trouble with a disk that is read-only")
    seen["while read-only"] = writer.error
    _mount(folder, "remount,rw")
    _wait(lambda: writer.error is None, "the end of that")
    writer.submit(_entries(5))
    _wait(lambda: count_rows(path) == kept + 10, "rows that waited for a disk to write to")

    writer.close()
    writer = RecordWriter(path, timing=replace(timing, close_timeout_s=1.0))
    _fill(ballast)
    writer.submit(_entries(900))
    writer.close()
    ballast.unlink()
    seen["safe in the end"] = count_rows(path) >= kept + 10
    seen["aside"] = [each.name for each in folder.glob("*.damaged-*")]
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
