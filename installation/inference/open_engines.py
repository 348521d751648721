"""Where the engines run: on a GPU, on a server, or on this machine's CPU."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines import build
from engines.cuda_device import CudaDevice, DriverError, NoDeviceError, find_device
from engines.manifest import load_manifest
from engines.plan_cache import BATCHES, Network, PlanCache, Target
from engines.tensorrt_library import Library, NoLibraryError, find_library
from engines.trt_builder import CancelledError, ProgressCallback
from installation.config.model import Inference
from installation.errors import EXPECTED_ERRORS, InstallationError
from installation.inference.circuit_breaker import CircuitBreaker
from installation.inference.engine import Engine, InferenceError
from installation.runtime.background import run_in_thread

__all__ = [
    "CancelledError",
    "DeviceError",
    "NoGpuError",
    "Progress",
    "find_gpu",
    "make_plan",
    "open_engines",
    "rebuild_damaged",
]

log = logging.getLogger(__name__)

# Receives what is being prepared and how much of it is done, 0 to 1; returns False to cancel.
Progress = Callable[[str, float], bool]


class NoGpuError(InstallationError):
    """The GPU is not used; the message says why."""


class DeviceError(InferenceError):
    """The GPU that the config asks for cannot be used by this process; another one may."""


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """A card and a TensorRT that agree."""

    card: CudaDevice
    library: Library

    def __str__(self) -> str:
        card = self.card
        return f"GPU {card.name} (sm_{card.compute_capability}, {card.driver}), {self.library}"


def find_gpu() -> GpuInfo:
    """Find the GPU to use.

    Raises
    ------
    NoGpuError
        Driver, card, TensorRT and pycuda are not all there.
    """
    try:
        card = find_device()
        library = find_library(card)
    except (NoDeviceError, NoLibraryError) as error:
        raise NoGpuError(str(error)) from error
    try:
        import pycuda.driver  # noqa: F401
    except ImportError as error:
        missing = error.name in ("pycuda", "pycuda.driver")
        reason = "is not installed" if missing else f"cannot be imported ({error})"
        raise NoGpuError(f"pycuda {reason}") from error
    return GpuInfo(card, library)


def circuit_breaker_for(built: Path) -> CircuitBreaker:
    """Return the page on which GPU failures are counted."""
    return CircuitBreaker(built / "plans" / "gpu.json")


def mark_clean_exit(built: Path) -> None:
    """Note that this process ends without having closed the GPU, for which that is not to blame."""
    if (built / "plans").is_dir():
        circuit_breaker_for(built).end()


def prepare(built: Path, name: str, found: GpuInfo, progress: Progress) -> tuple[Network, bytes]:
    """Return an engine's network and plan for the GPU that was found; see `make_plan`."""
    target = Target.here(found.library, found.card)
    return make_plan(PlanCache(built), name, found.library, target, progress)


def make_plan(
    plans: PlanCache, name: str, library: Library, target: Target, progress: Progress
) -> tuple[Network, bytes]:
    """Return an engine's network and plan for a target, built now if need be.

    Parameters
    ----------
    plans, name
        Where the engine lives, and what it is called.
    library, target
        What builds it, and what for.
    progress
        Told when something has to be built, on another thread.

    Raises
    ------
    InstallationError
        See `PlanCache.plan`.
    """

    def work(cancelled: threading.Event) -> tuple[Network, bytes]:
        def begin(reason: str) -> ProgressCallback:
            log.info("%s: building a plan for %s: %s", name, target.who, reason)
            return lambda done: progress(label, done) and not cancelled.is_set()

        return plans.plan(name, library, target, begin)

    label = f"{name} for sm_{target.compute_capability}"
    return run_in_thread(work)


def rebuild_damaged(built: Path, names: Collection[str]) -> None:
    """Build what is missing or damaged of these folders again, from packages that were kept.

    Raises
    ------
    BuildError
        See `engines.build.rebuild_damaged`.
    """
    build.rebuild_damaged(built, names, log.warning)


