"""Summarise a record: which words were given, from which part of WordNet, and when."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from installation.labels.policy import Policy, allowed
from installation.labels.synsets import load_synsets
from installation.labels.taxonomy import paths, words_of
from installation.record.reader import Period, open_readonly

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SELECTED = "FROM entry WHERE hour >= ? AND hour < ?"


@dataclass(frozen=True, slots=True)
class WordCount:
    """How often a synset, or a subtree of synsets, was given.

    Attributes
    ----------
    wnid
        WordNet identifier; of a subtree, its root's.
    words
        The lemmas; the wnid if this version does not know it.
    entries
        Number of entries.
    seconds
        Total time shown, seconds.
    """

    wnid: str
    words: str
    entries: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of a record.

    Attributes
    ----------
    period
        The period that was asked for.
    first, last
        Days of the earliest and the latest entry; None if there is none.
    entries, seconds
        Number of words given, and the total time they were shown, seconds.
    words
        Counts by synset, most frequent first.
    subtrees
        Counts by the child of *person* on the shortest hypernym path; each entry counts once.
    never_used
        Wnids of allowed labels that were never given.
    allowed
        Number of allowed labels.
    week
        int64 (7, 24): entries by weekday (Monday first) and hour of the day.
    sources, policies, engines
        Entries by source, policy and classifier.
    """

    period: Period
    first: date | None
    last: date | None
    entries: int
    seconds: int
    words: tuple[WordCount, ...]
    subtrees: tuple[WordCount, ...]
    never_used: tuple[str, ...]
    allowed: int
    week: NDArray[np.int64]
    sources: dict[str, int]
    policies: dict[str, int]
    engines: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Return all attributes but the period as JSON data."""

        def as_list(counts: tuple[WordCount, ...]) -> list[dict[str, Any]]:
            return [
                {
                    "wnid": each.wnid,
                    "words": each.words,
                    "entries": each.entries,
                    "seconds": each.seconds,
                }
                for each in counts
            ]

        return {
            "since": self.first and self.first.isoformat(),
            "until": self.last and self.last.isoformat(),
            "entries": self.entries,
            "seconds": self.seconds,
            "words": as_list(self.words),
            "subtrees": as_list(self.subtrees),
            "allowed": self.allowed,
            "never_used": list(self.never_used),
            "weekdays": self.week.sum(axis=1).tolist(),
            "hours": self.week.sum(axis=0).tolist(),
            "week": self.week.tolist(),
            "sources": self.sources,
            "policies": self.policies,
            "engines": self.engines,
        }


def words_or_wnid(wnid: str) -> str:
    """Return the lemmas of a synset, or the wnid if this version does not know it."""
    with suppress(KeyError):
        return words_of(wnid)
    return wnid


def _subtree(wnid: str) -> str:
    """Return the child of *person* above a synset; it may be the synset itself."""
    with suppress(KeyError):
        return paths(wnid)[0][-2:][0]
    return wnid


def summarise(path: Path, period: Period, policy: Policy) -> Summary:
    """Summarise a record.

    Parameters
    ----------
    path
        The record.
    period
        Days to include.
    policy
        Current policy, which determines the allowed labels.

    Raises
    ------
    RecordError
        The record cannot be read.
    """
    hours = period.hours
    bounds = hours.start, hours.stop
    with open_readonly(path) as database:
        # A consistent snapshot for all queries.
        database.execute("BEGIN")

        def query(columns: str, group: str) -> list[tuple[Any, ...]]:
            return database.execute(
                f"SELECT {columns} {_SELECTED} GROUP BY {group} ORDER BY count(*) DESC, {group}",
                bounds,
            ).fetchall()

        words = tuple(
            WordCount(wnid, words_or_wnid(wnid), entries, seconds)
            for wnid, entries, seconds in query("wnid, count(*), sum(seconds)", "wnid")
        )
        by_hour = dict(query("hour, count(*)", "hour"))
        sources, policies, engines = (
            dict(query(f"{each}, count(*)", each)) for each in ("source", "policy", "engine")
        )
    given = {each.wnid for each in words}
    allowed_wnids = [
        synset.wnid
        for synset, shown in zip(load_synsets(), allowed(load_synsets(), policy), strict=True)
        if shown
    ]
    moments = {hour: period.local(hour) for hour in sorted(by_hour)}
    week = np.zeros((7, 24), np.int64)
    for hour, moment in moments.items():
        week[moment.weekday(), moment.hour] += by_hour[hour]
    days = [moment.date() for moment in moments.values()]
    return Summary(
        period=period,
        first=days[0] if days else None,
        last=days[-1] if days else None,
        entries=sum(each.entries for each in words),
        seconds=sum(each.seconds for each in words),
        words=words,
        subtrees=_count_subtrees(words),
        never_used=tuple(wnid for wnid in allowed_wnids if wnid not in given),
        allowed=len(allowed_wnids),
        week=week,
        sources=sources,
        policies=policies,
        engines=engines,
    )


def _count_subtrees(words: tuple[WordCount, ...]) -> tuple[WordCount, ...]:
    entries, seconds = Counter[str](), Counter[str]()
    for each in words:
        entries[_subtree(each.wnid)] += each.entries
        seconds[_subtree(each.wnid)] += each.seconds
    return tuple(
        WordCount(wnid, words_or_wnid(wnid), count, seconds[wnid])
        for wnid, count in entries.most_common()
    )


def export(path: Path, period: Period, file: TextIO) -> None:
    """Write the rows of a record as CSV, sorted by hour and then by wnid.

    Raises
    ------
    RecordError
        The record cannot be read.
    """
    hours = period.hours
    writer = csv.writer(file, lineterminator="\n")
    columns = ("wnid", "confidence", "seconds", "source", "policy", "engine")
    with open_readonly(path) as database:
        # In order of insertion the rows would reveal more than the hour.
        rows = database.execute(
            f"SELECT hour, {', '.join(columns)} {_SELECTED} ORDER BY hour, wnid, seconds",
            (hours.start, hours.stop),
        )
        writer.writerow(("hour", "words", *columns))
        for hour, wnid, *rest in rows:
            begins = period.local(hour).isoformat(timespec="minutes")
            writer.writerow((begins, words_or_wnid(wnid), wnid, *rest))


def duration(seconds: int) -> str:
    """Format a duration.

    >>> duration(75), duration(7380)
    ('1 min 15 s', '2 h 3 min')
    """
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def days(first: date, last: date) -> str:
    """Format a range of days.

    >>> days(date(2026, 9, 1), date(2026, 11, 22))
    '1 September to 22 November 2026'
    """
    until = f"{last.day} {last:%B} {last.year}"
    if first == last:
        return until
    since = f"{first.day} {first:%B}" + (f" {first.year}" if first.year != last.year else "")
    return f"{since} to {until}"


def as_text(summary: Summary, max_rows: int = 20) -> Iterator[str]:
    """Return a summary as lines of text.

    Parameters
    ----------
    summary
        The summary.
    max_rows
        Maximum number of words, and of subtrees, to list.
    """
    if summary.first is None or summary.last is None:
        yield "nothing was recorded in this period"
        return
    total = summary.entries

    def table(rows: list[tuple[str, int]]) -> Iterator[str]:
        for name, count in rows:
            yield f"{count:8,}  {count / total:6.1%}  {name}"

    def top(counts: tuple[WordCount, ...]) -> Iterator[str]:
        yield from table([(each.words, each.entries) for each in counts[:max_rows]])
        if len(counts) > max_rows:
            rest = sum(each.entries for each in counts[max_rows:])
            yield from table([(f"({len(counts) - max_rows} others)", rest)])

    yield f"{days(summary.first, summary.last)}"
    yield f"{total:,} words given, {len(summary.words):,} different ones"
    yield f"shown for {duration(summary.seconds)}"
    yield (
        f"{len(summary.never_used):,} of the {summary.allowed:,} allowed words were never given "
        "(--never-used lists them)"
    )
    yield "\nmost frequent"
    yield from top(summary.words)
    yield "\nbelow person in WordNet"
    yield from top(summary.subtrees)
    yield "\nby weekday"
    yield from table(list(zip(WEEKDAYS, map(int, summary.week.sum(axis=1)), strict=True)))
    yield "\nby hour of the day"
    by_hour = [(hour, int(count)) for hour, count in enumerate(summary.week.sum(axis=0))]
    yield from table([(f"{hour:02}:00", count) for hour, count in by_hour if count])
    for title, counts in (
        ("shown on", summary.sources),
        ("under policy", summary.policies),
        ("given by", summary.engines),
    ):
        yield f"\n{title}"
        yield from table(list(counts.items()))
