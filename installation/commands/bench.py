"""``installation bench``: measure the installation against baseline implementations."""

from __future__ import annotations

import argparse
import json

from installation.commands.arguments import Subparsers, add_command, load_config, positive
from installation.commands.exit_status import OK
from installation.commands.terminal import print_message
from installation.errors import InstallationError

# Options of the pipeline benchmark.
_PIPELINE_OPTIONS = ("size", "faces", "seconds")


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    summary = "Measure speed against baseline implementations."
    parser = add_command(commands, "bench", _bench, summary)
    parser.add_argument(
        "stage",
        nargs="?",
        choices=("pipeline", "inference"),
        default="pipeline",
        help="from the camera to the screen (default), or inference alone",
    )
    parser.add_argument(
        "--device", choices=("auto", "gpu", "cpu"), help="default: inference.device of the config"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    pipeline = parser.add_argument_group("pipeline only")
    pipeline.add_argument(
        "--size", type=_size, metavar="WxH", help="size of frames and window (default: 1280x720)"
    )
    pipeline.add_argument(
        "--faces", type=positive(int), metavar="N", help="faces in view (default: 4)"
    )
    pipeline.add_argument(
        "--seconds",
        type=positive(float),
        metavar="N",
        help="duration of each implementation (default: 24)",
    )


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 320 and int(height) >= 240):
        raise argparse.ArgumentTypeError(f"must be at least 320x240, such as 1280x720, not {text}")
    return int(width), int(height)


def _bench(arguments: argparse.Namespace) -> int:
    from installation.bench import inference, pipeline

    config = load_config(arguments)
    given = {
        name: value for name in _PIPELINE_OPTIONS if (value := getattr(arguments, name)) is not None
    }
    if arguments.stage == "inference" and given:
        raise InstallationError(
            f"--{next(iter(given))} belongs to the pipeline benchmark: leave out inference"
        )
    if arguments.device:
        settings = config.inference.model_copy(update={"device": arguments.device})
        config = config.model_copy(update={"inference": settings})
    report: inference.Report | pipeline.Report
    if arguments.stage == "inference":
        report = inference.measure(config.inference)
    else:
        report = pipeline.measure(config, pipeline.Task(**given), print_message)
    print(json.dumps(report.as_json()) if arguments.json else report.as_text())
    return OK
