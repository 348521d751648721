"""The camera: whether it works, how fast, and how bright what it sees is."""

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
from installation.checks import service
from installation.checks.finding import Finding, ok, trouble, warning
from installation.config.model import Config
from installation.scene import Frame

_ABOUT = "camera"
# Seconds of pictures, after as many seconds as it takes until the first and its exposure is right.
_LOOK = 2.0
_SETTLE = 1.0
_FIRST = 8.0
# Of what was asked for: below this share a rate is worth a word.
_SLOW = 0.8
# Of 255, on average: what is too dark or too bright to know a face in.
_DARK, _BRIGHT = 40, 215


def camera(config: Config) -> Iterator[Finding]:
    """Look at where pictures come from."""
    written = config.camera.source
    if written == "demo":
        yield warning(_ABOUT, "made-up visitors", "for real ones, set camera.source")
        return
    node = _node(config)
    running = service.wall()
    if node is not None and (holder := holder_of(node)) is not None:
        pid, command = holder
        if str(pid) == running.get("MainPID") or _is_wall(command):
            yield ok(_ABOUT, f"{node} is in use by the running wall{_status(running)}")
        else:
            said = f"{node} is in use by {_without_options(command)} (process {pid})"
            yield trouble(_ABOUT, said, "end that one")
        return
    source = make_source(config)
    try:
        yield from _measured(config, source, node)
    except CaptureError as error:
        if "in use" in str(error) and running.get("ActiveState") == "active":
            said = f"{source.name} is in use, by the running wall it seems"
            yield ok(_ABOUT, f"{said}{_status(running)}")
        else:
            yield trouble(_ABOUT, str(error))


def name(config: Config) -> Iterator[Finding]:
    """Look at whether the camera keeps its name."""
    about, node = "camera's name", _node(config)
    number = v4l2.node_number(_device(config)) if node is not None else None
    if node is None or number is None:
        return
    link = v4l2.link_to(node)
    several = sum(map(v4l2.is_capture_node, v4l2.nodes())) > 1
    if link is None:
        yield ok(about, f"{node}, which has no other")
    elif several:
        yield warning(
            about,
            f"{node} may be another camera tomorrow: there are several",
            f"set camera.source: {link}",
        )
    else:
        yield ok(about, f"{node}, the only camera; should there ever be more, write {link}")


def _device(config: Config) -> Path:
    written = config.camera.source
    return v4l2.DEV / (f"video{written}" if written.isdecimal() else written)


def _node(config: Config) -> Path | None:
    """Return the node of a webcam that is there; None for what is none."""
    if config.camera.path is not None or "://" in config.camera.source:
        return None
    device = _device(config)
    number = v4l2.node_number(device)
    found = device if number is None else v4l2.find_webcam(number)
    return found.resolve() if found is not None and found.exists() else None


def holder_of(node: Path) -> tuple[int, list[str]] | None:
    """Return process and command of another program that has a device open, if one may know."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(each.readlink() == node for each in (folder / "fd").iterdir()):
                command = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
                return int(folder.name), command.rstrip("\0").split("\0")
        except OSError:
            continue
    return None


def _is_wall(command: list[str]) -> bool:
    return "run" in command[1:] and any("installation" in word for word in command)


def _without_options(command: list[str]) -> str:
    """Return a command without its options and whatever is not a plain word: all may be secrets."""
    words, option = [], False
    for word in command:
        if not option and re.fullmatch(r"[\w./][\w./ -]*", word):
            words.append(word)
        option = word.startswith("-")
    return " ".join(words) or "another program"


def _status(running: dict[str, str]) -> str:
    told = running.get("StatusText", "")
    # What does not work is said of the wall.
    return "" if told.startswith(service.DOES_NOT_WORK) else f": {told}" if told else ""


def _measured(config: Config, source: Source, node: Path | None) -> Iterator[Finding]:
    source.open()
    try:
        if source.interval_s is not None:
            read = source.read()
            height, width = (read.shape[0], read.shape[1]) if read is not None else (0, 0)
            yield ok(_ABOUT, f"{source.name}: {width} x {height}")
            return
        frames, doubt = _frames(source)
    finally:
        source.close()
    wanted, last = config.camera, frames[-1]
    size = f"{last.width} x {last.height}"
    rate = (len(frames) - 1) / max(last.captured_at - frames[0].captured_at, 1e-3)
    said = f"{source.name}: {size} at {rate:.1f} pictures a second"
    if rate < 2 or (node is not None and rate < _SLOW * wanted.fps):
        remedy = "give it more light, set camera.format to mjpg, or plug it in elsewhere"
        if node is None:
            remedy = "look at the camera's own settings, and at the network"
        yield warning(_ABOUT, f"{said} instead of {wanted.fps:g}", remedy)
    elif node is not None and (last.width, last.height) != (wanted.width, wanted.height):
        remedy = "see what it can with `installation cameras`, and set camera.width and height"
        yield warning(_ABOUT, f"{said} instead of {wanted.width} x {wanted.height}", remedy)
    else:
        yield ok(_ABOUT, said)
    yield _exposure(last, doubt)


def _frames(source: Source) -> tuple[list[Frame], str | None]:
    """Return the pictures of some seconds, and what seems wrong with them."""
    frames: list[Frame] = []
    health = FrameHealth()
    begun = time.monotonic()
    while True:
        try:
            read = source.read()
        except FrameTimeoutError:
            if time.monotonic() - begun > _FIRST:
                raise
            continue
        now = time.monotonic()
        if read is None:
            raise CaptureError(f"{source.name}: has ended")
        frames.append(Frame(len(frames), now, read))
        health.check(frames[-1])
        # What only settles is not counted.
        while len(frames) > 1 and frames[1].captured_at - frames[0].captured_at > _SETTLE:
            frames.pop(0)
        frames = [each for each in frames if now - each.captured_at <= _LOOK]
        if (now - begun > _SETTLE + _LOOK and len(frames) > 1) or now - begun > _FIRST:
            return frames, health.error


def _exposure(frame: Frame, doubt: str | None) -> Finding:
    about = "exposure"
    bright = float(np.mean(frame.bgr[::8, ::8]))
    share = f"{bright / 255:.0%} of full brightness on average"
    if doubt is not None:
        return warning(
            about, f"the camera {doubt}", "is something before the lens? plug it in again"
        )
    if bright < _DARK:
        return warning(
            about, f"too dark: {share}", "light the visitors' faces, or open the lens cap"
        )
    if bright > _BRIGHT:
        return warning(about, f"too bright: {share}", "turn the camera away from window or lamp")
    return ok(about, share)
