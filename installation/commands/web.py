"""``installation web``: the upload page for visitors' phones."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from installation.commands.arguments import Subparsers, add_command, config_path
from installation.commands.exit_status import OK
from installation.supervision.core_dumps import disable_core_dumps

if TYPE_CHECKING:
    from installation.config.model import Config


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    summary = "Serve a page where visitors upload images from their phones."
    parser = add_command(commands, "web", _web, summary)
    parser.add_argument(
        "--port",
        type=_port,
        metavar="N",
        help="listen on this port instead of web.port; for one of several instances",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 65535, not {text}")
    return int(text)


def _web(arguments: argparse.Namespace) -> int:
    from installation.config.reload import ConfigFile
    from installation.web.upload.command import serve

    disable_core_dumps()

    def with_port(config: Config) -> Config:
        if arguments.port is None:
            return config
        web = config.web.model_copy(update={"port": arguments.port})
        return config.model_copy(update={"web": web})

    serve(ConfigFile(config_path(arguments), None, with_port))
    return OK
