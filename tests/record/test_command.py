"""``installation record`` as its users run it."""

import json
import subprocess
import sys
from contextlib import closing

import pytest

from installation.record.entry import Entry
from installation.record.store import Store

NOON = 494_435  # 2026-05-28T11:00Z


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text("hours: {timezone: Test/Berlin}\n")
    with closing(Store(tmp_path / "record.sqlite")) as store:
        for day in range(3):
            store.add([Entry(NOON + 24 * day, "n09842047", 0.5, 3, "wall", "safe", "e")] * 2)
    return tmp_path


def record(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "installation", "record", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def complaint(folder, *arguments):
    ran = record(folder, *arguments)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.count("\n") == 1 and ran.stderr.startswith("installation: ")
    return ran.stderr


def test_a_summary_for_people_and_for_programs(folder):
    ran = record(folder, "summary", "--since", "2026-05-29")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "4 words given" in ran.stdout
    told = json.loads(record(folder, "summary", "--json", "--until", "2026-05-28").stdout)
    assert (told["timezone"], told["entries"], told["hours"][13]) == ("Test/Berlin", 2, 2)


def test_words_never_given_are_listed(folder):
    lines = record(folder, "summary", "--never-used").stdout.splitlines()
    assert len(lines) in (1238, 1239)
    assert all(line.startswith("n") and "n09842047" not in line for line in lines)


def test_csv_to_the_terminal_or_a_file(folder):
    ran = record(folder, "export", "--csv")
    assert len(ran.stdout.splitlines()) == 7
    assert record(folder, "export").stdout == ran.stdout
    assert record(folder, "export", "--csv", "rows.csv").stdout == ""
    assert (folder / "rows.csv").read_text() == ran.stdout


def test_commands_work_while_the_record_is_being_written(folder):
    with closing(Store(folder / "record.sqlite")) as store:
        store.add([Entry(NOON, "n09842047", 0.5, 3, "web", "safe", "e")])
        assert json.loads(record(folder, "summary", "--json").stdout)["entries"] == 7


def test_an_error_is_one_line(folder):
    (folder / "off.yaml").write_text("record: {file: null}")
    assert "record.file is null" in complaint(folder, "summary", "--config", "off.yaml")
    assert "nowhere" in complaint(folder, "export", "--csv", "nowhere/rows.csv")
    assert "nothing to plot" in complaint(folder, "plot", "x.png", "--until", "2000-01-01")
    (folder / "record.sqlite").write_text("no database" * 100)
    for action in (["summary"], ["export"], ["plot", "x.png"]):
        assert "not a database" in complaint(folder, *action)
    (folder / "record.sqlite").unlink()
    assert "nothing has been recorded yet" in complaint(folder, "summary")


def test_records_are_merged_and_summarised(folder):
    with closing(Store(folder / "web.sqlite")) as store:
        store.add([Entry(NOON, "n09842047", 0.5, 3, "web", "safe", "e")])
    for new in (6, 0):
        ran = record(folder, "merge", "all.sqlite", "record.sqlite", "web.sqlite")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.splitlines() == [
            f"record.sqlite: 6 words, {new} of them new",
            f"web.sqlite: 1 words, {new // 6} of them new",
            "all.sqlite: 7 words",
        ]
    summary = record(folder, "summary", "--json", "--record", "all.sqlite")
    assert json.loads(summary.stdout)["sources"] == {"wall": 6, "web": 1}
    assert len(record(folder, "export", "--record", "all.sqlite").stdout.splitlines()) == 8
    assert record(folder, "plot", "all.html", "--record", "all.sqlite").returncode == 0
    assert "7 words" in (folder / "all.html").read_text()


def test_a_record_that_cannot_be_merged_is_a_line_and_the_others_are(folder):
    (folder / "broken.sqlite").write_text("no database" * 100)
    ran = record(folder, "merge", "all.sqlite", "broken.sqlite", "record.sqlite", "none.sqlite")
    assert ran.returncode == 1
    first, second = ran.stderr.splitlines()
    assert first.startswith("installation: broken.sqlite: file is not a database")
    assert second.startswith("installation: none.sqlite: no such file")
    assert ran.stdout.splitlines()[-1] == "all.sqlite: 6 words"


def test_no_config_is_needed_to_merge(folder):
    (folder / "config.yaml").write_text("nonsense")
    assert record(folder, "merge", "all.sqlite", "record.sqlite").returncode == 0
    line = complaint(folder, "merge", "all.sqlite", "record.sqlite", "all.sqlite")
    assert "all.sqlite: cannot be merged into itself" in line
    assert "No such file" in complaint(folder, "merge", "nowhere/all.sqlite", "record.sqlite")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["merge"],
        ["merge", "all.sqlite"],
        ["plot"],
        ["plot", "sheet.pdf"],
        ["summary", "--since", "yesterday"],
        ["summary", "--since", "0001-01-01"],
        ["summary", "--until", "9999-12-31"],
        ["summary", "--json", "--never-used"],
    ],
)
def test_wrong_use_is_status_2(folder, arguments):
    ran = record(folder, *arguments)
    assert ran.returncode == 2
    assert "usage: installation record" in ran.stderr
