"""Find, read and validate a config, and locate errors in its files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from installation.config.errors import explain
from installation.config.files import merge_documents, read
from installation.config.model import Config
from installation.config.strict_yaml import ConfigError, Document, Key, config_error

SEARCH_PATHS = (Path("config.yaml"), Path("/etc/installation/config.yaml"))
# The installed service keeps its last good config here.
LAST_GOOD = Path("/var/lib/installation/config.last-good.yaml")


def load(path: str | Path) -> Config:
    """Read and validate a config.

    Parameters
    ----------
    path
        The config file. The overlays beside it override it (`files.overlays`). Relative paths in
        all of them start from its folder.

    Returns
    -------
    Config
        Complete: a key that no file sets has its default.

    Raises
    ------
    ConfigError
        A file cannot be read or is not YAML, or a key or value is invalid.
    """
    return validate(read(Path(path)))


def validate(documents: Sequence[Document]) -> Config:
    """Merge and validate documents, the config file first and then its overlays; see `load`."""
    for document in documents:
        if not isinstance(document.data, dict | None):
            sections = ", ".join(Config.model_fields)
            raise config_error(document.path, 1, f"expected sections ({sections})")
    folder = Path(os.path.realpath(documents[0].path)).parent
    try:
        return _resolve_paths(_validated(documents, folder), folder)
    except ValidationError as error:
        raise _error_location(error, documents, folder) from error


def _validated(documents: Sequence[Document], folder: Path) -> Config:
    # A section whose keys are all commented out is null.
    data = {key: value for key, value in merge_documents(documents).items() if value is not None}
    return Config.model_validate(data, context={"folder": folder})


def _error_location(
    error: ValidationError, documents: Sequence[Document], folder: Path
) -> ConfigError:
    """Return the first error, in the order of files and lines, with its location."""
    # The invalid keys of the first document alone, of the first two, and so on.
    invalid = [_invalid_keys(documents[:count], folder) for count in range(1, len(documents))]

    def location(each: Any) -> tuple[int, int]:
        # To blame is the last file that sets the key, or the file that made a value in another
        # invalid: one that removes the token which an address elsewhere requires.
        key, index = each["loc"], 0
        for number, document in enumerate(documents):
            is_set = key in document.lines and not isinstance(each["input"], dict)
            if is_set or (number and key not in invalid[number - 1]):
                index = number
        return index, documents[index].line(key)

    first = min(error.errors(), key=location)
    index, line = location(first)
    key = first["loc"]
    reason = explain(first, documents[index].written.get(key), Config)
    setters = [each for each in documents[:index] if key in each.lines]
    if setters and key not in documents[index].lines:
        reason += f" (set in {setters[-1].path}:{setters[-1].lines[key]})"
    return config_error(documents[index].path, line, reason)


def _invalid_keys(documents: Sequence[Document], folder: Path) -> set[Key]:
    try:
        _validated(documents, folder)
    except ValidationError as error:
        return {each["loc"] for each in error.errors()}
    return set()


def _resolve_paths(config: Config, folder: Path) -> Config:
    """Make relative paths absolute, starting from the folder of the config file."""
    camera = config.camera
    if camera.path is not None:
        camera = camera.model_copy(update={"source": str(folder / camera.path)})
    engines = folder / config.inference.engines
    inference = config.inference.model_copy(update={"engines": engines})
    if inference.ca_file is not None:
        inference = inference.model_copy(update={"ca_file": folder / inference.ca_file})
    record = config.record
    if record.file is not None:
        record = record.model_copy(update={"file": folder / record.file})
    return config.model_copy(update={"camera": camera, "inference": inference, "record": record})


def find(search_paths: Sequence[Path] = SEARCH_PATHS, last_good: Path = LAST_GOOD) -> Path:
    """Return the config to use when the command line names none.

    Parameters
    ----------
    search_paths
        Where to look, in this order.
    last_good
        Copy of the last good config, which the error mentions if it exists.

    Raises
    ------
    ConfigError
        No config is found.
    """
    for path in search_paths:
        # A folder of another user may not be readable.
        with suppress(PermissionError):
            if path.is_file():
                return path
    copy = ""
    with suppress(PermissionError):
        if last_good.is_file():
            copy = f"; the last good config is kept in {last_good}"
    searched = ", nor ".join(map(str, search_paths[1:]))
    raise ConfigError(
        f"{search_paths[0]}:1: no such file, nor {searched}; name one with --config FILE{copy}"
    )
