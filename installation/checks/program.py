"""Checks of words, opening hours, inference, engines and the font."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from installation.checks.finding import Finding, error, ok, warning
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

_PCI_DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA_VENDOR, _DISPLAY_CLASS = "0x10de", "0x03"


def check_policy(config: Config) -> Iterator[Finding]:
    """Check which words may be shown."""
    name, policy = "words", config.labels.choice
    shown = int(allowed(load_synsets(), policy).sum())
    message = f"policy {policy.name}: {shown:,} of {len(load_synsets()):,} may be shown"
    if policy.warning:
        remedy = "tell the curator; see `installation labels policy`"
        yield warning(name, f"{message}; {policy.warning}", remedy)
    else:
        yield ok(name, message)


def check_hours(config: Config) -> Iterator[Finding]:
    """Check whether the installation is open now."""
    name, schedule = "hours", config.hours.schedule
    now = datetime.now(timezone.utc)
    change = schedule.next_change(now)
    until = f" until {change:%A %Y-%m-%d %H:%M}" if change else ""
    if schedule.is_open(now):
        yield ok(name, f"open{until or ', always'}")
    elif change:
        yield ok(name, f"closed{until}: the camera is off and the screen dark")
    else:
        yield warning(name, "closed for the next ten years", "see hours.closed in the config")


def check_inference(config: Config, pci_devices: Path = _PCI_DEVICES) -> Iterator[Finding]:
    """Check what runs the engines.

    Parameters
    ----------
    config
        Says what should.
    pci_devices
        Folder of the PCI devices in sysfs.
    """
    name, device = "inference", config.inference.device
    if config.inference.server:
        yield _check_server(config.inference)
        return
    if device == "cpu":
        yield ok(name, "on the CPU, as inference.device says")
        return
    try:
        gpu = find_gpu()
    except NoGpuError as reason:
        if device == "gpu":
            yield error(name, f"inference.device is gpu, but {reason}", "see docs/gpu.md")
        elif _has_nvidia_gpu(pci_devices):
            message = f"on the CPU, though there is an NVIDIA GPU: {reason}"
            yield warning(name, message, "see docs/gpu.md")
        else:
            yield ok(name, f"on the CPU: {reason}")
        return
    if open_reason := circuit_breaker_for(config.inference.engines).open_reason():
        yield warning(name, open_reason)
    else:
        yield ok(name, f"on the {gpu}")


def _check_server(settings: Inference) -> Finding:
    from installation.inference.kserve import KserveEngine

    name = "inference"
    with open_engines(settings, (settings.detector, settings.classifier)) as engines:
        remote = [engine for engine in engines if isinstance(engine, KserveEngine)]
        for engine in remote:
            if engine.unavailable_reason:
                remedy = "see docs/scale.md; until then the CPU takes over"
                return warning(
                    name, f"server {settings.server_address}: {engine.unavailable_reason}", remedy
                )
        count = f"{len(remote)} of {len(engines)} engines"
        return ok(name, f"{count} on the server {settings.server_address}")


def _has_nvidia_gpu(pci_devices: Path) -> bool:
    def read(path: Path) -> str:
        try:
            return path.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return ""

    return any(
        read(device / "vendor").startswith(_NVIDIA_VENDOR)
        and read(device / "class").startswith(_DISPLAY_CLASS)
        for device in pci_devices.glob("*")
    )


def check_engines(config: Config) -> Iterator[Finding]:
    """Check the engines and their TensorRT plans."""
    name, settings = "engines", config.inference
    rows = [row for row in engine_status(config) if row[0] != "device"]
    names, remedy = {engine for engine, _, _ in rows}, f"run `{build_engines()}`"
    for engine in (settings.detector, settings.classifier):
        if engine not in names:
            yield error(name, f"{engine} is not in {settings.engines}", remedy)
    faults = [(engine, fault) for engine, fault, _ in rows if fault]
    for engine, fault in faults:
        # Plans are built automatically, though only when the installation starts.
        is_plan = engine.startswith("plans/") or engine.endswith("on the GPU")
        level = warning if is_plan else error
        yield level(name, f"{engine}: {fault}", "" if remedy in fault else remedy)
    if not faults:
        yield ok(name, f"all ready in {settings.engines}")


def check_font(config: Config) -> Iterator[Finding]:
    """Check the font, and the search for fonts that have the characters it lacks."""
    name = "font"
    if config.theme.font is None and not FONT.is_file():
        yield warning(name, f"{FONT} is missing", "sudo apt-get install fonts-dejavu-core")
    elif shutil.which("fc-match") is None:
        remedy = "sudo apt-get install fontconfig"
        message = "characters that the font lacks cannot be taken from other fonts"
        yield warning(name, message, remedy)
    else:
        yield ok(name, str(config.theme.font or FONT))
