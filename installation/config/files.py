"""The files a config is written in: read, laid over each other, and where in them each key stands.

``config.yaml`` comes first, then the files in ``config.d`` beside it, in the order of their names.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from installation.config.strict_yaml import ConfigError as ConfigError
from installation.config.strict_yaml import Document, compose, config_error, decode
from installation.runtime.advice import let_read

# Bytes in all that no config needs; reading takes a second for so many on a small computer.
_MOST = 2**16
# And files laid over it: to find the one at fault, all before each are validated.
_MOST_FILES = 20


def read(path: Path) -> tuple[Document, ...]:
    """Read a config: the file that is named, and what is laid over it.

    Raises
    ------
    ConfigError
        A file cannot be read or is not YAML, or there are too many.
    """
    texts = [(path, _read(path, _MOST))]
    room = _MOST - len(texts[0][1].encode())
    for overlay in overlays(path):
        texts.append((overlay, _read(overlay, room)))
        room -= len(texts[-1][1].encode())
    return tuple(compose(each, text) for each, text in texts)


def folder_of_overlays(path: Path) -> Path:
    """Return where what is laid over a config lies: beside it, or beside the link to it."""
    return path.with_suffix(".d")


def overlays(path: Path) -> list[Path]:
    """Return the files that are laid over a config, the last of them outermost.

    They are those in the folder beside it that has its name, but ends in ``.d``, whose own names
    end in ``.yaml``; hidden ones, which editors make, are none of them.

    Raises
    ------
    ConfigError
        The folder cannot be read, or has what cannot be an overlay but looks like one.
    """
    folder = folder_of_overlays(path)
    try:
        found = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error
    for each in found:
        if each.suffix.lower() in (".yaml", ".yml") and each.suffix != ".yaml":
            raise config_error(each, 1, "is not read; let its name end in .yaml")
    found = [each for each in found if each.suffix == ".yaml"]
    if len(found) > _MOST_FILES:
        raise config_error(folder, 1, f"more than {_MOST_FILES} files, which no config needs")
    for each in found:
        try:
            # A pipe would hold up the wall until somebody writes to it.
            if not stat.S_ISREG(each.stat().st_mode):
                raise config_error(each, 1, "cannot be read: not a file; give it another name")
        except OSError as error:
            raise _unreadable(each, error) from error
    return found


def merge_documents(documents: Iterable[Document]) -> dict[str, Any]:
    """Return what stands in files in all: by each key, what the last one says of it.

    A list is replaced, not gone on with. A section that is empty, as when all its keys are
    commented out, changes nothing.
    """
    data: dict[str, Any] = {}
    for document in documents:
        data = _laid(data, document.data or {})
    return data


def _laid(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    data = dict(under)
    for key, value in over.items():
        below = data.get(key)
        if isinstance(below, dict) and (value is None or isinstance(value, dict)):
            data[key] = _laid(below, value or {})
        else:
            data[key] = value
    return data


def _read(path: Path, most: int) -> str:
    """Return the text of a file of so many bytes at the most."""
    try:
        with path.open("rb") as file:
            text = file.read(most + 1)
        if len(text) > most:
            others = "" if most == _MOST else " with the files before it"
            raise config_error(
                path, 1, f"more than {_MOST // 1024} KB{others}, which no config needs"
            )
        # As files are read that are text: however lines end.
        return io.IncrementalNewlineDecoder(None, True).decode(decode(path, text), True)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    if isinstance(error, PermissionError):
        return config_error(path, 1, f"cannot be read by this user; {let_read(path)}")
    return config_error(path, 1, f"cannot be read: {error.strerror}")
