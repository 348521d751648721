"""Reads an image from a request, in memory only and at a minimum rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from installation.web.upload.body_memory import Body
from installation.web.upload.errors import RequestError

# Name of the form field with the image.
FIELD = "picture"
# The page's form has two such fields, one of them empty; what other clients add is ignored.
_MAX_FIELDS = 64
_MAX_FIELD_BYTES = 1024
# What a form adds around an image, generously.
FORM_OVERHEAD_BYTES = 16 * 1024
_PART_BYTES = 64 * 1024
# Required of a sender once the time of grace is over.
MIN_BYTES_PER_S = 32 * 1024


async def receive(
    request: Request, max_bytes: int, bare: bool, grace_s: float, body: Body
) -> bytes:
    """Return the image file of a request.

    Parameters
    ----------
    request
        Its body is a form or, if ``bare``, the image file itself.
    max_bytes
        Largest image file that is accepted.
    bare
        Whether the body may be the image file itself.
    grace_s
        How far the body may fall behind the minimum rate, seconds.
    body
        Counts the bytes that are held.

    Raises
    ------
    RequestError
        400 for a damaged form or one without an image, 408 for a sender that is too slow, 413 for
        too many bytes, 415 for other bodies, 503 if the memory is needed for others.
    """
    if int(request.headers.get("content-length") or 0) > max_bytes + FORM_OVERHEAD_BYTES:
        raise _too_large(max_bytes)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _from_form(request, max_bytes, grace_s, body)
    # What is sent is judged by its content: clients declare all sorts of types.
    if bare:
        # Not each chunk by itself, which may be a byte, and not all in one, which is copied as it
        # grows: both take more memory than there are bytes.
        parts, part = [], bytearray()
        async for chunk in _read_with_min_rate(request, max_bytes, grace_s, body):
            part += chunk
            if len(part) >= _PART_BYTES:
                parts.append(bytes(part))
                part.clear()
        return b"".join([*parts, part])
    raise RequestError(415, "The request needs the content type multipart/form-data.")


async def _from_form(request: Request, max_bytes: int, grace_s: float, body: Body) -> bytes:
    _, options = parse_options_header(request.headers["content-type"])
    if not (boundary := options.get(b"boundary")):
        raise RequestError(400, "The form data is damaged. Please try again.")
    # Without its charset: Python keeps the name of each that is asked for.
    kind = f"multipart/form-data; boundary={boundary.decode('latin-1')}"
    parser = MultiPartParser(
        Headers({"content-type": kind}),
        _read_with_min_rate(request, max_bytes + FORM_OVERHEAD_BYTES, grace_s, body),
        max_files=_MAX_FIELDS,
        max_fields=_MAX_FIELDS,
        max_part_size=_MAX_FIELD_BYTES,
    )
    # The parser writes larger files to the disk.
    parser.spool_max_size = max_bytes + FORM_OVERHEAD_BYTES + 1
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeError) as error:
        raise RequestError(400, "The form data is damaged. Please try again.") from error
    for file in form.getlist(FIELD):
        if isinstance(file, UploadFile) and file.size:
            if file.size > max_bytes:
                raise _too_large(max_bytes)
            return await file.read()
    raise RequestError(400, "No image was sent.")


async def _read_with_min_rate(
    request: Request, max_bytes: int, grace_s: float, body: Body
) -> AsyncGenerator[bytes, None]:
    stream, deadline = request.stream(), time.monotonic() + grace_s
    while True:
        arriving = asyncio.ensure_future(anext(stream))
        try:
            left_s = max(deadline - time.monotonic(), 0)
            either: list[asyncio.Future[Any]] = [arriving, body.dropped]
            await asyncio.wait(either, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            body.check()
            if not arriving.done():
                raise RequestError(
                    408, "Your connection is too slow for this image. Please try a smaller one."
                )
            chunk = arriving.result()
        except StopAsyncIteration:
            body.complete = True
            return
        finally:
            arriving.cancel()
        if body.size + len(chunk) > max_bytes:
            raise _too_large(max_bytes)
        body.grow(len(chunk))
        # What arrives faster gives no more time than the grace, or a sender could stop for long.
        now = time.monotonic()
        deadline = min(deadline + len(chunk) / MIN_BYTES_PER_S, now + grace_s)
        yield chunk


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(
        413,
        f"This image is larger than {max_bytes / 1e6:g} megabytes. Please send a smaller one.",
    )
