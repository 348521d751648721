"""Opening hours: what the clock on the wall of the room says, whatever is done to clocks."""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_LOCALTIME = Path("/etc/localtime")
# Days looked ahead for a change: ten years.
_AHEAD = 3653


@dataclass(frozen=True, slots=True)
class _Span:
    """An opening on a day of the week (0 is Monday), in minutes since that day's midnight."""

    weekday: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Closure:
    """Days, first to last, as (year, month, day), or as (month, day) of every year."""

    first: tuple[int, ...]
    last: tuple[int, ...]

    def covers(self, day: date) -> bool:
        key = (day.year, day.month, day.day)[-len(self.first) :]
        if self.first <= self.last:
            return self.first <= key <= self.last
        return key >= self.first or key <= self.last


def check_span(text: str) -> str:
    """Return a weekly opening as it is, if it is one.

    Raises
    ------
    ValueError
        It is none; says what would be.
    """
    _parse_span(text)
    return text


def check_closed(text: str) -> str:
    """Return closed days as they are, if they are such.

    Raises
    ------
    ValueError
        They are not; says what would be.
    """
    _parse_closed(text)
    return text


def check_zone(name: str) -> str:
    """Return the name of a time zone, if it is one.

    Raises
    ------
    ValueError
        It is none; says which is like it.
    """
    _parse_zone(name)
    return name


class Schedule:
    """When the installation is open.

    Times are what a clock in the room shows. Where clocks are put forward over a time, it is the
    moment after; where they are put back over one, so that it comes twice, opening is at the first
    and closing at the last.

    Parameters
    ----------
    spans
        Weekly openings: "mon-fri 10:00-18:00", "sat,sun 11:00-20:00", "fri 22:00-02:00" (until
        Saturday, 2 o'clock), "tue 00:00-24:00". None at all: always open.
    closed
        Days on which no opening begins; one that began the evening before runs to its end.
        "2026-12-24", "12-25" (every year), "2026-12-24..2027-01-02", "12-24..01-02" (every year).
    zone
        IANA name of the time zone; None follows that of the machine, even when it is changed.

    Raises
    ------
    ValueError
        One of these cannot be understood.

    Examples
    --------
    >>> hours = Schedule(["mon-fri 10:00-18:00"], ["12-25"], "Europe/Berlin")
    >>> christmas_eve = datetime.fromisoformat("2025-12-24T12:00+01:00")
    >>> hours.is_open(christmas_eve)
    True
    >>> closing = hours.next_change(christmas_eve)
    >>> print(closing, hours.next_change(closing))
    2025-12-24 18:00:00+01:00 2025-12-26 10:00:00+01:00
    """

    def __init__(
        self, spans: Iterable[str] = (), closed: Iterable[str] = (), zone: str | None = None
    ) -> None:
        always = [_Span(weekday, 0, _DAY_MINUTES) for weekday in range(len(_DAYS))]
        self._spans = [span for text in spans for span in _parse_span(text)] or always
        self._closed = [_parse_closed(text) for text in closed]
        self._zone = None if zone is None else _parse_zone(zone)
        self._always = self._spans == always and not self._closed

    @property
    def zone(self) -> tzinfo:
        """The room's time zone: the one named, else the machine's as it is now."""
        return self._zone or _machine_zone()

    def is_open(self, at: datetime) -> bool:
        """Tell whether it is open at a moment.

        Parameters
        ----------
        at
            Aware, in any zone.
        """
        at = _exact(at)
        return self._always or any(start <= at < end for start, end in self._openings(at, 1))

    def next_change(self, at: datetime) -> datetime | None:
        """Return when it opens or closes next.

        Parameters
        ----------
        at
            Aware, in any zone.

        Returns
        -------
        datetime or None
            Later than ``at``, as a clock in the room will show it, and exact; None where nothing
            changes within ten years.
        """
        at = _exact(at)
        if self._always:
            return None
        until = None
        for start, end in self._openings(at, _AHEAD):
            if until is None and start > at:
                return self._shown(start)
            if until is not None and start > until:
                break
            if end > at:
                until = end if until is None else max(until, end)
        ahead = at + timedelta(days=_AHEAD - 2)
        return None if until is None or until > ahead else self._shown(until)

    def _openings(self, at: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
        """Yield openings in UTC by when they start, from those of the day before a moment on."""
        zone = self.zone
        today = at.astimezone(zone).date()
        # One may have begun the day before; and in a zone that skips a day, the day before that.
        for offset in range(-2, days + 1):
            day = today + timedelta(days=offset)
            if any(closure.covers(day) for closure in self._closed):
                continue
            openings = [
                (_moment(day, span.start, zone), _moment(day, span.end, zone, last=True))
                for span in self._spans
                if span.weekday == day.weekday()
            ]
            yield from (opening for opening in sorted(openings) if opening[0] < opening[1])

    def _shown(self, moment: datetime) -> datetime:
        # With an offset instead of a zone: two moments in the same zone are subtracted as if no
        # clock had been changed between them.
        local = moment.astimezone(self.zone)
        return moment.astimezone(timezone(local.utcoffset() or timedelta()))


def _exact(at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise ValueError("a moment needs a time zone")
    return at.astimezone(timezone.utc)


def _moment(day: date, minutes: int, zone: tzinfo, last: bool = False) -> datetime:
    """Return, in UTC, when a clock shows a time: the first or last time that it does."""
    wanted = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)  # noqa: DTZ001
    early, late = sorted(
        wanted.replace(tzinfo=zone, fold=fold).astimezone(timezone.utc) for fold in (0, 1)
    )

    def shown(moment: datetime) -> datetime:
        return moment.astimezone(zone).replace(tzinfo=None, fold=0)

    if early == late or shown(early) == wanted:
        return late if last else early
    # Left out: the moment at which it is left out lies between the two, to the second.
    seconds = range(int((late - early).total_seconds()))
    return early + timedelta(
        seconds=bisect_left(
            seconds, True, key=lambda second: shown(early + timedelta(seconds=second)) >= wanted
        )
    )


def _machine_zone() -> tzinfo:
    """Return the zone of the machine, as it is now; the C library would keep the first it read."""
    try:
        found = _LOCALTIME.stat()
        return _read_zone(_LOCALTIME, found.st_ino, found.st_mtime_ns)
    except (OSError, ValueError):
        # As the C library has it.
        return timezone.utc


@lru_cache(maxsize=1)
def _read_zone(path: Path, _inode: int, _changed: int) -> tzinfo:
    with path.open("rb") as file:
        return ZoneInfo.from_file(file)


def _parse_span(text: str) -> list[_Span]:
    days, *rest = re.split(r"(?=[0-9])", text.lower(), maxsplit=1)
    times = rest[0] if rest else ""
    start_text, dash, end_text = times.partition("-")
    if not (days.strip() and dash):
        raise ValueError(
            f"{text!r} is no opening; it needs days and two times, "
            'as in "mon-fri 10:00-18:00" or "sat,sun 11:00-20:00"'
        )
    start, end = _parse_time(start_text), _parse_time(end_text)
    if start == _DAY_MINUTES:
        raise ValueError(f"{text!r} begins at 24:00; write 00:00 and the day after")
    if start == end:
        raise ValueError(f"{text!r} ends when it begins; the whole day is 00:00-24:00")
    return [
        _Span(weekday, start, end if end > start else end + _DAY_MINUTES)
        for weekday in sorted(_parse_days(days))
    ]


def _parse_days(text: str) -> set[int]:
    found: set[int] = set()
    for part in "".join(text.split()).split(","):
        first, dash, last = part.partition("-")
        for name in (first, last) if dash else (first,):
            if name not in _DAYS:
                raise ValueError(
                    f"{name!r} is no day; write {', '.join(_DAYS)}, or a range such as mon-fri"
                )
        start, end = _DAYS.index(first), _DAYS.index(last if dash else first)
        found |= {day % 7 for day in range(start, (end if end >= start else end + 7) + 1)}
    return found


def _parse_time(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})", text.strip())
    hours, minutes = map(int, match.groups()) if match else (-1, 0)
    if not (0 <= hours * 60 + minutes <= _DAY_MINUTES and minutes < 60):
        raise ValueError(f"{text.strip()!r} is no time; write 00:00 to 24:00")
    return hours * 60 + minutes


