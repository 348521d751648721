"""Building plans."""

from __future__ import annotations

import hashlib
import itertools
import os

from ._driver import compute_capability, require_driver
from ._network import INetworkDefinition
from ._plans import pack
from ._types import (
    BuilderFlag,
    DataType,
    Dims,
    IHostMemory,
    ILogger,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    PreviewFeature,
    checked,
    fits,
    not_overridden,
)
from ._versions import VERSION, has


class IOptimizationProfile:
    def __init__(self):
        self._shapes = {}

    def set_shape(self, input, min, opt, max):  # noqa: A002
        shapes = [Dims(shape) for shape in (min, opt, max)]
        if len({len(shape) for shape in shapes}) != 1 or not all(
            0 <= a <= b <= c for a, b, c in zip(*shapes, strict=True)
        ):
            raise ValueError(f"Shape provided for min is inconsistent with other shapes: {shapes}")
        self._shapes[input] = shapes

    def get_shape(self, input):  # noqa: A002
        return self._shapes.get(input, [])


class ITimingCache:
    def __init__(self, entries):
        self._entries = entries

    def serialize(self):
        header = f"fake-timing {VERSION} {compute_capability()}\n"
        return IHostMemory((header + "\n".join(sorted(self._entries or ()))).encode())

    def combine(self, other, ignore_mismatch):
        self._entries |= other._entries
        return True


class IBuilderConfig:
    __slots__ = (
        "_cache",
        "_flags",
        "_pools",
        "_profiles",
        "avg_timing_iterations",
        "builder_optimization_level",
        "profiling_verbosity",
        *["progress_monitor"] * has("IProgressMonitor"),
        "_previews",
    )

    def __init__(self):
        self._cache, self._flags, self._pools, self._profiles = None, {BuilderFlag.TF32}, {}, []
        self.avg_timing_iterations, self.builder_optimization_level = 1, 3
        self.profiling_verbosity = 0
        self._previews = set()
        if has("IProgressMonitor"):
            self.progress_monitor = None

    def set_memory_pool_limit(self, pool, pool_size):
        self._pools[MemoryPoolType(pool)] = int(pool_size)

    def get_memory_pool_limit(self, pool):
        return self._pools.get(pool, 8 << 30)

    def add_optimization_profile(self, profile):
        self._profiles.append(profile)
        return len(self._profiles) - 1

    num_optimization_profiles = property(lambda self: len(self._profiles))

    def set_flag(self, flag):
        self._flags.add(BuilderFlag(flag))

    def clear_flag(self, flag):
        self._flags.discard(flag)

    def get_flag(self, flag):
        return flag in self._flags

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(_timing_entries(bytes(serialized_timing_cache)))

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache._entries is None and not ignore_mismatch:
            return False
        cache._entries = cache._entries or set()
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache

    if has("PreviewFeature"):

        def set_preview_feature(self, feature, enable):
            (self._previews.add if enable else self._previews.discard)(feature)


def _timing_entries(content):
    """Return the entries; None if they are of another version or GPU, or damaged."""
    header, _, entries = content.decode(errors="replace").partition("\n")
    if content and header != f"fake-timing {VERSION} {compute_capability()}":
        return None
    return set(entries.split())


if has("IProgressMonitor"):

    class IProgressMonitor:
        def __init__(self):
            pass

        def phase_start(self, phase_name, parent_phase, num_steps):
            raise not_overridden("IProgressMonitor::phaseStart")

        def step_complete(self, phase_name, step):
            raise not_overridden("IProgressMonitor::stepComplete")

        def phase_finish(self, phase_name):
            raise not_overridden("IProgressMonitor::phaseFinish")


_builds = itertools.count()


class Builder:
    def __init__(self, logger):
        require_driver()
        self.logger = checked(logger)

    def create_network(self, flags=0):
        return INetworkDefinition(int(flags))

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    if has("Builder.platform_has_fast_fp16"):
        platform_has_fast_fp16 = True

    def build_serialized_network(self, network, config):
        problem = self._problem(network, config)
        if problem:
            self.logger.log(ILogger.ERROR, f"IBuilder::buildSerializedNetwork: {problem}")
            return None
        if not self._show_progress(getattr(config, "progress_monitor", None)):
            self.logger.log(ILogger.ERROR, "Error Code 1: Cancelled by the progress monitor")
            return None
        if config._cache is not None:
            config._cache._entries.add(hashlib.sha256(network._onnx).hexdigest())
        profiles = [profile._shapes for profile in config._profiles]
        shared = (
            has("contexts may share a profile")
            or PreviewFeature.PROFILE_SHARING_0806 in config._previews
        )
        return IHostMemory(pack(network._onnx, profiles, network.name, shared))

    def _problem(self, network, config):
        if next(_builds) < int(os.environ.get("FAKE_TENSORRT_FAIL") or 0):
            self.logger.log(
                ILogger.WARNING,
                "Requested amount of GPU memory (1073741824 bytes) could not be allocated. "
                "There may not be enough free memory for allocation to succeed.",
            )
            return (
                "Error Code 10: Internal Error (Could not find any implementation for node "
                "{ForeignNode[Conv_0]} due to insufficient workspace. OutOfMemory.)"
            )
        if network._onnx is None:
            return "Error Code 4: API Usage Error (Network must have at least one output)"
        strongly = has("NetworkDefinitionCreationFlag.STRONGLY_TYPED") and network.get_flag(
            NetworkDefinitionCreationFlag.STRONGLY_TYPED
        )
        if strongly and any(flag.name in ("FP16", "INT8") for flag in config._flags):
            return "Error Code 3: API Usage Error (precision flags on a strongly typed network)"
        if has("a network's precisions must be set as flags"):
            flags = {flag.name for flag in config._flags}
            if b"QuantizeLinear" in network._onnx and "INT8" not in flags:
                return "Error Code 4: Internal Error (int8 is not configured in the builder)"
            halves = any(tensor.dtype == DataType.HALF for tensor in network._inputs)
            if halves and "FP16" not in flags:
                return "Error Code 4: Internal Error (fp16 precision has not been set)"
        for tensor in network._inputs:
            if -1 in tensor.shape and not config._profiles:
                return (
                    "Error Code 4: API Usage Error (Network has dynamic or shape inputs, but no "
                    "optimization profile has been defined.)"
                )
            for number, profile in enumerate(config._profiles):
                shapes = profile._shapes.get(tensor.name)
                if shapes is None and -1 in tensor.shape:
                    return f"Error Code 4: API Usage Error ({tensor.name}: not in profile {number})"
                if shapes and not all(fits(shape, tensor.shape) for shape in shapes):
                    return (
                        f"Error Code 4: API Usage Error ({tensor.name}: profile {number} does not "
                        f"fit the network's {tensor.shape})"
                    )
        return None

    def _show_progress(self, monitor):
        if monitor is None:
            return True
        try:
            for phase, parent in (("Building Engine", None), ("Tactics", "Building Engine")):
                monitor.phase_start(phase, parent, 4)
                for step in range(4):
                    if not monitor.step_complete(phase, step):
                        return False
                monitor.phase_finish(phase)
        except Exception as error:  # the real library ignores it too, in C++
            self.logger.log(ILogger.ERROR, f"progress monitor: {error}")
            return False
        return True
