"""Lists the connected webcams and their modes.

Requests and struct layouts are those of ``linux/videodev2.h``, as in `v4l2`.
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
# V4L2_BUF_TYPE_VIDEO_CAPTURE and V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE.
_BUF_TYPES = (1, 9)
_DISCRETE = 1
# Limit for drivers that never end an enumeration.
_MAX_ENTRIES = 200
# Values of camera.format by FourCC; NM12 is NV12 in several planes.
_FORMATS = {"MJPG": "mjpg", "YUYV": "yuyv", "NV12": "nv12", "NM12": "nv12"}


@dataclass(frozen=True, slots=True)
class Mode:
    """A format and size that a camera offers.

    Attributes
    ----------
    format
        FourCC, such as ``MJPG``.
    width, height
        Pixels; the largest size of a stepwise range.
    rates
        Frames per second, highest first; only the highest of a stepwise range.
    """

    format: str
    width: int
    height: int
    rates: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Webcam:
    """A connected camera.

    Attributes
    ----------
    name
        Name that the device reports.
    node
        ``/dev/videoN``; the kernel may give it to another camera.
    links
        Stable names: by device, then by USB port.
    bus
        Bus info that the driver reports.
    modes
        Modes that the camera offers; empty if it lists none.
    error
        Why the camera could not be queried; None if it could.
    """

    name: str
    node: Path
    links: tuple[Path, ...]
    bus: str
    modes: tuple[Mode, ...]
    error: str | None = None

    @property
    def source(self) -> Path:
        """Value for ``camera.source``."""
        return self.links[0] if self.links else self.node

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``cameras --json`` prints."""
        paths = {"node": str(self.node), "links": [str(link) for link in self.links]}
        return {"source": str(self.source), **asdict(self), **paths}

    def as_text(self) -> Iterator[str]:
        """Return the lines that ``cameras`` prints."""
        yield f"{self.name} ({self.node}{f', {self.bus}' if self.bus else ''})"
        for link in self.links:
            yield f"  {link}"
        if self.error is not None:
            yield f"  {self.error}"
        for mode in self.modes:
            rates = ", ".join(f"{rate:g}" for rate in mode.rates)
            at = f" at {rates}" if rates else ""
            size = f"{mode.width} x {mode.height}"
            yield f"  {_FORMATS.get(mode.format, mode.format):5} {size:>11}{at}"
        yield f"  in config.yaml: source: {self.source}"


def list_webcams() -> list[Webcam]:
    """Query all cameras, without disturbing those that are in use."""
    return [_query(node) for node in v4l2.nodes() if v4l2.is_capture_node(node)]


def _query(node: Path) -> Webcam:
    links = tuple(v4l2.links_to(node))
    try:
        with v4l2.open_device(node) as file:
            name, bus = v4l2.names(file)
            return Webcam(name, node, links, bus, tuple(_modes(file)))
    except OSError as error:
        return Webcam(node.name, node, links, "", (), v4l2.explain_errno(error))


def _modes(file: int) -> Iterator[Mode]:
    for kind in _BUF_TYPES:
        for reply in _enumerate(file, _ENUM_FMT, struct.Struct("II4x32x4x16x"), kind):
            (code,) = struct.unpack_from("I", reply, 44)
            letters = struct.pack("I", code & 0x7FFFFFFF).decode("ascii", "replace").strip()
            for width, height in _sizes(file, code):
                yield Mode(letters, width, height, _rates(file, code, width, height))


def _sizes(file: int, code: int) -> Iterator[tuple[int, int]]:
    for reply in _enumerate(file, _ENUM_FRAMESIZES, struct.Struct("II36x"), code):
        kind, first, second = struct.unpack_from("3I", reply, 8)
        if kind != _DISCRETE:
            # A stepwise range: yield the largest size only.
            yield struct.unpack_from("I", reply, 16) + struct.unpack_from("I", reply, 28)
            return
        yield first, second


def _rates(file: int, code: int, width: int, height: int) -> tuple[float, ...]:
    rates = set()
    request = struct.Struct("4I36x")
    for reply in _enumerate(file, _ENUM_FRAMEINTERVALS, request, code, width, height):
        kind, seconds, parts = struct.unpack_from("3I", reply, 16)
        if seconds:
            rates.add(round(parts / seconds, 2))
        if kind != _DISCRETE:
            break
    return tuple(sorted(rates, reverse=True))


def _enumerate(file: int, request: int, layout: struct.Struct, *arguments: int) -> Iterator[bytes]:
    """Send an enumeration request for index 0, 1, … until the driver reports the end."""
    for index in range(_MAX_ENTRIES):
        try:
            yield fcntl.ioctl(file, request, layout.pack(index, *arguments))
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY, errno.ENODATA):
                return
            raise
