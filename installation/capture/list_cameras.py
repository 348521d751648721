"""The webcams that are here, and what each can send.

Requests and layouts are those of ``linux/videodev2.h``, as in `v4l2`.
"""

from __future__ import annotations

import errno
import fcntl
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from installation.capture import v4l2

_ENUM_FMT = 0xC0405602
_ENUM_FRAMESIZES = 0xC02C564A
_ENUM_FRAMEINTERVALS = 0xC034564B
# Kinds of buffers: for pixels in one plane, and in several.
_TYPES = (1, 9)
_DISCRETE = 1
# What a driver that counts on and on is believed.
_MOST = 200
# Names that camera.format has for what a camera calls by four letters; several planes, one name.
_FORMATS = {"MJPG": "mjpg", "YUYV": "yuyv", "NV12": "nv12", "NM12": "nv12"}


@dataclass(frozen=True, slots=True)
class Mode:
    """What a camera can send.

    Attributes
    ----------
    format
        Four letters, such as ``MJPG``.
    width, height
        Pixels; of those that can be had in steps, the largest.
    rates
        Pictures a second, the highest first; of those that can be had in steps, the highest.
    """

    format: str
    width: int
    height: int
    rates: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Webcam:
    """A camera that is plugged in.

    Attributes
    ----------
    name
        As it calls itself.
    node
        ``/dev/videoN``, which another may have tomorrow.
    links
        Names it keeps: first by what it is, then by where it is plugged in.
    bus
        Where it is plugged in, as the driver says it.
    modes
        What it can send; empty where it does not tell.
    trouble
        Why it could not be asked; None: it was.
    """

    name: str
    node: Path
    links: tuple[Path, ...]
    bus: str
    modes: tuple[Mode, ...]
    trouble: str | None = None

    @property
    def source(self) -> Path:
        """How it is best written in the config."""
        return self.links[0] if self.links else self.node

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        paths = {"node": str(self.node), "links": [str(link) for link in self.links]}
        return {"source": str(self.source), **asdict(self), **paths}

    def as_text(self) -> Iterator[str]:
        """Say all of it, a line at a time."""
        yield f"{self.name} ({self.node}{f', {self.bus}' if self.bus else ''})"
        for link in self.links:
            yield f"  {link}"
        if self.trouble is not None:
            yield f"  {self.trouble}"
        for mode in self.modes:
            rates = ", ".join(f"{rate:g}" for rate in mode.rates)
            at = f" at {rates}" if rates else ""
            size = f"{mode.width} x {mode.height}"
            yield f"  {_FORMATS.get(mode.format, mode.format):5} {size:>11}{at}"
        yield f"  in config.yaml: source: {self.source}"


def webcams() -> list[Webcam]:
    """Find all cameras; those in use can be asked too, and are not disturbed."""
    return [_ask(node) for node in v4l2.nodes() if v4l2.captures(node)]


def _ask(node: Path) -> Webcam:
    links = tuple(v4l2.links_to(node))
    try:
        with v4l2.Opened(node) as file:
            name, bus = v4l2.names(file)
            return Webcam(name, node, links, bus, tuple(_modes(file)))
    except OSError as error:
        return Webcam(node.name, node, links, "", (), v4l2.explain_errno(error))


def _modes(file: int) -> Iterator[Mode]:
    for kind in _TYPES:
        for answer in _counted(file, _ENUM_FMT, struct.Struct("II4x32x4x16x"), kind):
            (code,) = struct.unpack_from("I", answer, 44)
            letters = struct.pack("I", code & 0x7FFFFFFF).decode("ascii", "replace").strip()
            for width, height in _sizes(file, code):
                yield Mode(letters, width, height, _rates(file, code, width, height))


def _sizes(file: int, code: int) -> Iterator[tuple[int, int]]:
    for answer in _counted(file, _ENUM_FRAMESIZES, struct.Struct("II36x"), code):
        kind, first, second = struct.unpack_from("3I", answer, 8)
        if kind != _DISCRETE:
            # From so many to so many, in steps: the largest, and that is all.
            yield struct.unpack_from("I", answer, 16) + struct.unpack_from("I", answer, 28)
            return
        yield first, second


def _rates(file: int, code: int, width: int, height: int) -> tuple[float, ...]:
    rates = set()
    request = struct.Struct("4I36x")
    for answer in _counted(file, _ENUM_FRAMEINTERVALS, request, code, width, height):
        kind, seconds, parts = struct.unpack_from("3I", answer, 16)
        if seconds:
            rates.add(round(parts / seconds, 2))
        if kind != _DISCRETE:
            break
    return tuple(sorted(rates, reverse=True))


def _counted(file: int, request: int, layout: struct.Struct, *asked: int) -> Iterator[bytes]:
    """Ask for the first, the second, … until there is none."""
    for index in range(_MOST):
        try:
            yield fcntl.ioctl(file, request, layout.pack(index, *asked))
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY, errno.ENODATA):
                return
            raise
