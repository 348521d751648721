"""``installation cameras``: list the webcams that are plugged in."""

from __future__ import annotations

import argparse
import json

from installation.commands.arguments import Subparsers, add_command
from installation.commands.exit_status import OK


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    summary = "List the connected cameras, their permanent names and their modes."
    parser = add_command(commands, "cameras", _cameras, summary)
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def _cameras(arguments: argparse.Namespace) -> int:
    from installation.capture.list_cameras import list_webcams

    found = list_webcams()
    if arguments.json:
        print(json.dumps([webcam.as_json() for webcam in found]))
        return OK
    if not found:
        print("no camera is plugged in")
    for webcam in found:
        for line in webcam.as_text():
            print(line)
    return OK
