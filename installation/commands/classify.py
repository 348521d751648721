"""``installation classify``: label the faces in image files."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from installation.commands.arguments import (
    Subparsers,
    add_command,
    load_config,
    path_or_url,
    positive,
)
from installation.commands.exit_status import OK
from installation.commands.terminal import ProgressBar, print_error
from installation.errors import EXPECTED_ERRORS, FAILURE, printable

if TYPE_CHECKING:
    from installation.commands.output_folder import FileResult


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    summary = "Find and label the faces in image files."
    parser = add_command(commands, "classify", _classify, summary, logging.WARNING)
    parser.add_argument("images", nargs="+", type=path_or_url, metavar="IMAGE")
    parser.add_argument("--json", action="store_true", help="print one JSON object per image")
    parser.add_argument(
        "--top", type=positive(int), default=5, metavar="K", help="labels per face (default: 5)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="save copies with boxes and labels in this folder (PNG if a format cannot hold them)",
    )


def _classify(arguments: argparse.Namespace) -> int:
    from installation.commands.output_folder import OutputError, OutputFolder, classify_file
    from installation.inference.engine import InferenceError
    from installation.vision.still_classifier import open_image_classifier

    config = load_config(arguments)
    copies = OutputFolder(arguments.output, config.theme) if arguments.output else None
    status = OK
    with (
        ProgressBar() as progress,
        open_image_classifier(config, arguments.top, progress.update) as classifier,
    ):
        for path in arguments.images:
            try:
                result = classify_file(classifier, path)
                if arguments.json:
                    print(json.dumps(result.as_json()), flush=True)
                else:
                    _print_text(result)
                if copies is not None:
                    copies.save(result)
            except (InferenceError, OutputError):
                raise
            except EXPECTED_ERRORS as error:
                print_error(error)
                status = FAILURE
    return status


def _print_text(result: FileResult) -> None:
    count = len(result.faces)
    print(f"{printable(str(result.path))}: {count} face{'' if count == 1 else 's'}")
    faces = [(f"face {number}", face.labels) for number, face in enumerate(result.faces, 1)]
    for name, labels in (*faces, ("whole", result.whole)):
        # Two synsets may share their words; print them once, with the better score.
        scores = {label.words: label.score for label in reversed(labels)}
        ranked = sorted(scores.items(), key=lambda item: -item[1])
        print(f"  {name}: {' | '.join(f'{words} {score:.2f}' for words, score in ranked)}")
