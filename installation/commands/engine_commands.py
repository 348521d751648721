"""What ``installation engines`` does: networks, the plans made of them, and how they stand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines import imagenet22k as authentic
from engines.build import Recipe, build, build_one
from engines.manifest import load_manifest
from engines.plan_cache import PlanCache, Target
from engines.precision import Precision
from engines.tensorrt_library import Library, NoLibraryError, find_library
from engines.triton_export import Backend, export
from installation.commands.calibration import calibrate
from installation.config.model import Config
from installation.errors import InstallationError
from installation.inference.engine import InferenceError
from installation.inference.engine_status import engine_names
from installation.inference.open_engines import (
    NoGpuError,
    Progress,
    find_gpu,
    make_plan,
)
from installation.runtime.background import run_in_thread

AUTHENTIC = "person-authentic"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a technician asks of ``engines build``.

    Attributes
    ----------
    names
        Engines to make plans of; empty for all.
    precision
        Theirs from now on; None leaves it as it is.
    pictures
        A folder to calibrate int8 with.
    accept
        Asked with what int8 costs; False leaves all as it was.
    ahead_for
        Compute capabilities of cards to build for that are not here.
    network, weights
        For the authentic classifier: what timm calls it, and a file with its weights.
    """

    names: tuple[str, ...] = ()
    precision: Precision | None = None
    pictures: Path | None = None
    accept: Callable[[str], bool] = lambda _loss: False
    ahead_for: tuple[int, ...] = ()
    network: str | None = None
    weights: Path | None = None


def build_all(config: Config, wish: BuildOptions, say: Say, progress: Progress) -> None:
    """Bring networks and plans up to date.

    Raises
    ------
    InstallationError
        Something could not be had or built.
    """
    built = config.inference.engines
    if wish.network is not None:
        _build_authentic(built, wish.network, wish.weights, say)
    build(built, say)
    names = _named(built, wish.names)
    plans = PlanCache(built, strict_writes=True)
    plans.remove_temporary()
    if wish.precision == "int8":
        _quantise(config, names, wish, plans, say)
    elif wish.precision is not None:
        for name in names:
            plans.convert(name, load_manifest(built / name), wish.precision)
    for library, target in _targets(config, wish, say):
        for name in names:
            make_plan(plans, name, library, target, progress)


def _build_authentic(built: Path, network: str, weights: Path | None, say: Say) -> None:
    say(f"building {AUTHENTIC}")
    # The weights are read with the rights of whoever runs this, before anything is written.
    write = authentic.prepare(network, weights, say)
    build_one(Recipe(AUTHENTIC, 1, lambda folder, _read: write(folder)), built)
    say(f"to show its words, set inference.classifier to {AUTHENTIC}")


def export_all(
    config: Config, names: Sequence[str], folder: Path, backend: Backend, say: Say
) -> None:
    """Write engines, all unless some are named, into a server's model repository.

    Raises
    ------
    InstallationError
        An engine is missing or wrong, or the folder cannot be written to.
    """
    built = config.inference.engines
    try:
        for version in export(built, _named(built, names), folder, backend):
            say(f"wrote {version}")
    except OSError as error:
        raise InstallationError(f"{folder}: cannot be written to: {error.strerror}") from error


def _named(built: Path, names: Sequence[str]) -> list[str]:
    there = engine_names(built)
    for name in names:
        if name not in there:
            raise InstallationError(f"{name}: no such engine; there are {', '.join(there)}")
    return list(names) or there


def _targets(config: Config, wish: BuildOptions, say: Say) -> list[tuple[Library, Target]]:
    """Return what to build for: the cards named, else the one that is here, if any."""
    if wish.ahead_for:
        try:
            library = find_library(None)
        except NoLibraryError as error:
            raise InstallationError(
                f"building ahead takes TensorRT-RTX (pip install tensorrt-rtx-cu13): {error}"
            ) from error
        known = library.compute_capabilities()
        for capability in wish.ahead_for:
            if capability not in known:
                listed = ", ".join(f"sm_{each}" for each in known)
                raise InstallationError(f"{library} does not know sm_{capability}; only {listed}")
        return [(library, Target.ahead(library, capability)) for capability in wish.ahead_for]
    if config.inference.device == "cpu" or config.inference.server:
        return []
    try:
        found = find_gpu()
    except NoGpuError as error:
        if config.inference.device == "gpu":
            raise InferenceError(f"inference.device is gpu, but {error}") from error
        say(f"no plans are needed: {error}")
        return []
    return [(found.library, Target.here(found.library, found.device))]


def _quantise(
    config: Config, names: Sequence[str], wish: BuildOptions, plans: PlanCache, say: Say
) -> None:
    """Calibrate all engines, then ask about each: nothing is changed before all went well."""
    if wish.pictures is None:
        raise InstallationError(
            "int8 has to be calibrated: name a folder of pictures as the camera sees them, "
            "with --calibrate FOLDER"
        )
    pictures, made = wish.pictures, {}
    for name in names:
        say(f"calibrating {name}")
        made[name] = run_in_thread(_calibration(config, name, pictures))
        say(f"{name} at int8: {made[name][1]}")
    for name, (network, _) in made.items():
        if wish.accept(f"{name}: use int8 from now on?"):
            manifest = load_manifest(config.inference.engines / name)
            plans.store_network(name, manifest, "int8", network)
        else:
            say(f"{name} stays as it was")


def _calibration(
    config: Config, name: str, pictures: Path
) -> Callable[[threading.Event], tuple[bytes, str]]:
    # Aside, because OpenVINO may leave a thread it has worked on unfit for handling signals.
    return lambda _cancelled: calibrate(config, name, pictures)
