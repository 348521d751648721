"""``installation engines``: fetch, build, export and list the neural networks."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from installation.commands.arguments import Subparsers, add_actions, add_command, load_config
from installation.commands.exit_status import OK
from installation.commands.terminal import ProgressBar, confirm, print_message
from installation.errors import FAILURE, InstallationError

if TYPE_CHECKING:
    from installation.config.model import Config


def add_parser(commands: Subparsers) -> None:
    """Add the command and its actions."""
    actions = add_actions(commands, "engines", "Fetch, build and list the engines (networks).")
    add_command(actions, "fetch", _fetch, "Download the pinned weights.")
    _add_build(actions)
    _add_export(actions)
    summary = "List the engines, their plans and the device: state and origin."
    parser = add_command(actions, "list", _list, summary)
    parser.add_argument(
        "--check", action="store_true", help="exit with status 1 unless everything is ready"
    )


def _add_build(actions: Subparsers) -> None:
    summary = "Build what is missing or stale: engines, and their TensorRT plans if there is a GPU."
    parser = add_command(actions, "build", _build, summary)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="ENGINE",
        help="set the precision of, and build plans for, these engines only",
    )
    gpu = parser.add_argument_group("GPU")
    gpu.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        help="precision of the plans from now on (initially fp16)",
    )
    gpu.add_argument(
        "--calibrate",
        type=Path,
        metavar="DIR",
        help="for int8: images as the camera sees them; half of them measure the loss",
    )
    gpu.add_argument("--yes", action="store_true", help="accept the loss of int8 without asking")
    gpu.add_argument(
        "--target-sm",
        type=_compute_capabilities,
        default=(),
        metavar="sm_86,sm_120",
        help="build for GPUs of these compute capabilities, which need not be installed here "
        "(requires TensorRT-RTX)",
    )
    authentic = parser.add_argument_group("authentic classifier (person-authentic)")
    authentic.add_argument(
        "--network", metavar="NAME", help="timm model, such as convnext_tiny.fb_in22k"
    )
    authentic.add_argument(
        "--weights", type=Path, metavar="FILE", help="its weights, if they cannot be downloaded"
    )


def _add_export(actions: Subparsers) -> None:
    summary = "Export a model repository for Triton."
    parser = add_command(actions, "export", _export, summary)
    parser.add_argument("folder", type=Path, metavar="DIR", help="the model repository")
    parser.add_argument("names", nargs="*", metavar="ENGINE", help="export these only")
    parser.add_argument(
        "--backend",
        choices=("onnxruntime", "openvino", "python"),
        default="onnxruntime",
        help="Triton backend that runs them (default: onnxruntime; "
        "python for a Triton without the other two)",
    )


def _compute_capabilities(text: str) -> tuple[int, ...]:
    found = [re.fullmatch(r"(?:sm_)?(\d{2,3})", item.strip()) for item in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"must be of the form sm_86,sm_120, not {text}")
    return tuple(int(match[1]) for match in found if match)


def _fetch(arguments: argparse.Namespace) -> int:
    from engines.build import wheels
    from engines.fetch import fetch

    fetch(wheels(load_config(arguments).inference.engines), print_message)
    return OK


def _build(arguments: argparse.Namespace) -> int:
    from installation.commands.engine_build import BuildOptions, build_all

    config = load_config(arguments)
    if arguments.weights and not arguments.network:
        raise InstallationError("--weights requires --network NAME")
    if arguments.calibrate and arguments.precision != "int8":
        raise InstallationError("--calibrate requires --precision int8")
    options = BuildOptions(
        names=tuple(arguments.names),
        precision=arguments.precision,
        calibration_images=arguments.calibrate,
        confirm=lambda question: arguments.yes or confirm(question),
        target_sms=arguments.target_sm,
        network=arguments.network,
        weights=arguments.weights,
    )
    with ProgressBar() as progress:
        build_all(config, options, progress.print, progress.update)
    _print_status(config)
    return OK


def _export(arguments: argparse.Namespace) -> int:
    from engines.triton_export import export
    from installation.commands.engine_build import select_engines

    built, folder = load_config(arguments).inference.engines, arguments.folder
    names = select_engines(built, arguments.names)
    try:
        for version in export(built, names, folder, arguments.backend):
            print_message(f"wrote {version}")
    except OSError as error:
        raise InstallationError(f"{folder}: cannot be written to: {error.strerror}") from error
    return OK


def _list(arguments: argparse.Namespace) -> int:
    ready = _print_status(load_config(arguments))
    return OK if ready or not arguments.check else FAILURE


def _print_status(config: Config) -> bool:
    """Print the state of engines, plans and device; return whether everything is ready."""
    from installation.inference.engine_status import engine_status

    rows = engine_status(config)
    width = max(len(name) for name, _, _ in rows)
    for name, fault, details in rows:
        print(f"{name:{width}} {fault or 'ready'}{f' ({details})' if details else ''}")
    return not any(fault for _, fault, _ in rows)