@contextmanager
def open_engines(
    settings: Inference,
    names: Sequence[str],
    progress: Progress = lambda _what, _done: True,
    waits: bool = False,
) -> Iterator[list[Engine]]:
    """Open engines on the device that a config asks for; all on the same, if it is this machine's.

    What they hold is freed on leaving, on the same thread.

    Parameters
    ----------
    settings
        ``device`` says where: ``auto`` takes the GPU when all that it needs is there and works.
    names
        Of the engines' folders.
    progress
        Told when something has to be built, which may take minutes.
    waits
        Whether the caller would rather hear that a server is busy (`OverloadedError`) than be
        answered by this machine's CPU.

    Raises
    ------
    ManifestError
        An engine is missing, or is not what its manifest says.
    InferenceError
        A backend refused an engine.
    DeviceError
        ``gpu`` was asked for and is not there.
    CancelledError
        `progress` asked for it.
    """
    with ExitStack() as stack:
        engines, fallback = None, False
        if settings.server:
            engines = stack.enter_context(_on_server(settings, names, waits))
        elif settings.device != "cpu":
            try:
                found = find_gpu()
                if reason := circuit_breaker_for(settings.engines).open_reason():
                    raise InferenceError(reason)
                engines = stack.enter_context(_on_gpu(settings, names, found, progress))
            except CancelledError:
                raise
            except EXPECTED_ERRORS as error:
                if settings.device == "gpu":
                    raise DeviceError(f"inference.device is gpu, but {error}") from error
                # A machine without a GPU has what it was bought for.
                fallback = not isinstance(error, NoGpuError) or isinstance(
                    error.__cause__, DriverError
                )
                level = logging.WARNING if fallback else logging.INFO
                log.log(level, "inference on the CPU: %s", error)
        else:
            log.info("inference on the CPU: inference.device is cpu")
        if engines is None:
            engines = stack.enter_context(_on_cpu(settings.engines, names, fallback))
        yield engines


@contextmanager
def _on_cpu(built: Path, names: Sequence[str], fallback: bool) -> Iterator[list[Engine]]:
    # OpenVINO takes a second to import; what needs no engine need not wait for it.
    from installation.inference.cpu import CpuEngine

    yield [CpuEngine(built / name, load_manifest(built / name), fallback) for name in names]


@contextmanager
def _on_server(settings: Inference, names: Sequence[str], waits: bool) -> Iterator[list[Engine]]:
    from installation.inference.kserve import KserveClient, KserveEngine

    with ExitStack() as stack:
        local = stack.enter_context(_on_cpu(settings.engines, names, fallback=False))
        connection = KserveClient(settings)
        stack.callback(connection.close)
        engines: list[Engine] = []
        for name, engine in zip(names, local, strict=True):
            if engine.manifest.task == "classify" or settings.offload == "both":
                engine = KserveEngine(connection, name, engine, waits)
            stack.callback(engine.close)
            engines.append(engine)
        yield engines


@contextmanager
def _on_gpu(
    settings: Inference, names: Sequence[str], found: GpuInfo, progress: Progress
) -> Iterator[list[Engine]]:
    from installation.inference.gpu import GpuError

    plans = {name: prepare(settings.engines, name, found, progress) for name in names}
    trust = circuit_breaker_for(settings.engines)
    trust.begin()
    try:
        with ExitStack() as around, ExitStack() as stack:
            engines = _open_on_gpu(settings.engines, plans, found, stack)
            precisions = dict.fromkeys(network.precision for network, _ in plans.values())
            plans.clear()
            log.info("inference on the %s, %s", found, "/".join(precisions))
            try:
                yield engines
            except GpuError:
                # pycuda would complain about each thing that cannot be freed any more.
                around.enter_context(_stderr_suppressed())
                raise
    except GpuError as error:
        trust.fail(str(error))
        raise
    except BaseException:
        trust.end()
        raise
    trust.end()


def _open_on_gpu(
    built: Path, plans: dict[str, tuple[Network, bytes]], found: GpuInfo, stack: ExitStack
) -> list[Engine]:
    from installation.inference.gpu import GpuContext, GpuError
    from installation.inference.gpu_engine import GpuEngine, PlanRejectedError

    engines: list[Engine] = []
    try:
        gpu = GpuContext(found.card)
        stack.callback(gpu.close)
        for name, (_, plan) in plans.items():
            manifest = load_manifest(built / name)
            try:
                engine = GpuEngine(gpu, manifest, found.library.module, plan, BATCHES.most)
            except PlanRejectedError:
                PlanCache(built).discard(name, Target.here(found.library, found.card))
                raise
            stack.callback(engine.close)
            engines.append(engine)
    except EXPECTED_ERRORS:
        raise
    except Exception as error:
        raise GpuError(f"the GPU failed while it was opened: {error!r}") from error
    return engines


@contextmanager
def _stderr_suppressed() -> Iterator[None]:
    """Keep back what is written to standard error, by C++ too."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
