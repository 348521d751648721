"""Build TensorRT plans from ONNX, with TensorRT 8.6 to 11 and TensorRT-RTX.

Only API that all of them share is used; the few names that differ are checked before use. See
"Migration Guides" in NVIDIA's TensorRT documentation for the differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx

from engines.errors import EngineError
from engines.precision import Precision
from engines.tensorrt_library import Library

# Limits for a layer's scratch memory. When a build runs out of memory the next one is tried: the
# limit may have been too low, or higher than the GPU's free memory.
WORKSPACES_BYTES = (256 << 20, 1 << 30, 64 << 20)

# Called with the share that is done, 0 to 1; returns False to cancel.
ProgressCallback = Callable[[float], bool]


class PlanError(EngineError):
    """TensorRT could not build a plan; the message contains TensorRT's errors."""


class CancelledError(PlanError):
    """A build was cancelled."""


@dataclass(frozen=True, slots=True)
class BatchRange:
    """Batch sizes of a plan: minimum, optimum, maximum."""

    min: int = 1
    opt: int = 4
    max: int = 8


def build_plan(
    library: Library,
    network: bytes,
    batches: BatchRange,
    *,
    precision: Precision = "fp16",
    target_sm: int | None = None,
    timings: bytes = b"",
    progress: ProgressCallback = lambda _done: True,
    workspaces: tuple[int, ...] = WORKSPACES_BYTES,
) -> tuple[bytes, bytes]:
    """Build a plan.

    Parameters
    ----------
    library
        TensorRT.
    network
        Serialised ONNX model with one input, whose leading dimension is N. The plan has the same
        tensor types.
    batches
        The range of N.
    precision
        Precision of the network. Only TensorRT 8 needs to be told.
    target_sm
        Compute capability of another machine's GPU, such as 86; None for the local GPU.
    timings
        Timing cache of an earlier build on this GPU, which speeds up the build; may be empty.
    progress
        Called with the progress, if the library reports it; returns False to cancel.
    workspaces
        Limits of scratch memory to try, bytes.

    Returns
    -------
    plan, timings : bytes
        The plan, and the timing cache; empty if the library has none.

    Raises
    ------
    PlanError
        TensorRT rejected the network, or failed.
    CancelledError
        `progress` returned False.
    """
    try:
        # TensorRT's parser may hang on invalid networks.
        onnx.checker.check_model(network)
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise PlanError(
            f"{library} cannot build a plan: not a valid ONNX network: {reason}"
        ) from error
    for workspace in workspaces:
        attempt = _PlanBuilder(library, progress)
        try:
            return attempt.build(network, batches, precision, target_sm, timings, workspace)
        except PlanError as error:
            if attempt.cancelled:
                raise CancelledError("cancelled") from None
            message = str(error).lower()
            if workspace == workspaces[-1] or not ("memory" in message or "workspace" in message):
                raise PlanError(f"{library} cannot build a plan: {error}") from error
        except Exception as error:
            # The bindings document no exceptions.
            raise PlanError(f"{library} cannot build a plan: {error!r}") from error
    raise AssertionError("no workspace to try")


