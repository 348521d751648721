"""ONNX to plan: one way through TensorRT 8.6 to 11 and TensorRT-RTX.

Only named tensors and what all of them share is used; the few names that came or went are asked
for before use. See NVIDIA's TensorRT documentation, "Migration Guides", for which went when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx

from engines.errors import EngineError
from engines.precision import Precision
from engines.tensorrt_library import Library

# Bytes of scratch memory a layer may take: tried in this order when memory is what a build lacks,
# since that can mean too little was allowed, or more than the card has left.
WORKSPACES = (256 << 20, 1 << 30, 64 << 20)

# Receives how much is done, 0 to 1; returns False to cancel.
ProgressCallback = Callable[[float], bool]


class PlanError(EngineError):
    """TensorRT could not build a plan; the message carries its own words."""


class CancelledError(PlanError):
    """A build was cancelled."""


@dataclass(frozen=True, slots=True)
class BatchRange:
    """How many regions a plan takes at once: at least, best, at most."""

    least: int = 1
    best: int = 4
    most: int = 8


def build_plan(
    library: Library,
    network: bytes,
    batches: BatchRange,
    *,
    precision: Precision = "fp16",
    ahead_for: int | None = None,
    timings: bytes = b"",
    report: ProgressCallback = lambda _done: True,
    workspaces: tuple[int, ...] = WORKSPACES,
) -> tuple[bytes, bytes]:
    """Build a plan.

    Parameters
    ----------
    library
        Which TensorRT.
    network
        ONNX, one input with leading dimension N; its types are those of the plan.
    batches
        The range of N.
    precision
        What the network was brought to: TensorRT 8 has to be told, later ones see it.
    ahead_for
        Compute capability of a card that is not here; None for the one that is.
    timings
        What an earlier build on this card measured, to go faster; empty if nothing is known.
    report
        Told about the progress, where the library tells; its False cancels.
    workspaces
        See `WORKSPACES`.

    Returns
    -------
    plan, timings
        The latter empty where the library keeps none.

    Raises
    ------
    PlanError
        The library refused the network, or failed.
    CancelledError
        `report` asked for it.
    """
    try:
        # TensorRT's parser is not made for what is no network: it was seen to hang on it for ever.
        onnx.checker.check_model(network)
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise PlanError(f"{library} cannot build it: it is no ONNX network: {reason}") from error
    for workspace in workspaces:
        attempt = _PlanBuilder(library, report)
        try:
            return attempt.build(network, batches, precision, ahead_for, timings, workspace)
        except PlanError as error:
            if attempt.cancelled:
                raise CancelledError("cancelled") from None
            words = str(error).lower()
            if workspace == workspaces[-1] or not ("memory" in words or "workspace" in words):
                raise PlanError(f"{library} cannot build it: {error}") from error
        except Exception as error:
            # The bindings raise what they please.
            raise PlanError(f"{library} cannot build it: {error!r}") from error
    raise AssertionError("no workspace to try")


class _PlanBuilder:
    """One build, from an empty network on."""

    def __init__(self, library: Library, report: ProgressCallback) -> None:
        trt = library.module
        self._trt = trt
        self._keeps_timings = not library.builds_ahead
        self._report = report
        self.cancelled = False
        self._logger = make_logger(trt)

    def build(
        self,
        network: bytes,
        batches: BatchRange,
        precision: Precision,
        ahead_for: int | None,
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
            raise self._failure("; ".join(errors) or "it gave no reason")
        if definition.num_inputs != 1 or not definition.num_outputs:
            raise self._failure("it is no network with one input")
        config = builder.create_builder_config()
        if not hasattr(flags, "STRONGLY_TYPED"):
            self._configure_8(config, definition, precision)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
        self._add_profile(builder, config, definition, batches)
        if ahead_for is not None:
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{ahead_for}"), 0)
        cache = None
        if self._keeps_timings:
            cache = config.create_timing_cache(timings)
            config.set_timing_cache(cache, False)
        monitor = self._monitor()
        if monitor is not None:
            config.progress_monitor = monitor
        plan = builder.build_serialized_network(definition, config)
        if plan is None:
            raise self._failure("it gave no reason")
        return bytes(plan), bytes(cache.serialize()) if cache is not None else b""

    def _configure_8(self, config: Any, definition: Any, precision: Precision) -> None:
        """Tell TensorRT 8 what later ones see by themselves, or do in any case."""
        trt = self._trt
        if precision == "fp16":
            config.set_flag(trt.BuilderFlag.FP16)
            # It may still take halves for layers that the network keeps in float32.
            config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
            for index in range(definition.num_layers):
                layer = definition.get_layer(index)
                kinds = {layer.get_output(at).dtype for at in range(layer.num_outputs)}
                if kinds == {trt.float32}:
                    layer.precision = trt.float32
        if precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)
        # One profile for the contexts of all batch sizes.
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)

    def _add_profile(self, builder: Any, config: Any, definition: Any, batches: BatchRange) -> None:
        tensor = definition.get_input(0)
        _, *shape = tensor.shape
        profile = builder.create_optimization_profile()
        sizes = batches.least, batches.best, batches.most
        profile.set_shape(tensor.name, *((size, *shape) for size in sizes))
        if config.add_optimization_profile(profile) < 0:
            raise self._failure(f"batches of {sizes} were refused")

    def _failure(self, reason: str) -> PlanError:
        # Without a driver TensorRT-RTX complains about that besides whatever else is wrong.
        said = [words for words in self._logger.errors if "cudaError" not in words]
        said = said or self._logger.errors or [reason]
        return PlanError("; ".join(" ".join(words.split()) for words in said[-2:]))

    def _monitor(self) -> Any:
        """Make an object that TensorRT tells of its progress; None before there was such a thing.

        Phases lie within steps of other phases: the share of the outermost counts most.
        """
        attempt = self
        if not hasattr(self._trt, "IProgressMonitor"):
            return None

        class Monitor(self._trt.IProgressMonitor):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self._phases: dict[str, tuple[str | None, int, int]] = {}
                self._furthest = 0.0

            def phase_start(self, name: str, parent: str | None, steps: int) -> None:
                self._phases[name] = parent, 0, max(steps, 1)

            def step_complete(self, name: str, step: int) -> bool:
                if name in self._phases:
                    parent, _, steps = self._phases[name]
                    self._phases[name] = parent, step + 1, steps
                self._furthest = max(self._furthest, self._done(name))
                attempt.cancelled = attempt.cancelled or not attempt._report(self._furthest)
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
    """Make a logger that keeps TensorRT's errors to itself, in the list ``errors``."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)

    return Logger()