def _parse_closed(text: str) -> _Closure:
    first_text, dots, last_text = text.partition("..")
    first = _parse_day(first_text.strip())
    last = _parse_day(last_text.strip()) if dots else first
    if len(first) != len(last):
        raise ValueError(f"{text!r} has a year on one side only; write it on both or none")
    if len(first) == 3 and last < first:
        raise ValueError(f"{text!r} ends before it begins; write the earlier day first")
    return _Closure(first, last)


def _parse_day(text: str) -> tuple[int, ...]:
    match = re.fullmatch(r"(?:([0-9]{4})-)?([0-9]{2})-([0-9]{2})", text)
    if not match:
        raise ValueError(
            f"{text!r} is no day; write 2026-12-24, or 12-24 for every year; "
            "from one to another: 12-24..01-02"
        )
    year, month, day = (int(part) if part else None for part in match.groups())
    try:
        # Every year has the days that a leap year has, sooner or later.
        date(2024 if year is None else year, month or 0, day or 0)
    except ValueError:
        raise ValueError(f"{text!r} is not in the calendar; write month before day") from None
    parts = (year, month, day)
    return tuple(part for part in parts if part is not None)


def _parse_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        close = difflib.get_close_matches(name, available_timezones(), n=1)
        hint = f"did you mean {close[0]}?" if close else "write one such as Europe/Berlin"
        raise ValueError(f"{name!r} is no time zone known here; {hint}") from None
