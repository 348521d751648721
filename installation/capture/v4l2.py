"""What Linux knows of webcams that OpenCV does not tell: which there are, and why one refuses.

Requests and layouts are those of ``linux/videodev2.h`` on 64-bit machines.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

DEV = Path("/dev")

_QUERYCAP = 0x80685600
_REQBUFS = 0xC0145608
_QBUF = 0xC058560F
_STREAMON = 0x40045612

_CAPTURE, _CAPTURE_BY_PLANES, _OF_THIS_NODE = 0x1, 0x1000, 0x80000000
_TYPE, _MMAP, _BUFFERS = 1, 1, 4

_NO_CAMERA = "not a camera; set camera.source"
_NO_LEAVE = "not permitted; add this user to the group video"
_NO_ANSWER = "does not answer; plug it in again, or try another cable"
_REFUSALS = {
    errno.EACCES: _NO_LEAVE,
    errno.EPERM: _NO_LEAVE,
    errno.EBUSY: "in use by another program; end that one",
    errno.EINVAL: _NO_CAMERA,
    errno.ENOTTY: _NO_CAMERA,
    errno.EIO: _NO_ANSWER,
    errno.ENODEV: _NO_ANSWER,
    errno.ENXIO: _NO_ANSWER,
    errno.EPROTO: _NO_ANSWER,
    errno.ENOSPC: "more than its USB bus can carry beside others; set camera.format to mjpg or "
    "camera.width and height to less, or plug it in elsewhere",
}


def number(device: Path) -> int | None:
    """Return N of ``/dev/videoN``, a name that another camera may have tomorrow."""
    digits = device.name.removeprefix("video")
    return int(digits) if device.parent == DEV and digits.isdecimal() else None


def nodes() -> list[Path]:
    """Return all of ``/dev/videoN`` in order; a camera has one or several."""
    found = {number(path): path for path in DEV.glob("video*")}
    return [found[each] for each in sorted(each for each in found if each is not None)]


def links_to(node: Path) -> list[Path]:
    """Return the names of a node that it keeps: by what it is, then by where it is plugged in."""
    return [
        link
        for folder in ("by-id", "by-path")
        for link in sorted((DEV / "v4l" / folder).glob("*"))
        if link.resolve() == node
    ]


def link_to(node: Path) -> Path | None:
    """Return the best of `links_to`, if there is one."""
    return next(iter(links_to(node)), None)


def describe_cameras() -> str:
    """Name the cameras that are there, as they are best written in the config."""
    cameras = sorted((DEV / "v4l" / "by-id").glob("*-index0")) or nodes()
    return ", ".join(str(path) for path in cameras) or "none"


def captures(node: Path) -> bool:
    """Tell a node for pictures from one for something else, unless it keeps that to itself."""
    try:
        with Opened(node) as file:
            return bool(_capabilities(file) & (_CAPTURE | _CAPTURE_BY_PLANES))
    except OSError as error:
        return _REFUSALS.get(error.errno or 0) != _NO_CAMERA


def webcam(index: int) -> Path | None:
    """Return ``/dev/videoN`` if it is for pictures, else the webcam that is number N from 0."""
    written = DEV / f"video{index}"
    if written.exists() and captures(written):
        return written
    webcams = [node for node in nodes() if captures(node)]
    return webcams[index] if index < len(webcams) else None


def diagnose(device: Path) -> str:
    """Find out what is wrong with a webcam that fails, by trying what OpenCV does.

    Parameters
    ----------
    device
        Not open anywhere else in this process: it would be found in use.

    Returns
    -------
    str
        What is wrong and what to do.
    """
    try:
        with Opened(device) as file:
            capabilities = _capabilities(file)
            if not capabilities & (_CAPTURE | _CAPTURE_BY_PLANES):
                return (
                    f"not the part of a camera that sends pictures; connected: {describe_cameras()}"
                )
            if capabilities & _CAPTURE:
                _start(file)
    except FileNotFoundError:
        return f"no camera there; connected: {describe_cameras()}; plug it in or set camera.source"
    except OSError as error:
        return explain_errno(error)
    return "its pictures break off; try another cable, another socket or another camera.format"


def explain_errno(error: OSError) -> str:
    """Tell why a webcam refuses, and what to do."""
    return _REFUSALS.get(error.errno or 0, f"{error.strerror}; plug it in again")


def names(file: int) -> tuple[str, str]:
    """Return what a device that is open calls itself, and where it says that it is plugged in."""
    answer = fcntl.ioctl(file, _QUERYCAP, bytes(104))
    name, bus = (
        part.partition(b"\0")[0].decode("utf-8", "replace")
        for part in struct.unpack_from("16x32s32s", answer)
    )
    return name, bus


class Opened:
    """A device open for questions, which starts nothing; whatever was started ends with it."""

    def __init__(self, device: Path) -> None:
        self._device = device

    def __enter__(self) -> int:
        self._file = os.open(self._device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        return self._file

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _capabilities(file: int) -> int:
    answer = fcntl.ioctl(file, _QUERYCAP, bytes(104))
    device, node = struct.unpack_from("84xII", answer)
    return int(node if device & _OF_THIS_NODE else device)


def _start(file: int) -> None:
    """Have pictures sent; the driver refuses here what the bus cannot carry."""
    granted = fcntl.ioctl(file, _REQBUFS, struct.pack("3I8x", _BUFFERS, _TYPE, _MMAP))
    for index in range(*struct.unpack_from("I", granted)):
        fcntl.ioctl(file, _QBUF, struct.pack("2I52xI24x", index, _TYPE, _MMAP))
    fcntl.ioctl(file, _STREAMON, struct.pack("i", _TYPE))
