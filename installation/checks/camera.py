"""Checks of the camera: that it works, its frame rate, its exposure, its name."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from installation.capture import v4l2
from installation.capture.frame_health import FrameHealth
from installation.capture.make_source import make_source
from installation.capture.source import CaptureError, FrameTimeoutError, Source
from installation.checks.finding import Finding, error, ok, warning
from installation.checks.service import DOES_NOT_WORK, SYSTEMD
from installation.config.model import Config
from installation.scene import Frame

_NAME = "camera"
# The rate is measured for the first, after the exposure has settled for the second.
_MEASURE_S, _SETTLE_S = 2.0, 1.0
# For the first frame, and for all of them.
_MAX_S = 8.0
# Share of the configured rate below which there is a warning.
_MIN_RATE_SHARE = 0.8
# Mean luma, 0 to 255, outside of which no face can be recognised.
_DARK, _BRIGHT = 40, 215


def check_camera(config: Config) -> Iterator[Finding]:
    """Check that the configured source delivers frames as configured."""
    if config.camera.source == "demo":
        yield warning(_NAME, "a simulated crowd", "for real visitors, set camera.source")
        return
    node = _device_node(config)
    unit = SYSTEMD.show_installation()
    if node is not None and (holder := find_holder(node)) is not None:
        pid, command = holder
        if str(pid) == unit.get("MainPID") or _is_installation(command):
            yield ok(_NAME, f"{node} is in use by the running installation{_status(unit)}")
        else:
            message = f"{node} is in use by {_without_options(command)} (process {pid})"
            yield error(_NAME, message, "stop that program")
        return
    source = make_source(config)
    try:
        yield from _measure(config, source, node)
    except CaptureError as reason:
        if "in use" in str(reason) and unit.get("ActiveState") == "active":
            message = f"{source.name} is in use, probably by the running installation"
            yield ok(_NAME, f"{message}{_status(unit)}")
        else:
            yield error(_NAME, str(reason))


def check_camera_name(config: Config) -> Iterator[Finding]:
    """Check that the configured name stays the same camera's."""
    name, node = "camera name", _device_node(config)
    number = v4l2.node_number(_device(config)) if node is not None else None
    if node is None or number is None:
        return
    link = v4l2.link_to(node)
    if link is None:
        yield ok(name, f"{node}, which has no permanent name")
    elif sum(map(v4l2.is_capture_node, v4l2.nodes())) > 1:
        message = f"{node} may be another camera after a restart: there are several"
        yield warning(name, message, f"set camera.source: {link}")
    else:
        yield ok(name, f"{node}, the only camera; if you add another, use {link}")


def _device(config: Config) -> Path:
    source = config.camera.source
    return v4l2.DEV / (f"video{source}" if source.isdecimal() else source)


def _device_node(config: Config) -> Path | None:
    """Return the node of the configured webcam; None if the source is not a webcam that exists."""
    if config.camera.path is not None or "://" in config.camera.source:
        return None
    device = _device(config)
    number = v4l2.node_number(device)
    found = device if number is None else v4l2.find_webcam(number)
    return found.resolve() if found is not None and found.exists() else None


def find_holder(node: Path) -> tuple[int, list[str]] | None:
    """Return process id and command of a process that has a device open, as far as visible."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(each.readlink() == node for each in (folder / "fd").iterdir()):
                command = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
                return int(folder.name), command.rstrip("\0").split("\0")
        except OSError:
            continue
    return None


def _is_installation(command: list[str]) -> bool:
    return "run" in command[1:] and any("installation" in word for word in command)


def _without_options(command: list[str]) -> str:
    """Return a command without options and anything but plain words, which may be secrets."""
    words, is_option_value = [], False
    for word in command:
        if not is_option_value and re.fullmatch(r"[\w./][\w./ -]*", word):
            words.append(word)
        is_option_value = word.startswith("-")
    return " ".join(words) or "another program"


def _status(unit: dict[str, str]) -> str:
    status = unit.get("StatusText", "")
    # A failure is reported by the check of the services.
    return f": {status}" if status and not status.startswith(DOES_NOT_WORK) else ""


def _measure(config: Config, source: Source, node: Path | None) -> Iterator[Finding]:
    source.open()
    try:
        if source.interval_s is not None:
            pixels = source.read()
            height, width = (pixels.shape[0], pixels.shape[1]) if pixels is not None else (0, 0)
            yield ok(_NAME, f"{source.name}: {width} x {height}")
            return
        frames, fault = _read_frames(source)
    finally:
        source.close()
    yield _check_rate(config, source.name, frames, node)
    yield _check_exposure(frames[-1], fault)


def _check_rate(config: Config, source: str, frames: list[Frame], node: Path | None) -> Finding:
    wanted, last = config.camera, frames[-1]
    fps = (len(frames) - 1) / max(last.captured_at - frames[0].captured_at, 1e-3)
    message = f"{source}: {last.width} x {last.height} at {fps:.1f} fps"
    if node is None:
        if fps < 2:
            remedy = "check the camera's own settings and the network"
            return warning(_NAME, f"{message} instead of {wanted.fps:g}", remedy)
        return ok(_NAME, message)
    if fps < max(2.0, _MIN_RATE_SHARE * wanted.fps):
        remedy = "add light, set camera.format to mjpg, or use another USB port"
        return warning(_NAME, f"{message} instead of {wanted.fps:g}", remedy)
    if (last.width, last.height) != (wanted.width, wanted.height):
        remedy = "set camera.width and height to one of the modes in `installation cameras`"
        return warning(_NAME, f"{message} instead of {wanted.width} x {wanted.height}", remedy)
    return ok(_NAME, message)


def _read_frames(source: Source) -> tuple[list[Frame], str | None]:
    """Return the frames of `_MEASURE_S` seconds, and what seems wrong with their content."""
    frames: list[Frame] = []
    health = FrameHealth()
    started_at = time.monotonic()
    while True:
        try:
            pixels = source.read()
        except FrameTimeoutError:
            if time.monotonic() - started_at > _MAX_S:
                raise
            continue
        now = time.monotonic()
        if pixels is None:
            raise CaptureError(f"{source.name}: has ended")
        frames.append(Frame(len(frames), now, pixels))
        health.check(frames[-1])
        # A gap at the start is not part of the rate.
        while len(frames) > 1 and frames[1].captured_at - frames[0].captured_at > _SETTLE_S:
            frames.pop(0)
        frames = [each for each in frames if now - each.captured_at <= _MEASURE_S]
        elapsed_s = now - started_at
        if (elapsed_s > _SETTLE_S + _MEASURE_S and len(frames) > 1) or elapsed_s > _MAX_S:
            return frames, health.error


def _check_exposure(frame: Frame, fault: str | None) -> Finding:
    name = "exposure"
    luma = float(np.mean(frame.bgr[::8, ::8]))
    brightness = f"{luma / 255:.0%} of full brightness on average"
    if fault is not None:
        remedy = "is something in front of the lens? unplug it and plug it in again"
        return warning(name, f"the camera {fault}", remedy)
    if luma < _DARK:
        remedy = "light the visitors' faces, or remove the lens cap"
        return warning(name, f"too dark: {brightness}", remedy)
    if luma > _BRIGHT:
        return warning(name, f"too bright: {brightness}", "turn the camera away from the light")
    return ok(name, brightness)
