"""The files a config is written in: read, laid over each other, and where in them each key stands.

``config.yaml`` comes first, then the files in ``config.d`` beside it, in the order of their names.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from installation.advice import let_read
from installation.errors import InstallationError

# Bytes in all that no config needs; reading takes a second for so many on a small computer.
_MOST = 2**16
# And files laid over it: to find the one at fault, all before each are validated.
_MOST_FILES = 20
# Letters of a value, and of a reason, that have room in a line.
VALUE, _REASON = 60, 400

# What YAML's own words mean to who edits a config.
_HINTS = {
    "<block end>": "; indent it as its neighbours are",
    "expected ':'": "; a key takes a colon and a space",
    "cannot start any token": "; indent with spaces, and put such in quotes",
    "mapping values are not allowed": "; one key a line, and quotes around a value with a colon",
    "stream": "; is a bracket or a quote not closed?",
    "expected ','": "; is a bracket or a quote not closed?",
    "another document": "; leave out the line with ---",
}

Key = tuple[Hashable, ...]


class ConfigError(InstallationError):
    """The config cannot be used; the message begins ``FILE:LINE:``."""


@dataclass(frozen=True, slots=True)
class Document:
    """One file of a config.

    Attributes
    ----------
    path
        Where it is.
    text
        What stands in it.
    data
        What that is as YAML.
    lines
        The line of every key and item by its path, as deep as the schema goes.
    """

    path: Path
    text: str
    data: Any
    lines: dict[Key, int]

    def line(self, key: Key) -> int:
        """Return the line of a key, or of the nearest section around it that is in the file."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


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


def overlays(path: Path) -> list[Path]:
    """Return the files that are laid over a config, the last of them outermost.

    They are those in the folder beside it that has its name, but ends in ``.d``, whose own names
    end in ``.yaml``; hidden ones, which editors make, are none of them.

    Raises
    ------
    ConfigError
        The folder cannot be read, or has what cannot be an overlay but looks like one.
    """
    folder = path.with_suffix(".d")
    try:
        found = sorted(each for each in folder.iterdir() if not each.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error
    for each in found:
        if each.suffix.lower() in (".yaml", ".yml") and each.suffix != ".yaml":
            raise wrong(each, 1, "is not read; let its name end in .yaml")
    found = [each for each in found if each.suffix == ".yaml"]
    if len(found) > _MOST_FILES:
        raise wrong(folder, 1, f"more than {_MOST_FILES} files, which no config needs")
    for each in found:
        try:
            # A pipe would hold up the wall until somebody writes to it.
            if not stat.S_ISREG(each.stat().st_mode):
                raise wrong(each, 1, "cannot be read: not a file; give it another name")
        except OSError as error:
            raise _unreadable(each, error) from error
    return found


def laid_over(documents: Iterable[Document]) -> dict[str, Any]:
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
            raise wrong(path, 1, f"more than {_MOST // 1024} KB{others}, which no config needs")
        # As files are read that are text: however lines end.
        return io.IncrementalNewlineDecoder(None, True).decode(text.decode("utf-8"), True)
    except UnicodeDecodeError as error:
        raise wrong(path, 1, "cannot be read: not a UTF-8 text") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ConfigError:
    if isinstance(error, PermissionError):
        return wrong(path, 1, f"cannot be read by this user; {let_read(path)}")
    return wrong(path, 1, f"cannot be read: {error.strerror}")


def wrong(path: Path, line: int, reason: str) -> ConfigError:
    """Say in a line that people and terminals can read what is wrong."""
    end = "…" if len(reason) > _REASON else ""
    return ConfigError(f"{_printable(str(path))}:{line}: {_printable(reason[:_REASON])}{end}")


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def shown(value: object) -> str:
    """Show a value, or as much of it as has room in a line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # An integer of more digits than Python prints, or lists within lists within lists.
        return "that"
    return text if len(text) <= VALUE else f"{text[:VALUE]}…"


def compose(path: Path, text: str) -> Document:
    """Take the text of a file as YAML; raises `ConfigError`."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        data = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = _line_of(error.problem_mark or error.context_mark)
        problem = error.problem or "not valid YAML"
        hint = next((hint for part, hint in _HINTS.items() if part in problem), "")
        raise wrong(path, line, f"{problem}{hint}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise wrong(
            path, line, f"not valid YAML: {text[error.position]!r} may not be in it"
        ) from error
    except RecursionError as error:
        raise wrong(path, 1, "nested too deeply") from error
    return Document(path, text, data, dict(_lines(node)))


def _line_of(mark: yaml.Mark | None) -> int:
    return mark.line + 1 if mark else 1


def _lines(node: yaml.Node | None, path: Key = ()) -> Iterator[tuple[Key, int]]:
    if len(path) > 3:
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            # Only in a value of a kind that no key takes is one something else.
            if isinstance(key, yaml.ScalarNode):
                yield (*path, key.value), _line_of(key.start_mark)
                yield from _lines(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), _line_of(value.start_mark)
            yield from _lines(value, (*path, index))


class _Loader(yaml.SafeLoader):
    """Refuses what YAML would take in silence, and says where.

    That is keys written twice, of which the last would win, keys that are no words, and aliases,
    by which a few lines can stand for billions.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, f"*{event.anchor}: write the value itself here", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str" or not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "expected a plain word as key", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value}: written twice; keep one", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            # Such as a date in a thirteenth month, or "!!bool perhaps".
            value = node.value if isinstance(node, yaml.ScalarNode) else node.tag
            reason = f"{shown(value)} cannot be read: {error}"
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark) from error
