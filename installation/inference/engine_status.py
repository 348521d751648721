"""How engines, plans and the device stand."""

from __future__ import annotations

from pathlib import Path

from engines.build import survey
from engines.manifest import MANIFEST, load_manifest
from engines.plan_cache import PlanCache, Target
from installation.config.model import Config
from installation.inference.open_engines import NoGpuError, circuit_breaker_for, find_gpu


def engine_names(built: Path) -> list[str]:
    """Return the names of the engines that have been built."""
    return sorted(path.parent.name for path in built.glob(f"[!.]*/{MANIFEST}"))


def engine_status(config: Config) -> list[tuple[str, str, str]]:
    """Tell how every engine and every plan stands.

    Returns
    -------
    list
        Of name, what is wrong (empty if nothing is) and what else there is to know.
    """
    built = config.inference.engines
    lines = [(each.name, each.wrong, each.about) for each in survey(built)]
    plans = PlanCache(built)
    lines += [(f"plans/{kept.file}", kept.wrong, kept.about) for kept in plans.survey()]
    if config.inference.device == "cpu":
        return [*lines, ("device", "", "CPU, as inference.device says")]
    if config.inference.server:
        return [*lines, ("device", "", f"server {config.inference.server}")]
    try:
        found = find_gpu()
    except NoGpuError as error:
        wrong = str(error) if config.inference.device == "gpu" else ""
        return [*lines, ("device", wrong, f"CPU: {error}")]
    target = Target.here(found.library, found.card)
    usable = {name for name, wrong, _ in lines if not wrong}
    for name in engine_names(built):
        if name in usable:
            wrong = plans.standing(name, load_manifest(built / name), target)
            if wrong:
                lines.append((f"{name} on the GPU", f"will be built: {wrong}", ""))
    return [*lines, ("device", circuit_breaker_for(built).open_reason(), str(found))]
