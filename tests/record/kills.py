"""A record whose writer is killed again and again.

    python -m tests.record.kills FOLDER [--kills 1000]

Each writer opens the record, adds rows and tells each one's number once it is written, until it
gets SIGKILL: one by one at a random moment in the time that the one before took to open the record,
and after a random number of rows. Prints how many rows were told of, how many of them are missing,
and what SQLite's integrity check says.
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
# Rows that a writer tells of at the most before it is killed.
_ROWS = 20
_NUMBER = struct.Struct("=q")


def _write(path: Path, first: int, told: int) -> None:
    store = Store(path)
    for number in range(first, first + 10**6):
        store.add([Entry(472222, "n10104064", 0.5, number, "wall", "safe", "person-semantic")])
        os.write(told, _NUMBER.pack(number))


def _kill_one(path: Path, first: int, rows: int, life: float) -> tuple[list[int], float]:
    """Let a writer write some rows, and live for some seconds after that.

    Returns
    -------
    list of int, float
        The numbers it told, and how many seconds it took until the first.
    """
    reading, telling = os.pipe()
    began = time.monotonic()
    # Forked, for a new interpreter would take longer to start than it lives.
    writer = os.fork()
    if writer == 0:
        os.close(reading)
        try:
            _write(path, first, telling)
        finally:
            os._exit(1)
    os.close(telling)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read(min(rows, 1) * _NUMBER.size)
        opening = time.monotonic() - began
        told += pipe.read(max(rows - 1, 0) * _NUMBER.size)
        time.sleep(life)
        os.kill(writer, signal.SIGKILL)
        _, status = os.waitpid(writer, 0)
        told += pipe.read()
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"the writer ended by itself, status {status}")
    return [number for (number,) in _NUMBER.iter_unpack(told)], opening


def main() -> None:
    """Kill, look, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=1000)
    arguments = parser.parse_args()
    chance = random.Random(0)
    told: dict[Path, list[int]] = {}
    unopened, opening = 0, 0.0
    for kill in range(arguments.kills):
        path = arguments.folder / f"{kill // _KILLS_EACH}.sqlite"
        known = told.setdefault(path, [])
        # Rows of a writer killed before it could tell of them may be there too: leave them room.
        if kill % 2:
            numbers, _ = _kill_one(path, kill * 10**6, 0, chance.uniform(0, opening))
        else:
            rows, life = chance.randint(1, _ROWS), chance.uniform(0, opening / 10)
            numbers, opening = _kill_one(path, kill * 10**6, rows, life)
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
