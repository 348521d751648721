import csv
import io
from contextlib import closing
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from installation.labels.policy import Policy
from installation.labels.taxonomy import find
from installation.record.entry import Entry, hour_of
from installation.record.reader import Period
from installation.record.store import Store
from installation.record.summary import as_text, export, summarise

BERLIN = ZoneInfo("Test/Berlin")
BOOKWORM, CLOG_DANCER, CURATOR = (find(word)[0] for word in ("bookworm", "clog dancer", "curator"))
SAFE = Policy("safe")


def entry(when, wnid, seconds=10, source="wall", policy="safe", engine="person-semantic"):
    hour = hour_of(datetime.fromisoformat(when).timestamp())
    return Entry(hour, wnid, 0.5, seconds, source, policy, engine)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "record.sqlite"
    with closing(Store(path)) as store:
        store.add(
            [
                # A Saturday, then a Sunday an hour later for people in Berlin.
                entry("2026-11-21T23:30+01:00", BOOKWORM, 20),
                entry("2026-11-22T00:30+01:00", CURATOR),
                entry("2026-11-22T15:10+01:00", CURATOR, 60),
                entry("2026-11-22T15:50+01:00", CLOG_DANCER, 0, "web"),
                entry("2026-11-23T15:00+01:00", CURATOR, 1, policy="full", engine="other"),
            ]
        )
    return path


def read(path, since=None, until=None, policy=SAFE):
    return summarise(path, Period(BERLIN, since, until), policy)


def test_words_are_counted_the_most_frequent_first(path):
    found = read(path)
    assert (found.entries, found.seconds) == (5, 91)
    assert [(each.wnid, each.entries, each.seconds) for each in found.words] == [
        (CURATOR, 3, 71),
        (BOOKWORM, 1, 20),
        (CLOG_DANCER, 1, 0),
    ]
    assert found.words[0].words == "curator, conservator"


def test_weekdays_and_hours_are_those_of_the_room(path):
    week = read(path).week
    assert week.sum() == 5
    assert (week[5, 23], week[6, 0], week[6, 15], week[0, 15]) == (1, 1, 2, 1)


def test_days_are_those_of_the_room(path):
    sunday = date(2026, 11, 22)
    assert read(path, sunday, sunday).entries == 3
    assert read(path, since=sunday).entries == 4
    assert read(path, until=date(2026, 11, 21)).words[0].wnid == BOOKWORM
    found = read(path)
    assert (found.first, found.last) == (date(2026, 11, 21), date(2026, 11, 23))


def test_each_word_counts_below_one_child_of_person(path):
    found = read(path)
    assert sum(each.entries for each in found.subtrees) == 5
    # A curator keeps something; a clog dancer and a bookworm are no such persons.
    assert found.subtrees[0].entries == 3
    assert len(found.subtrees) == 3


def test_words_never_given_are_those_the_policy_allows(path):
    found = read(path)
    assert found.allowed == 1239
    assert not {BOOKWORM, CURATOR, CLOG_DANCER} & set(found.never_used)
    given_and_allowed = 1239 - len(found.never_used)
    assert given_and_allowed in (2, 3)
    assert len(read(path, policy=Policy("full")).never_used) == 2832 - 3
    assert (
        len(read(path, policy=Policy("safe", exclude=("curator",))).never_used)
        < len(found.never_used) + 1
    )


def test_where_under_which_policy_and_by_what_they_were_given(path):
    found = read(path)
    assert found.sources == {"wall": 4, "web": 1}
    assert found.policies == {"safe": 4, "full": 1}
    assert found.engines == {"person-semantic": 4, "other": 1}


def test_an_empty_record_is_summarised_in_a_line(path):
    found = read(path, until=date(2000, 1, 1))
    assert (found.entries, found.first, found.words) == (0, None, ())
    assert list(as_text(found)) == ["nothing was recorded in this period"]
    assert found.as_json()["since"] is None


def test_text_lists_the_counts(path):
    lines = list(as_text(read(path), max_rows=2))
    assert lines[:3] == [
        "21 November to 23 November 2026",
        "5 words given, 3 different ones",
        "shown for 1 min 31 s",
    ]
    assert "       3   60.0%  curator, conservator" in lines
    assert "       1   20.0%  (1 others)" in lines
    assert "       2   40.0%  15:00" not in lines
    assert "       3   60.0%  15:00" in lines


def test_json_is_complete(path):
    told = read(path).as_json()
    assert told["words"][0] == {
        "wnid": CURATOR,
        "words": "curator, conservator",
        "entries": 3,
        "seconds": 71,
    }
    assert (told["since"], told["until"]) == ("2026-11-21", "2026-11-23")
    assert sum(told["hours"]) == sum(told["weekdays"]) == sum(map(sum, told["week"])) == 5


def test_an_unknown_synset_is_shown_by_its_wnid(path):
    with closing(Store(path)) as store:
        store.add([entry("2026-11-22T15:00+01:00", "n99999999")] * 9)
    found = read(path)
    assert (found.words[0].words, found.subtrees[0].words) == ("n99999999", "n99999999")


def test_csv_has_a_line_a_row_and_no_order_within_an_hour(path):
    file = io.StringIO()
    export(path, Period(BERLIN, since=date(2026, 11, 22)), file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [row["hour"] for row in rows] == [
        "2026-11-22T00:00+01:00",
        "2026-11-22T15:00+01:00",
        "2026-11-22T15:00+01:00",
        "2026-11-23T15:00+01:00",
    ]
    assert rows[0] == {
        "hour": "2026-11-22T00:00+01:00",
        "words": "curator, conservator",
        "wnid": CURATOR,
        "confidence": "0.5",
        "seconds": "10",
        "source": "wall",
        "policy": "safe",
        "engine": "person-semantic",
    }
    assert [row["wnid"] for row in rows[1:3]] == sorted([CURATOR, CLOG_DANCER])
