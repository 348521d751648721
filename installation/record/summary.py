"""What a record comes to: which words were given, from which corner of WordNet, and when."""

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
    """A word, or all words below one, and how often they were given.

    Attributes
    ----------
    wnid
        Synset.
    words
        Its lemmas; the wnid where no table here knows it.
    entries
        How many times.
    seconds
        For how long they were shown, together.
    """

    wnid: str
    words: str
    entries: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a record comes to.

    Attributes
    ----------
    period
        What was asked for.
    first, last
        Days of the earliest and the latest entry; None where there is none.
    entries, seconds
        How many words were given, and for how long they were shown.
    words
        The different ones, the most frequent first.
    subtrees
        The same by the child of *person* they stand below, by the shortest way; each counts once.
    never
        Wnids that may be shown and were never given.
    allowed
        How many may be shown.
    week
        int64 (7, 24): entries by weekday (Monday first) and hour of the day.
    sources, policies, engines
        Entries by where they were shown, by policy and by classifier.
    """

    period: Period
    first: date | None
    last: date | None
    entries: int
    seconds: int
    words: tuple[WordCount, ...]
    subtrees: tuple[WordCount, ...]
    never: tuple[str, ...]
    allowed: int
    week: NDArray[np.int64]
    sources: dict[str, int]
    policies: dict[str, int]
    engines: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""

        def listed(given: tuple[WordCount, ...]) -> list[dict[str, Any]]:
            return [
                {
                    "wnid": each.wnid,
                    "words": each.words,
                    "entries": each.entries,
                    "seconds": each.seconds,
                }
                for each in given
            ]

        return {
            "since": self.first and self.first.isoformat(),
            "until": self.last and self.last.isoformat(),
            "entries": self.entries,
            "seconds": self.seconds,
            "words": listed(self.words),
            "subtrees": listed(self.subtrees),
            "allowed": self.allowed,
            "never": list(self.never),
            "weekdays": self.week.sum(axis=1).tolist(),
            "hours": self.week.sum(axis=0).tolist(),
            "week": self.week.tolist(),
            "sources": self.sources,
            "policies": self.policies,
            "engines": self.engines,
        }


def words_known(wnid: str) -> str:
    """Return the lemmas of a synset; the wnid where this version has none such."""
    with suppress(KeyError):
        return words_of(wnid)
    return wnid


def _subtree(wnid: str) -> str:
    """Return the child of *person* a synset stands below, itself perhaps."""
    with suppress(KeyError):
        return paths(wnid)[0][-2:][0]
    return wnid


def summarise(path: Path, period: Period, policy: Policy) -> Summary:
    """Read what a record comes to.

    Parameters
    ----------
    path, period
        Of which record, and of which days.
    policy
        Tells which words may be shown now.

    Raises
    ------
    RecordError
        It cannot be read.
    """
    hours = period.hours
    bounds = hours.start, hours.stop
    with open_readonly(path) as database:
        # One moment for all questions, whoever is writing.
        database.execute("BEGIN")

        def ask(columns: str, group: str) -> list[tuple[Any, ...]]:
            return database.execute(
                f"SELECT {columns} {_SELECTED} GROUP BY {group} ORDER BY count(*) DESC, {group}",
                bounds,
            ).fetchall()

        words = tuple(
            WordCount(wnid, words_known(wnid), entries, seconds)
            for wnid, entries, seconds in ask("wnid, count(*), sum(seconds)", "wnid")
        )
        by_hour = dict(ask("hour, count(*)", "hour"))
        sources, policies, engines = (
            dict(ask(f"{each}, count(*)", each)) for each in ("source", "policy", "engine")
        )
    given = {each.wnid for each in words}
    may = [
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
        subtrees=_by_subtree(words),
        never=tuple(wnid for wnid in may if wnid not in given),
        allowed=len(may),
        week=week,
        sources=sources,
        policies=policies,
        engines=engines,
    )


def _by_subtree(words: tuple[WordCount, ...]) -> tuple[WordCount, ...]:
    entries, seconds = Counter[str](), Counter[str]()
    for each in words:
        entries[_subtree(each.wnid)] += each.entries
        seconds[_subtree(each.wnid)] += each.seconds
    return tuple(
        WordCount(wnid, words_known(wnid), count, seconds[wnid])
        for wnid, count in entries.most_common()
    )


def export(path: Path, period: Period, file: TextIO) -> None:
    """Write a record's rows as CSV, by the hour; within one, sorted by word.

    Raises
    ------
    RecordError
        It cannot be read.
    """
    hours = period.hours
    writer = csv.writer(file, lineterminator="\n")
    columns = ("wnid", "confidence", "seconds", "source", "policy", "engine")
    with open_readonly(path) as database:
        # Not in the order they came in, which would tell more than the hour.
        rows = database.execute(
            f"SELECT hour, {', '.join(columns)} {_SELECTED} ORDER BY hour, wnid, seconds",
            (hours.start, hours.stop),
        )
        writer.writerow(("hour", "words", *columns))
        for hour, wnid, *rest in rows:
            begins = period.local(hour).isoformat(timespec="minutes")
            writer.writerow((begins, words_known(wnid), wnid, *rest))


def duration(seconds: int) -> str:
    """Say how long something is.

    >>> duration(75), duration(7380)
    ('1 min 15 s', '2 h 3 min')
    """
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def days(first: date, last: date) -> str:
    """Say from when to when.

    >>> days(date(2026, 9, 1), date(2026, 11, 22))
    '1 September to 22 November 2026'
    """
    until = f"{last.day} {last:%B} {last.year}"
    if first == last:
        return until
    since = f"{first.day} {first:%B}" + (f" {first.year}" if first.year != last.year else "")
    return f"{since} to {until}"


def as_text(summary: Summary, most: int = 20) -> Iterator[str]:
    """Say what a record comes to, a line at a time.

    Parameters
    ----------
    summary
        What to say.
    most
        How many words and subtrees to name.
    """
    if summary.first is None or summary.last is None:
        yield "nothing was recorded in that time"
        return
    total = summary.entries

    def table(rows: list[tuple[str, int]]) -> Iterator[str]:
        for name, count in rows:
            yield f"{count:8,}  {count / total:6.1%}  {name}"

    def top(given: tuple[WordCount, ...]) -> Iterator[str]:
        yield from table([(each.words, each.entries) for each in given[:most]])
        if len(given) > most:
            rest = sum(each.entries for each in given[most:])
            yield from table([(f"({len(given) - most} others)", rest)])

    yield f"{days(summary.first, summary.last)}"
    yield f"{total:,} words given, {len(summary.words):,} different ones"
    yield f"shown for {duration(summary.seconds)}"
    yield (
        f"{len(summary.never):,} of the {summary.allowed:,} that may be shown were never given "
        "(--never lists them)"
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
