"""The files of a config: ``config.yaml``, and the overlays in ``config.d`` beside it.

Overlays override the config file in the order of their names.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from installation.config.strict_yaml import ConfigError, Document, config_error, decode, parse
from installation.runtime.advice import let_read

# Of all files together. A small computer reads this much in a second.
_MAX_BYTES = 2**16
# To find the file that is to blame, all before each overlay are validated.
_MAX_OVERLAYS = 20


def read(path: Path) -> tuple[Document, ...]:
    """Read the config file and its overlays.

    Raises
    ------
    ConfigError
        A file cannot be read or is not YAML, or the files are too many or too large.
    """
    texts = [(path, _read(path, _MAX_BYTES))]
    free_bytes = _MAX_BYTES - len(texts[0][1].encode())
    for overlay in overlays(path):
        texts.append((overlay, _read(overlay, free_bytes)))
        free_bytes -= len(texts[-1][1].encode())
    return tuple(parse(each, text) for each, text in texts)


def overlay_folder(path: Path) -> Path:
    """Return the folder of a config's overlays: beside the file, or beside the link to it."""
    return path.with_suffix(".d")


def overlays(path: Path) -> list[Path]:
    """Return the overlays of a config; later ones override earlier ones.

    Overlays are the files ``*.yaml`` in the folder beside the config that has its name, but ends
    in ``.d``. Hidden files, which editors create, are ignored.

    Raises
    ------
    ConfigError
        The folder cannot be read, or contains something that looks like an overlay but is none.
    """
    folder = overlay_folder(path)
    try:
        found = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error
    for each in found:
        if each.suffix.lower() in (".yaml", ".yml") and each.suffix != ".yaml":
            raise config_error(each, 1, "is not read: its name must end in .yaml")
    found = [each for each in found if each.suffix == ".yaml"]
    if len(found) > _MAX_OVERLAYS:
        raise config_error(folder, 1, f"more than {_MAX_OVERLAYS} files; merge some of them")
    for each in found:
        try:
            # Reading a pipe would block until somebody writes to it.
            if not stat.S_ISREG(each.stat().st_mode):
                raise config_error(each, 1, "cannot be read: not a file; rename or remove it")
        except OSError as error:
            raise _unreadable(each, error) from error
    return found


def merge_documents(documents: Iterable[Document]) -> dict[str, Any]:
    """Merge documents: the last one that sets a key wins.

    Lists are replaced, not extended. An empty section (all its keys commented out) changes
    nothing.
    """
    data: dict[str, Any] = {}
    for document in documents:
        data = _merge(data, document.data or {})
    return data


def _merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    data = dict(base)
    for key, value in overlay.items():
        below = data.get(key)
        if isinstance(below, dict) and (value is None or isinstance(value, dict)):
            data[key] = _merge(below, value or {})
        else:
            data[key] = value
    return data


def _read(path: Path, max_bytes: int) -> str:
    """Return the text of a file of at most ``max_bytes``."""
    try:
        with path.open("rb") as file:
            text = file.read(max_bytes + 1)
        if len(text) > max_bytes:
            others = "" if max_bytes == _MAX_BYTES else ", together with the files before it"
            raise config_error(path, 1, f"larger than {_MAX_BYTES // 1024} KB{others}")
        # Accepts every line ending, as reading a text file does.
        return io.IncrementalNewlineDecoder(None, True).decode(decode(path, text), True)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    if isinstance(error, PermissionError):
        return config_error(path, 1, f"cannot be read by this user; {let_read(path)}")
    return config_error(path, 1, f"cannot be read: {error.strerror}")
