"""The process that decodes images: visitors' bytes come in through a socket, pixels go out.

It inherits nothing but that socket. Once it is ready it can open neither files nor connections, and
its memory and processor time are limited, so that whatever a file does to a decoder ends here.
"""

from __future__ import annotations

import io
import resource
import socket
import struct
import sys
import time
from contextlib import suppress
from math import ceil
from pathlib import Path

from PIL import Image, ImageCms

from installation.web.upload.decode_image import decode_image
from installation.web.upload.errors import RequestError

# A request: megapixels allowed, seconds of processor time, size of the file; then the file.
REQUEST = struct.Struct("!ddI")
# A response: HTTP status and two sizes. With 200, they are the height and width of the pixels that
# follow, uint8 BGR; else, the length of an error message and 0.
RESPONSE = struct.Struct("!HII")
# Sent once the process is ready.
READY = b"+"
OUT_OF_MEMORY_STATUS = 503
# Memory that decoding takes besides that for pixels: the file, and what libraries reserve.
_OVERHEAD_BYTES = 96_000_000
_BYTES_PER_PIXEL = 20


def receive(connection: socket.socket, count: int, deadline: float | None = None) -> bytearray:
    """Receive a number of bytes.

    Parameters
    ----------
    connection
        A stream socket.
    count
        Number of bytes.
    deadline
        In monotonic seconds; None: wait for ever.

    Raises
    ------
    EOFError
        The other side has closed the connection.
    TimeoutError
        They did not arrive in time.
    """
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
        if deadline is not None:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
        received = connection.recv_into(view[done:])
        if not received:
            raise EOFError
        done += received
    return data


def serve(connection: socket.socket, max_megapixels: float) -> None:
    """Decode one image after the other until the other side closes the connection.

    Parameters
    ----------
    connection
        A stream socket; see `REQUEST` and `RESPONSE`.
    max_megapixels
        Largest image; the memory of this process is limited accordingly.
    """
    _warm_up()
    _confine(max_megapixels)
    connection.sendall(READY)
    with suppress(EOFError, ConnectionError):
        while True:
            megapixels, processor_s, size_bytes = REQUEST.unpack(receive(connection, REQUEST.size))
            _limit_processor_time(processor_s)
            _answer(connection, receive(connection, size_bytes), megapixels)


def _answer(connection: socket.socket, data: bytearray, max_megapixels: float) -> None:
    try:
        image = decode_image(bytes(data), max_megapixels)
    except RequestError as error:
        message = str(error).encode()
        connection.sendall(RESPONSE.pack(error.status, len(message), 0) + message)
    except MemoryError:
        connection.sendall(RESPONSE.pack(OUT_OF_MEMORY_STATUS, 0, 0))
    else:
        height, width = image.shape[:2]
        connection.sendall(RESPONSE.pack(200, height, width))
        connection.sendall(image.data)


def _warm_up() -> None:
    """Decode an image of each kind: libraries load files when they are used for the first time."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, kind in (("RGB", "JPEG"), ("CMYK", "JPEG"), ("I;16", "PNG"), ("RGBA", "WEBP")):
        file = io.BytesIO()
        Image.new(mode, (64, 64)).save(file, kind, icc_profile=profile, exif=Image.Exif())
        decode_image(file.getvalue(), 1)
    with suppress(RequestError):
        decode_image(b"\0\0\0\x18ftypheic", 1)


def _confine(max_megapixels: float) -> None:
    with suppress(OSError):
        # If the machine runs out of memory, end this process rather than the server.
        Path("/proc/self/oom_score_adj").write_text("1000")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory_bytes = pages * resource.getpagesize() + _OVERHEAD_BYTES
    memory_bytes += int(max_megapixels * 1e6 * _BYTES_PER_PIXEL)
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _limit_processor_time(allowed_s: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft_s = ceil(used.ru_utime + used.ru_stime + allowed_s)
    resource.setrlimit(resource.RLIMIT_CPU, (soft_s, resource.RLIM_INFINITY))


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as given:
        serve(given, float(sys.argv[2]))
