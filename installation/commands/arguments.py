"""What the commands share: the parser, the --config option and the types of arguments."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from installation.config.file_url import local_path
from installation.runtime.redact import redact_text

if TYPE_CHECKING:
    from installation.config.model import Config

Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"


class Parser(argparse.ArgumentParser):
    """Argument parser that redacts secrets in the URLs it quotes in usage errors."""

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        super().error(redact_text(message))


def add_command(
    commands: Subparsers,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    log_level: int = logging.INFO,
) -> Parser:
    """Add a command, or an action of one.

    Parameters
    ----------
    commands
        Where it is added.
    name
        As it is typed.
    run
        Does the work; returns the exit status.
    summary
        One sentence for ``--help``.
    log_level
        The least severe messages to log.

    Returns
    -------
    Parser
        Its parser, which has ``--config`` already.
    """
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run, log_level=log_level)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="default: ./config.yaml, else /etc/installation/config.yaml; "
        "the files in config.d beside it are merged over it",
    )
    return parser


def add_actions(commands: Subparsers, name: str, summary: str) -> Subparsers:
    """Add a command that consists of actions; return where they are added."""
    parser = commands.add_parser(name, help=summary, description=summary)
    return parser.add_subparsers(title="actions", metavar="ACTION", required=True)


def config_path(arguments: argparse.Namespace) -> Path:
    """Return the absolute path of the config, from ``--config`` or the usual places."""
    from installation.config import loader

    path: Path = arguments.config or loader.find()
    return path.absolute()


def load_config(arguments: argparse.Namespace) -> Config:
    """Read the config, from ``--config`` or the usual places."""
    from installation.config import loader

    return loader.load(arguments.config or loader.find())


def positive(convert: Callable[[str], float]) -> Callable[[str], float]:
    """Return an argument type for finite numbers above 0.

    Parameters
    ----------
    convert
        `int` or `float`.
    """

    def parse(text: str) -> float:
        value = convert(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
        return value

    parse.__name__ = "number"
    return parse


def path_or_url(text: str) -> Path:
    """Parse a path or a ``file://`` URL."""
    try:
        return local_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def path_ending_in(*suffixes: str) -> Callable[[str], Path]:
    """Return an argument type for paths with one of some suffixes, dot included."""

    def parse(text: str) -> Path:
        path = Path(text)
        if path.suffix not in suffixes:
            raise argparse.ArgumentTypeError(f"must end in {' or '.join(suffixes)}, not {text}")
        return path

    return parse
