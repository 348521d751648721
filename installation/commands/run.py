"""``installation run``: the installation itself."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from installation.commands.arguments import Subparsers, add_command, config_path
from installation.commands.exit_status import OK
from installation.supervision.core_dumps import disable_core_dumps


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    add_command(
        commands,
        "run",
        _run,
        "Show the camera on the screen, with boxes and words. Esc or Q quits.",
    )


def _run(arguments: argparse.Namespace) -> int:
    from installation.capture.make_source import make_source
    from installation.config.reload import ConfigFile
    from installation.wall import WallOptions, run

    disable_core_dumps()
    # Set by systemd (systemd.exec(5)).
    state = os.environ.get("STATE_DIRECTORY")
    file = ConfigFile(config_path(arguments), Path(state.partition(":")[0]) if state else None)
    config = file.start()
    run(config, make_source(config), WallOptions(config_file=file))
    return OK
