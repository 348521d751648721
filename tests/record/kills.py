"""A record whose writer is killed again and again.

    python -m tests.record.kills FOLDER [--kills 1000]

Each writer opens the record, adds rows and tells each one's number once it is written; at a random
moment, often while it is opening still, it gets SIGKILL. Prints how many rows were told of, how
many of them are missing, and what SQLite's integrity check says.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

from installation.record.entry import Entry
from installation.record.store import Store

# A new record after so many kills: beginning one is a moment too.
_KILLS_EACH = 25
# Seconds a writer lives at the most: several times what it takes to open.
_LIFE = 0.02
_NUMBER = struct.Struct("=q")


def _write(path: Path, first: int, told: int) -> None:
    store = Store(path)
    for number in range(first, first + 10**6):
        store.add([Entry(472222, "n10104064", 0.5, number, "wall", "safe", "person-semantic")])
        os.write(told, _NUMBER.pack(number))


def _kill_one(path: Path, first: int, life: float) -> list[int]:
    """Let a writer live for a while; return the numbers it told."""
    reading, telling = os.pipe()
    # Forked, for a new interpreter would take longer to start than it lives.
    writer = os.fork()
    if writer == 0:
        os.close(reading)
        try:
            _write(path, first, telling)
        finally:
            os._exit(1)
    os.close(telling)
    time.sleep(life)
    os.kill(writer, signal.SIGKILL)
    _, status = os.waitpid(writer, 0)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"the writer ended by itself, status {status}")
    return [number for (number,) in _NUMBER.iter_unpack(told)]


def main() -> None:
    """Kill, look, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=1000)
    arguments = parser.parse_args()
    chance = random.Random(0)
    told: dict[Path, list[int]] = {}
    unopened = 0
    for kill in range(arguments.kills):
        path = arguments.folder / f"{kill // _KILLS_EACH}.sqlite"
        known = told.setdefault(path, [])
        # Rows of a writer killed before it could tell of them may be there too: leave them room.
        numbers = _kill_one(path, kill * 10**6, chance.uniform(0, _LIFE))
        unopened += not numbers
        known += numbers
    missing, checks = 0, set()
    for path, known in told.items():
        Store(path).close()
        with closing(sqlite3.connect(path)) as database:
            there = {number for (number,) in database.execute("SELECT seconds FROM entry")}
            checks |= set(database.execute("PRAGMA integrity_check").fetchone())
        missing += len(set(known) - there)
    report = {
        "kills": arguments.kills,
        "before the first row": unopened,
        "rows": sum(map(len, told.values())),
        "missing": missing,
        "checks": sorted(checks),
        "set aside": len(list(arguments.folder.glob("*.damaged-*"))),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
