"""A picture out of a request, in memory alone and at a decent pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from installation.web.upload.decode_image import KINDS
from installation.web.upload.errors import RequestError

# The field a form has the picture in.
FIELD = "picture"
# A form has two such fields, of which one is empty; others may send a little more.
_MOST_FIELDS = 8
_LONGEST_FIELD = 1024
# Bytes that a form adds around a picture, generously.
_WRAPPING = 16 * 1024
# Seconds a body may take whatever its size, and the bytes a second it has to bring besides.
_GRACE = 10.0
_MIN_BYTES_PER_S = 32 * 1024
# What a picture sent by itself may be called.
_BARE = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")


async def receive(request: Request, most: int, bare: bool) -> bytes:
    """Receive a request's picture.

    Parameters
    ----------
    request
        With a form, or where ``bare`` allows it, with the picture itself as its body.
    most
        Bytes the picture may have.
    bare
        Whether the body may be the picture itself.

    Raises
    ------
    Trouble
        400 for a damaged form or one without a picture, 408 for a sender that is too slow, 413 for
        too much, 415 for other bodies.
    """
    if int(request.headers.get("content-length") or 0) > most + _WRAPPING:
        raise _too_large(most)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _from_form(request, most)
    if bare and kind in _BARE:
        return b"".join([chunk async for chunk in _read_with_min_rate(request, most)])
    if bare and kind.startswith("image/"):
        raise RequestError(415, f"This kind of picture is not known here: send {KINDS}.")
    raise RequestError(415, "A form of the type multipart/form-data is needed here.")


async def _from_form(request: Request, most: int) -> bytes:
    parser = MultiPartParser(
        request.headers,
        _read_with_min_rate(request, most + _WRAPPING),
        max_files=_MOST_FIELDS,
        max_fields=_MOST_FIELDS,
        max_part_size=_LONGEST_FIELD,
    )
    # Larger files would be written to the disk.
    parser.spool_max_size = most + _WRAPPING + 1
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(400, "The form that was sent is damaged.") from error
    for file in form.getlist(FIELD):
        if isinstance(file, UploadFile) and file.size:
            if file.size > most:
                raise _too_large(most)
            return await file.read()
    raise RequestError(400, "No picture was sent.")


async def _read_with_min_rate(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    began, total = time.monotonic(), 0
    stream = request.stream()
    while True:
        left = began + _GRACE + total / _MIN_BYTES_PER_S - time.monotonic()
        try:
            chunk = await asyncio.wait_for(anext(stream), max(left, 0))
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise RequestError(408, "The picture came too slowly: try a smaller one.") from None
        total += len(chunk)
        if total > most:
            raise _too_large(most)
        yield chunk


def _too_large(most: int) -> RequestError:
    return RequestError(413, f"The picture has more than {most / 1e6:g} megabytes: send a smaller.")
