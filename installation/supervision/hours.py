"""Opening hours by the local clock, including changes to and from daylight saving time."""

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

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_LOCALTIME = Path("/etc/localtime")
# Ten years.
_LOOKAHEAD_DAYS = 3653


@dataclass(frozen=True, slots=True)
class _Span:
    """A weekly opening: weekday (0 is Monday), start and end in minutes since its midnight."""

    weekday: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Closure:
    """Closed days, first to last: (year, month, day), or (month, day) for every year."""

    first: tuple[int, ...]
    last: tuple[int, ...]

    def covers(self, day: date) -> bool:
        key = (day.year, day.month, day.day)[-len(self.first) :]
        if self.first <= self.last:
            return self.first <= key <= self.last
        return key >= self.first or key <= self.last


def check_span(text: str) -> str:
    """Return the text of a weekly opening unchanged if it is valid.

    Raises
    ------
    ValueError
        It is not valid; the message says what would be.
    """
    _parse_span(text)
    return text


def check_closed(text: str) -> str:
    """Return the text of closed days unchanged if it is valid.

    Raises
    ------
    ValueError
        It is not valid; the message says what would be.
    """
    _parse_closed(text)
    return text


def check_zone(name: str) -> str:
    """Return the name of a time zone unchanged if it exists.

    Raises
    ------
    ValueError
        It does not exist; the message suggests a similar one.
    """
    _parse_zone(name)
    return name


class Schedule:
    """When the installation is open.

    Times are local. A time skipped when clocks go forward means the moment after the change. Of a
    time that occurs twice when clocks go back, the first opens and the last closes.

    Parameters
    ----------
    spans
        Weekly openings: "mon-fri 10:00-18:00", "sat,sun 11:00-20:00", "fri 22:00-02:00" (until
        Saturday, 02:00), "tue 00:00-24:00". Empty: always open.
    closed
        Days on which no opening begins; one that began the evening before runs to its end.
        "2026-12-24", "12-25" (every year), "2026-12-24..2027-01-02", "12-24..01-02" (every year).
    zone
        IANA name of the time zone; None: the machine's, even after it is changed.

    Raises
    ------
    ValueError
        One of the texts is invalid.

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
        always = [_Span(weekday, 0, _DAY_MINUTES) for weekday in range(len(_WEEKDAYS))]
        self._spans = [span for text in spans for span in _parse_span(text)] or always
        self._closed = [_parse_closed(text) for text in closed]
        self._zone = None if zone is None else _parse_zone(zone)
        self._always_open = self._spans == always and not self._closed

    @property
    def zone(self) -> tzinfo:
        """The time zone: the one given, or the machine's current one."""
        return self._zone or _machine_zone()

    def is_open(self, at: datetime) -> bool:
        """Return whether the installation is open.

        Parameters
        ----------
        at
            Time-zone-aware, in any zone.
        """
        at = _as_utc(at)
        return self._always_open or any(start <= at < end for start, end in self._openings(at, 1))

    def next_change(self, at: datetime) -> datetime | None:
        """Return when the installation opens or closes next.

        Parameters
        ----------
        at
            Time-zone-aware, in any zone.

        Returns
        -------
        datetime or None
            Local time after ``at``, with its UTC offset; None if nothing changes within ten years.
        """
        at = _as_utc(at)
        if self._always_open:
            return None
        until = None
        for start, end in self._openings(at, _LOOKAHEAD_DAYS):
            if until is None and start > at:
                return self._local(start)
            if until is not None and start > until:
                break
            if end > at:
                until = end if until is None else max(until, end)
        ahead = at + timedelta(days=_LOOKAHEAD_DAYS - 2)
        return None if until is None or until > ahead else self._local(until)

    def _openings(self, at: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
        """Yield openings in UTC, in order of their start, beginning on the day before ``at``."""
        zone = self.zone
        today = at.astimezone(zone).date()
        # An opening may begin the day before; where a zone skips a day, two days before.
        for offset in range(-2, days + 1):
            day = today + timedelta(days=offset)
            if any(closure.covers(day) for closure in self._closed):
                continue
            openings = [
                (_instant(day, span.start, zone), _instant(day, span.end, zone, last=True))
                for span in self._spans
                if span.weekday == day.weekday()
            ]
            yield from (opening for opening in sorted(openings) if opening[0] < opening[1])

    def _local(self, moment: datetime) -> datetime:
        # With an offset instead of a zone: Python subtracts two times in the same zone as if clocks
        # were never changed between them.
        local = moment.astimezone(self.zone)
        return moment.astimezone(timezone(local.utcoffset() or timedelta()))


def _as_utc(at: datetime) -> datetime:
    if at.utcoffset() is None:
        raise ValueError("a datetime without a time zone")
    return at.astimezone(timezone.utc)


def _instant(day: date, minutes: int, zone: tzinfo, last: bool = False) -> datetime:
    """Return, in UTC, the first or last instant at which a local clock shows a time."""
    wanted = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)  # noqa: DTZ001
    early, late = sorted(
        wanted.replace(tzinfo=zone, fold=fold).astimezone(timezone.utc) for fold in (0, 1)
    )

    def clock(moment: datetime) -> datetime:
        return moment.astimezone(zone).replace(tzinfo=None, fold=0)

    if early == late or clock(early) == wanted:
        return late if last else early
    # The time is skipped: the change is on a second between the two.
    seconds = range(int((late - early).total_seconds()))
    return early + timedelta(
        seconds=bisect_left(
            seconds, True, key=lambda second: clock(early + timedelta(seconds=second)) >= wanted
        )
    )


