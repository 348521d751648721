"""File URLs (RFC 8089) as paths."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

_SCHEME = "file:/"
_LOCAL_HOSTS = frozenset({"", "localhost"})


def local_path(text: str) -> Path:
    """Return the path that a text names.

    Parameters
    ----------
    text
        A path, or a file URL such as ``file:///srv/video.mp4``.

    Raises
    ------
    ValueError
        The URL names a file on another machine.

    Examples
    --------
    >>> local_path("file:///srv/my%20video.mp4")
    PosixPath('/srv/my video.mp4')
    >>> local_path("videos/a.mp4")
    PosixPath('videos/a.mp4')
    """
    if not is_file_url(text):
        return Path(text)
    rest = text[len(_SCHEME) - 1 :]
    if rest.startswith("//"):
        host, slash, rest = rest[2:].partition("/")
        if host.lower() not in _LOCAL_HOSTS or not slash:
            raise ValueError(
                "a file URL names a file on this machine and has three slashes: file:///srv/video.mp4"
            )
        rest = f"/{rest}"
    return Path(os.fsdecode(unquote_to_bytes(os.fsencode(rest))))


def is_file_url(text: str) -> bool:
    """Tell a file URL from a path and from other URLs."""
    return text[: len(_SCHEME)].lower() == _SCHEME
