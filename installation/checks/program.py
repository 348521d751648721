"""What the program itself needs: words, hours, engines, what they run on, and type."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from installation.checks.finding import Finding, ok, trouble, warning
from installation.config.model import Config, Inference
from installation.display.captions import FONT
from installation.inference.engine_status import engine_status
from installation.inference.open_engines import (
    NoGpuError,
    circuit_breaker_for,
    find_gpu,
    open_engines,
)
from installation.labels.policy import allowed
from installation.labels.synsets import load_synsets
from installation.runtime.advice import build_engines

_PCI = Path("/sys/bus/pci/devices")
_NVIDIA, _DISPLAYS = "0x10de", "0x03"


def policy(config: Config) -> Iterator[Finding]:
    """Look at which words may be shown."""
    about, choice = "words", config.labels.choice
    shown = int(allowed(load_synsets(), choice).sum())
    said = f"policy {choice.name}: {shown:,} of {len(load_synsets()):,} may be shown"
    if choice.warning:
        remedy = "whoever hangs the screen should know; see `installation labels policy`"
        yield warning(about, f"{said}; {choice.warning}", remedy)
    else:
        yield ok(about, said)


def hours(config: Config) -> Iterator[Finding]:
    """Look at whether it is open now."""
    about, schedule = "hours", config.hours.schedule
    now = datetime.now(timezone.utc)
    change = schedule.next_change(now)
    until = f" until {change:%A %Y-%m-%d %H:%M}" if change else ""
    if schedule.is_open(now):
        yield ok(about, f"open{until or ', always'}")
    elif change:
        yield ok(about, f"closed{until}: the camera is off and the screen dark")
    else:
        yield warning(about, "closed, for the next ten years", "see hours.closed in the config")


def device(config: Config) -> Iterator[Finding]:
    """Look at what the engines run on."""
    about, wanted = "inference", config.inference.device
    if wanted == "cpu":
        yield ok(about, "on the CPU, as inference.device says")
        return
    if config.inference.server:
        yield from _server(config.inference)
        return
    try:
        found = find_gpu()
    except NoGpuError as error:
        if wanted == "gpu":
            yield trouble(about, f"inference.device is gpu, but {error}", "see docs/gpu.md")
        elif _has_nvidia():
            yield warning(
                about, f"on the CPU, though there is an NVIDIA card: {error}", "see docs/gpu.md"
            )
        else:
            yield ok(about, f"on the CPU: {error}")
        return
    if open_reason := circuit_breaker_for(config.inference.engines).open_reason():
        yield warning(about, open_reason)
    else:
        yield ok(about, f"on the {found}")


def _server(settings: Inference) -> Iterator[Finding]:
    from installation.inference.kserve import KserveEngine

    about = "inference"
    with open_engines(settings, (settings.detector, settings.classifier)) as engines:
        found = [engine for engine in engines if isinstance(engine, KserveEngine)]
        for engine in found:
            if engine.unavailable_reason:
                remedy = "see docs/scale.md; until then the CPU does its work"
                reason = engine.unavailable_reason
                yield warning(about, f"server {settings.server}: {reason}", remedy)
                return
        yield ok(about, f"{len(found)} of {len(engines)} engines on the server {settings.server}")


def _has_nvidia() -> bool:
    def read(path: Path) -> str:
        try:
            return path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return ""

    return any(
        read(card / "vendor").startswith(_NVIDIA) and read(card / "class").startswith(_DISPLAYS)
        for card in _PCI.glob("*")
    )


def engines(config: Config) -> Iterator[Finding]:
    """Look at the networks and the plans made of them."""
    about, settings = "engines", config.inference
    found = [each for each in engine_status(config) if each[0] != "device"]
    names, remedy = {name for name, _, _ in found}, f"run `{build_engines()}`"
    for wanted in (settings.detector, settings.classifier):
        if wanted not in names:
            yield trouble(about, f"{wanted} is not in {settings.engines}", remedy)
    wrong = False
    for name, why, _ in found:
        if why:
            wrong = True
            # Plans are made by themselves, if only in front of visitors.
            level = warning if name.startswith("plans/") or name.endswith("on the GPU") else trouble
            yield level(about, f"{name}: {why}", "" if remedy in why else remedy)
    if not wrong:
        yield ok(about, f"all ready in {settings.engines}")


def fonts(config: Config) -> Iterator[Finding]:
    """Look at the type."""
    about = "type"
    if config.theme.font is None and not FONT.is_file():
        yield warning(about, f"{FONT} is missing", "sudo apt-get install fonts-dejavu-core")
    elif shutil.which("fc-match") is None:
        remedy = "sudo apt-get install fontconfig"
        yield warning(about, "letters that the font lacks cannot be found elsewhere", remedy)
    else:
        yield ok(about, str(config.theme.font or FONT))
