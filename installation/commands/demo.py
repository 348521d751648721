"""``installation demo``: the installation before a simulated crowd, and how well it did."""

from __future__ import annotations

import argparse
from pathlib import Path

from installation.commands.arguments import (
    Subparsers,
    add_command,
    load_config,
    path_ending_in,
    positive,
)
from installation.commands.exit_status import OK
from installation.commands.terminal import print_message
from installation.errors import InstallationError

# Without a screen the demonstration ends by itself and saves its last frame.
_HEADLESS_DURATION_S = 10.0
_HEADLESS_OUTPUT = Path("demo.png")


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "demo", _demo, "Run with a simulated crowd instead of a camera.")
    parser.add_argument("--headless", action="store_true", help="render in memory, not on a screen")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--seconds", type=positive(float), metavar="N", help="stop after N seconds")
    limit.add_argument("--frames", type=positive(int), metavar="N", help="stop after N frames")
    parser.add_argument(
        "--output",
        type=path_ending_in(".png", ".mp4"),
        metavar="FILE",
        help="save the last frame (.png) or all of them (.mp4); "
        f"without a screen, default: {_HEADLESS_OUTPUT}",
    )


def _demo(arguments: argparse.Namespace) -> int:
    from installation.capture.demo import DemoSource
    from installation.commands.demo_recorder import DemoRecorder
    from installation.display.screen import has_screen
    from installation.wall import WallOptions, run

    config = load_config(arguments)
    camera = config.camera
    headless, output, seconds = arguments.headless, arguments.output, arguments.seconds
    if not headless and not has_screen():
        print_message("demo: no screen here (DISPLAY is not set); rendering in memory instead")
        headless = True
    if headless:
        output = output or _HEADLESS_OUTPUT
        if seconds is None and arguments.frames is None:
            seconds = _HEADLESS_DURATION_S
    print_message(f"demo: running{f' for {seconds:g} seconds' if seconds else ''}")
    if output is not None and not (folder := output.resolve().parent).is_dir():
        raise InstallationError(f"{output}: the folder {folder} does not exist")
    source = DemoSource(config.inference.engines, camera.width, camera.height, camera.fps)
    recorder = DemoRecorder(source, arguments.frames, seconds, output)
    run(config, source, WallOptions(headless=headless, observer=recorder))
    print(recorder.report())
    return OK