class _PlanBuilder:
    """One attempt to build a plan."""

    def __init__(self, library: Library, progress: ProgressCallback) -> None:
        trt = library.module
        self._trt = trt
        self._has_timing_cache = not library.builds_ahead
        self._progress = progress
        self.cancelled = False
        self._logger = make_logger(trt)

    def build(
        self,
        network: bytes,
        batches: BatchRange,
        precision: Precision,
        target_sm: int | None,
        timings: bytes,
        workspace: int,
    ) -> tuple[bytes, bytes]:
        trt = self._trt
        try:
            builder = trt.Builder(self._logger)
        except Exception as error:
            raise self._failure(str(error)) from error
        flags = trt.NetworkDefinitionCreationFlag
        wanted = ("EXPLICIT_BATCH", "STRONGLY_TYPED")
        definition = builder.create_network(
            sum(1 << int(getattr(flags, name)) for name in wanted if hasattr(flags, name))
        )
        parser = trt.OnnxParser(definition, self._logger)
        if not parser.parse(network):
            errors = [parser.get_error(index).desc() for index in range(parser.num_errors)]
            raise self._failure("; ".join(errors) or "no reason given")
        if definition.num_inputs != 1 or not definition.num_outputs:
            raise self._failure("the network must have exactly one input, and outputs")
        config = builder.create_builder_config()
        if not hasattr(flags, "STRONGLY_TYPED"):
            self._configure_8(config, definition, precision)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
        self._add_profile(builder, config, definition, batches)
        if target_sm is not None:
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{target_sm}"), 0)
        cache = None
        if self._has_timing_cache:
            cache = config.create_timing_cache(timings)
            config.set_timing_cache(cache, False)
        monitor = self._monitor()
        if monitor is not None:
            config.progress_monitor = monitor
        plan = builder.build_serialized_network(definition, config)
        if plan is None:
            raise self._failure("no reason given")
        return bytes(plan), bytes(cache.serialize()) if cache is not None else b""

    def _configure_8(self, config: Any, definition: Any, precision: Precision) -> None:
        """Set what TensorRT 8 does not derive from the network, or does not do by default."""
        trt = self._trt
        if precision == "fp16":
            config.set_flag(trt.BuilderFlag.FP16)
            # Otherwise TensorRT may use float16 for layers that are float32 in the network.
            config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
            for index in range(definition.num_layers):
                layer = definition.get_layer(index)
                kinds = {layer.get_output(at).dtype for at in range(layer.num_outputs)}
                if kinds == {trt.float32}:
                    layer.precision = trt.float32
        if precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)
        # Lets the contexts of all batch sizes share one profile.
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)

    def _add_profile(self, builder: Any, config: Any, definition: Any, batches: BatchRange) -> None:
        tensor = definition.get_input(0)
        _, *shape = tensor.shape
        profile = builder.create_optimization_profile()
        sizes = batches.min, batches.opt, batches.max
        profile.set_shape(tensor.name, *((size, *shape) for size in sizes))
        if config.add_optimization_profile(profile) < 0:
            raise self._failure(f"batch sizes {sizes} were rejected")

    def _failure(self, reason: str) -> PlanError:
        # Without a driver TensorRT-RTX also logs an error about that, which is not the cause.
        errors = [error for error in self._logger.errors if "cudaError" not in error]
        errors = errors or self._logger.errors or [reason]
        return PlanError("; ".join(" ".join(error.split()) for error in errors[-2:]))

    def _monitor(self) -> Any:
        """Return a progress monitor; None if this TensorRT has no such API.

        Phases are nested: a phase's progress counts as a part of the current step of its parent.
        """
        attempt = self
        if not hasattr(self._trt, "IProgressMonitor"):
            return None

        class Monitor(self._trt.IProgressMonitor):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self._phases: dict[str, tuple[str | None, int, int]] = {}
                self._max_done = 0.0

            def phase_start(self, name: str, parent: str | None, steps: int) -> None:
                self._phases[name] = parent, 0, max(steps, 1)

            def step_complete(self, name: str, step: int) -> bool:
                if name in self._phases:
                    parent, _, steps = self._phases[name]
                    self._phases[name] = parent, step + 1, steps
                self._max_done = max(self._max_done, self._done(name))
                attempt.cancelled = attempt.cancelled or not attempt._progress(self._max_done)
                return not attempt.cancelled

            def phase_finish(self, name: str) -> None:
                self._phases.pop(name, None)

            def _done(self, name: str) -> float:
                done = 0.0
                phase: str | None = name
                while phase in self._phases:
                    parent, step, steps = self._phases[phase]
                    done = min((step + done) / steps, 1.0)
                    phase = parent
                return done

        return Monitor()


def make_logger(trt: Any) -> Any:
    """Return a TensorRT logger that collects errors in its list ``errors`` and prints nothing."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)

    return Logger()
