"""Merge records into one: each row once, in any order, however often it is repeated.

Rows are identified by their ids: a record may have grown since it was last merged, or have been
pruned, renamed or copied, and the result of a merge can itself be merged.
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

# Kept in memory at a time.
_BATCH_ROWS = 10_000


class _UnreadableError(RecordError):
    """A source record cannot be read."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The result of merging one record.

    Attributes
    ----------
    path
        The record.
    rows
        Number of its rows.
    new
        Number of rows that had not been merged before.
    error
        One line; None if there is no error. If ``rows`` is not 0, it was merged except for rows
        that had changed; otherwise nothing of it was merged.
    """

    path: Path
    rows: int = 0
    new: int = 0
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.rows:,} words, {self.new:,} of them new"


def merge(into: Path, records: Sequence[Path], lock_timeout_s: float = 60.0) -> Iterator[Merged]:
    """Add the rows of records to a target record that does not have them yet.

    Each record is merged completely or not at all. It is only read, and may be written to
    meanwhile.

    Parameters
    ----------
    into
        The target; created if it does not exist.
    records
        The records to add.
    lock_timeout_s
        How long to wait for other programs that write to the target, such as another merge.

    Yields
    ------
    Merged
        The result for each record.

    Raises
    ------
    RecordError
        The target cannot be written to, is damaged, or is one of the records.
    """
    for record in records:
        if _same(into, record):
            raise RecordError(f"{into}: cannot be merged into itself; name another record")
    with closing(Store(into, lock_timeout_s, set_aside=False)) as store:
        for record in records:
            try:
                rows, new, different = store.merge(_batches(record))
            except _UnreadableError as error:
                yield Merged(record, error=str(error))
                continue
            reason = None
            if different:
                reason = (
                    f"{record}: {different:,} of its rows have changed since they were merged; "
                    f"{into} keeps the earlier ones"
                )
            yield Merged(record, rows, new, reason)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _batches(record: Path) -> Iterator[list[tuple[Any, ...]]]:
    try:
        with open_readonly(record) as database:
            # A consistent snapshot.
            database.execute("BEGIN")
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
            rows = database.execute(f"SELECT {COLUMNS} FROM entry ORDER BY id")  # noqa: S608
            while batch := rows.fetchmany(_BATCH_ROWS):
                yield batch
    except RecordError as error:
        raise _UnreadableError(str(error)) from error