def _machine_zone() -> tzinfo:
    """Return the machine's current time zone; the C library would cache the first one."""
    try:
        found = _LOCALTIME.stat()
        return _read_zone(_LOCALTIME, found.st_ino, found.st_mtime_ns)
    except (OSError, ValueError):
        # What the C library falls back to.
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
            f"{text!r} is not an opening; write days and two times, "
            'as in "mon-fri 10:00-18:00" or "sat,sun 11:00-20:00"'
        )
    start, end = _parse_time(start_text), _parse_time(end_text)
    if start == _DAY_MINUTES:
        raise ValueError(f"{text!r} begins at 24:00; write 00:00 on the following day")
    if start == end:
        raise ValueError(f"{text!r} ends when it begins; for the whole day write 00:00-24:00")
    return [
        _Span(weekday, start, end if end > start else end + _DAY_MINUTES)
        for weekday in sorted(_parse_days(days))
    ]


def _parse_days(text: str) -> set[int]:
    found: set[int] = set()
    for part in "".join(text.split()).split(","):
        first, dash, last = part.partition("-")
        for name in (first, last) if dash else (first,):
            if name not in _WEEKDAYS:
                days = ", ".join(_WEEKDAYS)
                raise ValueError(f"{name!r} is not a day; write {days}, or a range such as mon-fri")
        start, end = _WEEKDAYS.index(first), _WEEKDAYS.index(last if dash else first)
        found |= {day % 7 for day in range(start, (end if end >= start else end + 7) + 1)}
    return found


def _parse_time(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,2}):([0-9]{2})", text.strip())
    hours, minutes = map(int, match.groups()) if match else (-1, 0)
    if not (0 <= hours * 60 + minutes <= _DAY_MINUTES and minutes < 60):
        raise ValueError(f"{text.strip()!r} is not a time; write 00:00 to 24:00")
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
            f"{text!r} is not a day; write 2026-12-24, or 12-24 for every year, "
            "or a range such as 12-24..01-02"
        )
    year, month, day = (int(part) if part else None for part in match.groups())
    try:
        # In a leap year every day exists.
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
        raise ValueError(f"{name!r} is not a time zone on this machine; {hint}") from None
