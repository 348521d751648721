"""Open engines on a GPU, on an inference server or on the local CPU."""

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
from installation.inference.server_timing import ServerTiming
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

_SERVER_TIMINGS = ServerTiming()

# Called with what is being prepared and the share that is done, 0 to 1; returns False to cancel.
Progress = Callable[[str, float], bool]


class NoGpuError(InstallationError):
    """No usable GPU; the message says why."""


class DeviceError(InferenceError):
    """The GPU that the config requires cannot be used; another process may succeed."""


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """A GPU and a TensorRT that supports it."""

    device: CudaDevice
    library: Library

    def __str__(self) -> str:
        device = self.device
        return (
            f"GPU {device.name} (sm_{device.compute_capability}, {device.driver}), {self.library}"
        )


def find_gpu() -> GpuInfo:
    """Find the GPU and the TensorRT to use.

    Raises
    ------
    NoGpuError
        The driver, the GPU, TensorRT or pycuda is missing.
    """
    try:
        device = find_device()
        library = find_library(device)
    except (NoDeviceError, NoLibraryError) as error:
        raise NoGpuError(str(error)) from error
    try:
        import pycuda.driver  # noqa: F401
    except ImportError as error:
        missing = error.name in ("pycuda", "pycuda.driver")
        reason = "is not installed" if missing else f"cannot be imported ({error})"
        raise NoGpuError(f"pycuda {reason}") from error
    return GpuInfo(device, library)


def circuit_breaker_for(built: Path) -> CircuitBreaker:
    """Return the circuit breaker that counts GPU failures for a folder of engines."""
    return CircuitBreaker(built / "plans" / "gpu.json")


def mark_clean_exit(built: Path) -> None:
    """Record that this process exits without closing the GPU, which does not count as a failure."""
    if (built / "plans").is_dir():
        circuit_breaker_for(built).end()


def prepare(built: Path, name: str, gpu: GpuInfo, progress: Progress) -> tuple[Network, bytes]:
    """Return an engine's network and plan for a GPU; see `make_plan`."""
    target = Target.here(gpu.library, gpu.device)
    return make_plan(PlanCache(built), name, gpu.library, target, progress)


def make_plan(
    plans: PlanCache, name: str, library: Library, target: Target, progress: Progress
) -> tuple[Network, bytes]:
    """Return an engine's network and plan for a target; build the plan if necessary.

    Parameters
    ----------
    plans
        The plan cache.
    name
        Name of the engine.
    library
        TensorRT that builds the plan.
    target
        What the plan is for.
    progress
        Called from another thread while a plan is being built.

    Raises
    ------
    InstallationError
        See `PlanCache.plan`.
    """

    def work(cancelled: threading.Event) -> tuple[Network, bytes]:
        def begin(reason: str) -> ProgressCallback:
            log.info("%s: building a plan for %s: %s", name, target.label, reason)
            return lambda done: progress(label, done) and not cancelled.is_set()

        return plans.plan(name, library, target, begin)

    label = f"{name} for sm_{target.compute_capability}"
    return run_in_thread(work)


def rebuild_damaged(built: Path, names: Collection[str]) -> None:
    """Rebuild missing or damaged engine folders from the packages that were downloaded before.

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
    raise_overload: bool = False,
    server_timing: ServerTiming = _SERVER_TIMINGS,
) -> Iterator[list[Engine]]:
    """Open engines where the config says; close them on exit, on the same thread.

    Without a server, all engines run on the same device.

    Parameters
    ----------
    settings
        ``device`` chooses the device; ``auto`` uses the GPU if everything it needs works.
    names
        Folder names of the engines.
    progress
        Called while a plan is being built, which may take minutes.
    raise_overload
        Whether to raise `OverloadedError` when a server is overloaded, instead of using the CPU.
    server_timing
        Timeouts and retry delays for a server.

    Raises
    ------
    ManifestError
        An engine is missing, or does not match its manifest.
    InferenceError
        A backend cannot open an engine.
    DeviceError
        The config requires the GPU, and it cannot be used.
    CancelledError
        `progress` returned False.
    """
    with ExitStack() as stack:
        engines, fallback = None, False
        if settings.server:
            engines = stack.enter_context(
                _on_server(settings, names, raise_overload, server_timing)
            )
        elif settings.device != "cpu":
            try:
                gpu = find_gpu()
                if reason := circuit_breaker_for(settings.engines).open_reason():
                    raise InferenceError(reason)
                engines = stack.enter_context(_on_gpu(settings, names, gpu, progress))
            except CancelledError:
                raise
            except EXPECTED_ERRORS as error:
                if settings.device == "gpu":
                    raise DeviceError(f"inference.device is gpu, but {error}") from error
                # On a machine without a GPU the CPU is no fallback.
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
    # Importing OpenVINO takes a second.
    from installation.inference.cpu import CpuEngine

    yield [CpuEngine(built / name, load_manifest(built / name), fallback) for name in names]


@contextmanager
def _on_server(
    settings: Inference, names: Sequence[str], raise_overload: bool, timing: ServerTiming
) -> Iterator[list[Engine]]:
    # The gRPC client is needed on few machines, and takes memory.
    from installation.inference.kserve import KserveEngine
    from installation.inference.kserve_client import KserveClient

    with ExitStack() as stack:
        local = stack.enter_context(_on_cpu(settings.engines, names, fallback=False))
        client = KserveClient(settings)
        stack.callback(client.close)
        engines: list[Engine] = []
        for name, engine in zip(names, local, strict=True):
            if engine.manifest.task == "classify" or settings.offload == "both":
                engine = KserveEngine(client, name, engine, raise_overload, timing)
            stack.callback(engine.close)
            engines.append(engine)
        yield engines


@contextmanager
def _on_gpu(
    settings: Inference, names: Sequence[str], gpu: GpuInfo, progress: Progress
) -> Iterator[list[Engine]]:
    from installation.inference.gpu import GpuError

    plans = {name: prepare(settings.engines, name, gpu, progress) for name in names}
    breaker = circuit_breaker_for(settings.engines)
    breaker.begin()
    try:
        with ExitStack() as around, ExitStack() as stack:
            engines = _open_on_gpu(settings.engines, plans, gpu, stack)
            precisions = dict.fromkeys(network.precision for network, _ in plans.values())
            plans.clear()
            log.info("inference on the %s, %s", gpu, "/".join(precisions))
            try:
                yield engines
            except GpuError:
                # pycuda prints a warning for everything that can no longer be freed.
                around.enter_context(_stderr_suppressed())
                raise
    except GpuError as error:
        breaker.fail(str(error))
        raise
    except BaseException:
        breaker.end()
        raise
    breaker.end()


def _open_on_gpu(
    built: Path, plans: dict[str, tuple[Network, bytes]], gpu: GpuInfo, stack: ExitStack
) -> list[Engine]:
    from installation.inference.gpu import GpuContext, GpuError
    from installation.inference.gpu_engine import GpuEngine, PlanRejectedError

    engines: list[Engine] = []
    try:
        context = GpuContext(gpu.device)
        stack.callback(context.close)
        for name, (_, plan) in plans.items():
            manifest = load_manifest(built / name)
            try:
                engine = GpuEngine(context, manifest, gpu.library.module, plan, BATCHES.max)
            except PlanRejectedError:
                PlanCache(built).discard(name, Target.here(gpu.library, gpu.device))
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
    """Discard what is written to standard error, also by native code."""
    sys.stderr.flush()
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
