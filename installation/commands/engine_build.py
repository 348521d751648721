"""The work of ``installation engines build``: engines, their precision, and plans for GPUs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines import imagenet22k
from engines.build import Recipe, build, build_one
from engines.manifest import load_manifest
from engines.plan_cache import PlanCache, Target
from engines.precision import Precision
from engines.tensorrt_library import Library, NoLibraryError, find_library
from installation.commands.calibration import calibrate
from installation.config.model import Config
from installation.errors import InstallationError
from installation.inference.engine import InferenceError
from installation.inference.engine_status import engine_names
from installation.inference.open_engines import NoGpuError, Progress, find_gpu, make_plan
from installation.runtime.background import run_in_thread

_AUTHENTIC = "person-authentic"

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of ``engines build``.

    Attributes
    ----------
    names
        Engines whose precision is set and whose plans are built; empty: all.
    precision
        Of their plans from now on; None: unchanged.
    calibration_images
        Folder of images to calibrate int8 with.
    confirm
        Called with a question once the loss of int8 is known; False leaves the engine unchanged.
    target_sms
        Compute capabilities of GPUs to build for that are not in this machine, such as 86.
    network, weights
        For the authentic classifier: the name of a timm model, and a file with its weights.
    """

    names: tuple[str, ...] = ()
    precision: Precision | None = None
    calibration_images: Path | None = None
    confirm: Callable[[str], bool] = lambda _question: False
    target_sms: tuple[int, ...] = ()
    network: str | None = None
    weights: Path | None = None


def build_all(config: Config, options: BuildOptions, report: Report, progress: Progress) -> None:
    """Build the engines and plans that are missing or stale.

    Parameters
    ----------
    config
        Where the engines are, and what runs them.
    options
        What to build.
    report
        Receives a line about each step.
    progress
        Receives the progress of each plan.

    Raises
    ------
    InstallationError
        Something cannot be downloaded or built.
    """
    built = config.inference.engines
    if options.network is None:
        if _AUTHENTIC in options.names and not (built / _AUTHENTIC).exists():
            raise InstallationError(
                f"{_AUTHENTIC} is built from a timm model: name it with --network NAME"
            )
    else:
        _build_authentic(built, options.network, options.weights, report)
    build(built, report)
    names = select_engines(built, options.names)
    plans = PlanCache(built, strict_writes=True)
    plans.remove_temporary()
    if options.precision == "int8":
        _quantise(config, names, options, plans, report)
    elif options.precision is not None:
        for name in names:
            plans.convert(name, load_manifest(built / name), options.precision)
    for library, target in _targets(config, options.target_sms, report):
        for name in names:
            make_plan(plans, name, library, target, progress)


def select_engines(built: Path, names: Sequence[str]) -> list[str]:
    """Return the engines with some names, all if there are none.

    Raises
    ------
    InstallationError
        There is no such engine.
    """
    available = engine_names(built)
    for name in names:
        if name not in available:
            raise InstallationError(f"{name}: no such engine; there are {', '.join(available)}")
    return list(names) or available


def _build_authentic(built: Path, network: str, weights: Path | None, report: Report) -> None:
    report(f"building {_AUTHENTIC}")
    # Reads the weights with the caller's rights, before anything is written.
    write = imagenet22k.prepare(network, weights, report)
    build_one(Recipe(_AUTHENTIC, 1, lambda folder, _read: write(folder)), built)
    report(f"to show its labels, set inference.classifier to {_AUTHENTIC}")


def _targets(
    config: Config, target_sms: Sequence[int], report: Report
) -> list[tuple[Library, Target]]:
    """Return what to build plans for: the GPUs asked for, else the one in this machine, if any."""
    if target_sms:
        return _ahead_targets(target_sms)
    if config.inference.device == "cpu" or config.inference.server:
        return []
    try:
        found = find_gpu()
    except NoGpuError as error:
        if config.inference.device == "gpu":
            raise InferenceError(f"inference.device is gpu, but {error}") from error
        report(f"no plans are needed: {error}")
        return []
    return [(found.library, Target.here(found.library, found.device))]


def _ahead_targets(target_sms: Sequence[int]) -> list[tuple[Library, Target]]:
    try:
        library = find_library(None)
    except NoLibraryError as error:
        raise InstallationError(
            f"--target-sm requires TensorRT-RTX (pip install tensorrt-rtx-cu13): {error}"
        ) from error
    known = library.compute_capabilities()
    for sm in target_sms:
        if sm not in known:
            listed = ", ".join(f"sm_{each}" for each in known)
            raise InstallationError(f"{library} does not know sm_{sm}; only {listed}")
    return [(library, Target.ahead(library, sm)) for sm in target_sms]


def _quantise(
    config: Config, names: Sequence[str], options: BuildOptions, plans: PlanCache, report: Report
) -> None:
    """Calibrate all engines, then ask about each: nothing changes before all have succeeded."""
    if options.calibration_images is None:
        raise InstallationError(
            "int8 must be calibrated: name a folder of images as the camera sees them, "
            "with --calibrate DIR"
        )
    images, networks = options.calibration_images, {}
    for name in names:
        report(f"calibrating {name}")
        networks[name], loss = run_in_thread(_calibration(config, name, images))
        report(f"{name} at int8: {loss}")
    for name, network in networks.items():
        if options.confirm(f"{name}: use int8 from now on?"):
            manifest = load_manifest(config.inference.engines / name)
            plans.store_network(name, manifest, "int8", network)
        else:
            report(f"{name}: unchanged")


def _calibration(
    config: Config, name: str, images: Path
) -> Callable[[threading.Event], tuple[bytes, str]]:
    # In a thread, because OpenVINO may leave the thread it runs in unable to handle signals.
    return lambda _cancelled: calibrate(config, name, images)
