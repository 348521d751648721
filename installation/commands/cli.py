"""The command line: the parser, and the dispatch to one command."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from installation.commands import (
    bench,
    cameras,
    check,
    classify,
    demo,
    engines,
    labels,
    record,
    run,
    trace,
    web,
)
from installation.commands.arguments import Parser
from installation.commands.exit_status import run_command
from installation.runtime.logging_setup import configure_logging

# In the order in which --help lists them.
_COMMANDS = (run, demo, classify, trace, labels, web, record, cameras, check, bench, engines)


def make_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="installation",
        description="Unattended controller for an ImageNet Roulette installation: "
        "a camera, a screen, a green box and a word.",
        epilog="Exit status: 0 success, 1 failure (one line says why), 2 wrong usage, "
        "75 temporary failure, such as a screen that is not on yet.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        The arguments without the program's name; None: those of the process.

    Returns
    -------
    int
        The exit status.
    """
    return run_command(lambda: _dispatch(argv))


def _dispatch(argv: Sequence[str] | None) -> int:
    arguments = make_parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # File names may contain bytes that are not valid text.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    configure_logging(arguments.log_level)
    return int(arguments.run(arguments))
