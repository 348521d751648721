"""The state of engines, plans and the device."""

from __future__ import annotations

from pathlib import Path

from engines.build import survey
from engines.manifest import MANIFEST, load_manifest
from engines.plan_cache import PlanCache, Target
from installation.config.model import Config
from installation.inference.open_engines import NoGpuError, circuit_breaker_for, find_gpu


def engine_names(built: Path) -> list[str]:
    """Return the names of all built engines."""
    return sorted(path.parent.name for path in built.glob(f"[!.]*/{MANIFEST}"))


def engine_status(config: Config) -> list[tuple[str, str, str]]:
    """Return the state of every engine, every plan and the device.

    Returns
    -------
    list
        Tuples of name, error (empty if there is none) and description.
    """
    built = config.inference.engines
    lines = [(each.name, each.error, each.description) for each in survey(built)]
    plans = PlanCache(built)
    lines += [(f"plans/{plan.file}", plan.error, plan.description) for plan in plans.survey()]
    if config.inference.device == "cpu":
        return [*lines, ("device", "", "CPU, as inference.device says")]
    try:
        gpu = find_gpu()
    except NoGpuError as error:
        failure = str(error) if config.inference.device == "gpu" else ""
        return [*lines, ("device", failure, f"CPU: {error}")]
    target = Target.here(gpu.library, gpu.device)
    usable = {name for name, error, _ in lines if not error}
    for name in engine_names(built):
        if name in usable:
            reason = plans.stale_reason(name, load_manifest(built / name), target)
            if reason:
                lines.append((f"{name} on the GPU", f"will be built: {reason}", ""))
    return [*lines, ("device", circuit_breaker_for(built).open_reason(), str(gpu))]
