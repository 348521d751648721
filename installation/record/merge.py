"""Many records summed into one: each row once, however often that is done, and in whatever order.

Rows are known by their ids, wherever they have come from: a record may have grown since, have been
pruned, renamed or copied, and what was merged may be merged on.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installation.record.errors import RecordError
from installation.record.reader import open_readonly
from installation.record.store import COLUMNS, Store

# Rows in memory at a time.
_BATCH = 10_000
# Seconds to wait for others who write into the sum, such as another merge.
_PATIENCE = 60.0


class _UnreadableError(RecordError):
    """It is one of those to be merged that is at fault."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of a record that was to be merged.

    Attributes
    ----------
    path
        Which.
    rows
        How many it has.
    new
        How many of them were not merged before.
    trouble
        What is wrong with it, in a line; None: nothing. Unless it is that some rows were changed
        since they were merged, nothing of it was.
    """

    path: Path
    rows: int = 0
    new: int = 0
    trouble: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.rows:,} words, {self.new:,} of them new"


def merge(into: Path, records: Sequence[Path]) -> Iterator[Merged]:
    """Add to a record what is in others and not in it yet; these are only read.

    Each is merged whole or not at all, and may be written to meanwhile.

    Parameters
    ----------
    into
        The sum; made where there is none.
    records
        What to add.

    Yields
    ------
    Merged
        What came of each.

    Raises
    ------
    RecordError
        The sum cannot be written to, is damaged, or is one of the records.
    """
    for record in records:
        if _same(into, record):
            raise RecordError(f"{into}: cannot be merged into itself; name another record to add")
    with closing(Store(into, _PATIENCE, aside=False)) as store:
        for record in records:
            try:
                rows, new, different = store.merge(_batches(record))
            except _UnreadableError as error:
                yield Merged(record, trouble=str(error))
                continue
            trouble = None
            if different:
                trouble = (
                    f"{record}: {different:,} of its rows were changed since they were merged; "
                    f"{into} has them as they were"
                )
            yield Merged(record, rows, new, trouble)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _batches(record: Path) -> Iterator[list[tuple[Any, ...]]]:
    try:
        with open_readonly(record) as database:
            # One moment, whoever is writing.
            database.execute("BEGIN")
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
            rows = database.execute(f"SELECT {COLUMNS} FROM entry ORDER BY id")  # noqa: S608
            while batch := rows.fetchmany(_BATCH):
                yield batch
    except RecordError as error:
        raise _UnreadableError(str(error)) from error
