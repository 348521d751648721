"""V4L2 queries that OpenCV does not offer: which webcams there are, and why one cannot be opened.

Requests and struct layouts are those of ``linux/videodev2.h`` on 64-bit machines.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEV = Path("/dev")

_QUERYCAP = 0x80685600
_REQBUFS = 0xC0145608
_QBUF = 0xC058560F
_STREAMON = 0x40045612

_CAP_VIDEO_CAPTURE, _CAP_VIDEO_CAPTURE_MPLANE, _CAP_DEVICE_CAPS = 0x1, 0x1000, 0x80000000
_BUF_TYPE_VIDEO_CAPTURE, _MEMORY_MMAP, _BUFFERS = 1, 1, 4

_NOT_A_CAMERA = "not a camera; set camera.source"
_NOT_PERMITTED = "permission denied; add this user to the group video"
_NO_RESPONSE = "does not respond; plug it in again, or try another cable"
_ERRNO_MESSAGES = {
    errno.EACCES: _NOT_PERMITTED,
    errno.EPERM: _NOT_PERMITTED,
    errno.EBUSY: "in use by another program; close that program",
    errno.EINVAL: _NOT_A_CAMERA,
    errno.ENOTTY: _NOT_A_CAMERA,
    errno.EIO: _NO_RESPONSE,
    errno.ENODEV: _NO_RESPONSE,
    errno.ENXIO: _NO_RESPONSE,
    errno.EPROTO: _NO_RESPONSE,
    errno.ENOSPC: "not enough USB bandwidth beside other devices; set camera.format to mjpg, lower "
    "camera.width and camera.height, or use another USB port",
}


def node_number(device: Path) -> int | None:
    """Return N of ``/dev/videoN``, or None; the kernel may give the number to another camera."""
    digits = device.name.removeprefix("video")
    return int(digits) if device.parent == DEV and digits.isdecimal() else None


def nodes() -> list[Path]:
    """Return all ``/dev/videoN`` in order; a camera has one or more."""
    found = {node_number(path): path for path in DEV.glob("video*")}
    return [found[each] for each in sorted(each for each in found if each is not None)]


def links_to(node: Path) -> list[Path]:
    """Return a node's stable names: by device, then by USB port."""
    return [
        link
        for folder in ("by-id", "by-path")
        for link in sorted((DEV / "v4l" / folder).glob("*"))
        if link.resolve() == node
    ]


def link_to(node: Path) -> Path | None:
    """Return the first of `links_to`, or None."""
    return next(iter(links_to(node)), None)


def describe_cameras() -> str:
    """List the connected cameras, as they should be written in the config."""
    cameras = sorted((DEV / "v4l" / "by-id").glob("*-index0")) or nodes()
    return ", ".join(str(path) for path in cameras) or "none"


def is_capture_node(node: Path) -> bool:
    """Return whether a node delivers frames, not metadata; True if it cannot be opened to ask."""
    try:
        with open_device(node) as file:
            return bool(_capabilities(file) & (_CAP_VIDEO_CAPTURE | _CAP_VIDEO_CAPTURE_MPLANE))
    except OSError as error:
        return _ERRNO_MESSAGES.get(error.errno or 0) != _NOT_A_CAMERA


def find_webcam(index: int) -> Path | None:
    """Return ``/dev/videoN`` if it delivers frames, else the webcam with that index, from 0."""
    node = DEV / f"video{index}"
    if node.exists() and is_capture_node(node):
        return node
    webcams = [each for each in nodes() if is_capture_node(each)]
    return webcams[index] if index < len(webcams) else None


def diagnose(device: Path) -> str:
    """Find out why a webcam fails, by opening it as OpenCV does.

    Parameters
    ----------
    device
        Must not be open in this process, or it is reported as in use.

    Returns
    -------
    str
        What is wrong and what to do.
    """
    try:
        with open_device(device) as file:
            capabilities = _capabilities(file)
            if not capabilities & (_CAP_VIDEO_CAPTURE | _CAP_VIDEO_CAPTURE_MPLANE):
                return (
                    f"a camera's node for metadata, not for frames; connected: {describe_cameras()}"
                )
            if capabilities & _CAP_VIDEO_CAPTURE:
                _start_streaming(file)
    except FileNotFoundError:
        return f"no camera there; connected: {describe_cameras()}; plug it in or set camera.source"
    except OSError as error:
        return explain_errno(error)
    return "its frames are incomplete; try another cable, another USB port or another camera.format"


def explain_errno(error: OSError) -> str:
    """Explain an error of a webcam, and what to do."""
    return _ERRNO_MESSAGES.get(error.errno or 0, f"{error.strerror}; plug it in again")


def names(file: int) -> tuple[str, str]:
    """Return the card name and bus info of an open device."""
    answer = fcntl.ioctl(file, _QUERYCAP, bytes(104))
    name, bus = (
        part.partition(b"\0")[0].decode("utf-8", "replace")
        for part in struct.unpack_from("16x32s32s", answer)
    )
    return name, bus


@contextmanager
def open_device(device: Path) -> Iterator[int]:
    """Open a device for queries and return its file descriptor; closing it ends any streaming."""
    file = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _capabilities(file: int) -> int:
    answer = fcntl.ioctl(file, _QUERYCAP, bytes(104))
    device, node = struct.unpack_from("84xII", answer)
    return int(node if device & _CAP_DEVICE_CAPS else device)


def _start_streaming(file: int) -> None:
    """Start streaming, which fails if there is not enough USB bandwidth."""
    granted = fcntl.ioctl(
        file, _REQBUFS, struct.pack("3I8x", _BUFFERS, _BUF_TYPE_VIDEO_CAPTURE, _MEMORY_MMAP)
    )
    for index in range(*struct.unpack_from("I", granted)):
        fcntl.ioctl(
            file, _QBUF, struct.pack("2I52xI24x", index, _BUF_TYPE_VIDEO_CAPTURE, _MEMORY_MMAP)
        )
    fcntl.ioctl(file, _STREAMON, struct.pack("i", _BUF_TYPE_VIDEO_CAPTURE))
