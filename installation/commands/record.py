"""``installation record``: reports and copies of the record of words shown."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from installation.commands.arguments import (
    Parser,
    Subparsers,
    add_actions,
    add_command,
    load_config,
    path_ending_in,
)
from installation.commands.exit_status import OK
from installation.commands.terminal import print_error
from installation.errors import FAILURE, InstallationError

if TYPE_CHECKING:
    from installation.config.model import Config
    from installation.record.reader import Period
    from installation.record.summary import Summary


def add_parser(commands: Subparsers) -> None:
    """Add the command and its actions."""
    actions = add_actions(commands, "record", "Report which words were shown, and when.")

    summary = "Print the most frequent words, the times, and how many words were never shown."
    parser = add_command(actions, "summary", _summary, summary, logging.WARNING)
    _add_selection(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object")
    form.add_argument(
        "--never-used", action="store_true", help="list the words that were never shown instead"
    )

    summary = "Export every row as CSV."
    parser = add_command(actions, "export", _export, summary, logging.WARNING)
    _add_selection(parser)
    parser.add_argument(
        "--csv", type=Path, nargs="?", metavar="FILE", help="default: standard output"
    )

    summary = "Save the summary as a sheet to print (.png) or a page to read (.html)."
    parser = add_command(actions, "plot", _plot, summary, logging.WARNING)
    _add_selection(parser)
    parser.add_argument("file", type=_plot_file, metavar="FILE")

    summary = "Copy the record into one file; the installation may be running."
    parser = add_command(actions, "backup", _backup, summary, logging.WARNING)
    _add_record(parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="the copy; must not exist yet")

    summary = "Merge records, such as those of several screens, into one; can be repeated."
    parser = add_command(actions, "merge", _merge, summary, logging.WARNING)
    parser.add_argument("into", type=Path, metavar="INTO", help="created if it does not exist")
    parser.add_argument("records", type=Path, nargs="+", metavar="FILE", help="read only")


def _add_selection(parser: Parser) -> None:
    parser.add_argument("--since", type=_day, metavar="DATE", help="first day, such as 2026-12-24")
    parser.add_argument("--until", type=_day, metavar="DATE", help="last day")
    _add_record(parser)


def _add_record(parser: Parser) -> None:
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="default: record.file of the config"
    )


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.min
    # Other years have no hours that can be counted from 1970.
    if not 1970 <= day.year < 9000:
        raise argparse.ArgumentTypeError(f"must be a date such as 2026-12-24, not {text}")
    return day


def _plot_file(text: str) -> Path:
    from installation.record.report_plot import SUFFIXES

    return path_ending_in(*SUFFIXES)(text)


def _record_path(arguments: argparse.Namespace, config: Config) -> Path:
    path: Path | None = arguments.record or config.record.file
    if path is None:
        raise InstallationError("record.file is null: nothing is recorded; set record.file")
    return path


def _period(arguments: argparse.Namespace, config: Config) -> Period:
    from installation.record.reader import Period

    return Period(config.hours.schedule.zone, arguments.since, arguments.until)


def _summarise(arguments: argparse.Namespace) -> tuple[Summary, str]:
    """Return the summary asked for, and the name of its time zone."""
    from installation.record.summary import summarise

    config = load_config(arguments)
    path, period = _record_path(arguments, config), _period(arguments, config)
    zone = config.hours.timezone or f"{datetime.now(period.zone):%Z}"
    return summarise(path, period, config.labels.choice), zone


def _summary(arguments: argparse.Namespace) -> int:
    from installation.record.summary import as_text, words_or_wnid

    summary, zone = _summarise(arguments)
    if arguments.json:
        print(json.dumps({"timezone": zone, **summary.as_json()}))
    elif arguments.never_used:
        for wnid in summary.never_used:
            print(f"{wnid}  {words_or_wnid(wnid)}")
    else:
        for line in as_text(summary):
            print(line)
    return OK


def _export(arguments: argparse.Namespace) -> int:
    from installation.record.summary import export

    config = load_config(arguments)
    path, period = _record_path(arguments, config), _period(arguments, config)
    if arguments.csv is None:
        export(path, period, sys.stdout)
        return OK
    with arguments.csv.open("w", encoding="utf-8", newline="") as file:
        export(path, period, file)
    return OK


def _plot(arguments: argparse.Namespace) -> int:
    from installation.record import report_plot

    summary, zone = _summarise(arguments)
    report_plot.save(summary, zone, arguments.file)
    return OK


def _backup(arguments: argparse.Namespace) -> int:
    from installation.record.backup import back_up

    # With --record no config is needed.
    record = arguments.record or _record_path(arguments, load_config(arguments))
    print(f"{arguments.file}: {back_up(record, arguments.file):,} words")
    return OK


def _merge(arguments: argparse.Namespace) -> int:
    from installation.record.merge import merge
    from installation.record.store import count_rows

    status = OK
    for merged in merge(arguments.into, arguments.records):
        if merged.error is not None:
            print_error(merged.error)
            status = FAILURE
        if merged.rows:
            print(merged, flush=True)
    print(f"{arguments.into}: {count_rows(arguments.into):,} words")
    return status
