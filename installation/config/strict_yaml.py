"""The YAML of a config: a value is taken exactly as it is written, or refused with its line.

YAML 1.1 reads ``010`` as 8, ``1:30`` as 90 and ``no`` as false, YAML 1.2 reads some of them
otherwise, and most readers of a file know neither rule. Here plain decimal numbers, ``true``,
``false`` and ``null`` are what they look like, dates and times are text, and what can be read in
more than one way is `Ambiguous`, which no key takes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from installation.errors import InstallationError, printable
from installation.runtime.redact import is_address, redact_text, redact_url

# Letters of a value, and of a reason, that have room in a line.
VALUE, _REASON = 60, 400

# What YAML's own words mean to who edits a config.
_HINTS = {
    "<block end>": "; indent it as its neighbours are",
    "expected ':'": "; a key takes a colon and a space",
    "cannot start any token": "; put such in quotes",
    "mapping values are not allowed": "; one key a line, and quotes around a value with a colon",
    "stream": "; is a bracket or a quote not closed?",
    "expected ','": "; is a bracket or a quote not closed?",
    "another document": "; leave out the line with ---",
}

# How YAML names what begins with ! or &, which may be a password that lacks its quotes.
_NAMED = re.compile(r" (for the tag|handle|anchor) '.*")

# The plain scalars that are not text; the rest of those that YAML 1.1 or 1.2 takes for something
# else than text is ambiguous. Dates and times are not among them: as text they read as written.
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"0|-?[1-9][0-9]*")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]*|-?\.[0-9]+")
_AMBIGUOUS = re.compile(
    r"""
    y|n|yes|no|on|off|true|false|null|none      # booleans, or nothing at all
    | [-+]?0[xob][0-9a-f_]+                     # hexadecimal, octal, binary
    | [-+]?[0-9][0-9_]*(\.[0-9_]*)?(e[-+]?[0-9]+)?
    | [-+]?\.[0-9_]+(e[-+]?[0-9]+)?
    | [-+]?\.(inf|nan)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_AMBIGUOUS_TAG = "!ambiguous"
_PLAIN_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")

# Look like a space or like nothing, and are neither Zs nor Cf.
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"
_LINE_SEPARATORS = re.compile("[\x85\u2028\u2029]")

_STANDS_HERE = "stands here; write spaces, or put the text in quotes"

Key = tuple[Hashable, ...]


class ConfigError(InstallationError):
    """The config cannot be used; the message begins ``FILE:LINE:``."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A value that is not text to every reader, nor a plain number; or one with a tag.

    Attributes
    ----------
    text
        As it is written, without the tag.
    """

    text: str


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
    written
        The values among them that are neither lists nor sections, as they are written.
    """

    path: Path
    text: str
    data: Any
    lines: dict[Key, int]
    written: dict[Key, str]

    def line(self, key: Key) -> int:
        """Return the line of a key, or of the nearest section around it that is in the file."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


def config_error(path: Path, line: int, reason: str) -> ConfigError:
    """Say in a line that people and terminals can read what is wrong."""
    # Before it is cut, which may leave of a URL what cannot be told to be one.
    reason = redact_text(reason)
    end = "…" if len(reason) > _REASON else ""
    return ConfigError(f"{printable(str(path))}:{line}: {printable(reason[:_REASON])}{end}")


def shortened(text: str) -> str:
    """Return as much of a value as has room in a line, without what may be secret in a URL."""
    bare = text.strip("\"'")
    text = text.replace(bare, redact_url(bare)) if is_address(bare) else redact_text(text)
    return text if len(text) <= VALUE else f"{text[:VALUE]}…"


def decode(path: Path, data: bytes) -> str:
    """Return the text of a file; a byte order mark before it is left out.

    Raises
    ------
    ConfigError
        It is not UTF-8; names the line of the first byte that is not.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or _looks_like_utf16(data):
        raise config_error(path, 1, "cannot be read: UTF-16 or UTF-32; save the file as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The mark is not counted by the error.
        start = error.start + len(data) - len(error.object)
        line = len(re.findall(rb"\r\n|\r|\n", data[:start])) + 1
        byte = data[start : start + 1]
        meant = byte.decode("cp1252", "ignore")
        hint = f" ({meant} in Windows-1252)" if meant.isprintable() and meant else ""
        reason = f"cannot be read: not UTF-8 at byte 0x{byte.hex().upper()}{hint}"
        raise config_error(path, line, f"{reason}; save the file as UTF-8") from error


def _looks_like_utf16(data: bytes) -> bool:
    """Tell whether every other byte is zero, or nearly so: Latin text in 16 bits a letter."""
    halves = data[0::2], data[1::2]
    return any(2 * half.count(0) > len(half) > 1 for half in halves)


def compose(path: Path, text: str) -> Document:
    """Take the text of a file as YAML; raises `ConfigError`."""
    if found := _LINE_SEPARATORS.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise config_error(path, line, f"{_named(found[0])} stands here; delete it")
    try:
        loader = _Loader(path, text)
        node = loader.get_single_node()
        data = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = _line_of(error.problem_mark or error.context_mark)
        problem = _NAMED.sub("", error.problem or "not valid YAML")
        if "character '\\t'" in problem:
            raise config_error(path, line, f"U+0009 (tab) {_STANDS_HERE}") from error
        hint = next((hint for part, hint in _HINTS.items() if part in problem), "")
        raise config_error(path, line, f"{problem}{hint}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise config_error(
            path, line, f"not valid YAML: {text[error.position]!r} may not be in it"
        ) from error
    except RecursionError as error:
        raise config_error(path, 1, "nested too deeply") from error
    places = list(_places(node))
    return Document(
        path,
        text,
        data,
        {key: _line_of(place.start_mark) for key, place, _ in places},
        {
            key: text[value.start_mark.index : value.end_mark.index]
            for key, _, value in places
            if isinstance(value, yaml.ScalarNode)
        },
    )


def _line_of(mark: yaml.Mark | None) -> int:
    return mark.line + 1 if mark else 1


def _places(node: yaml.Node | None, path: Key = ()) -> Iterator[tuple[Key, yaml.Node, yaml.Node]]:
    """Yield every key and item by its path: where it stands, and its value."""
    if len(path) > 3:
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key, value
            yield from _places(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value, value
            yield from _places(value, (*path, index))


class _Loader(yaml.SafeLoader):
    """Refuses what YAML would take in silence, and says where.

    That is keys written twice, of which the last would win; keys that are no words; aliases, by
    which a few lines can stand for billions; tags, which make something else of what is written;
    and spaces that are none to YAML.
    """

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # as PyYAML has it

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(text)
        self._path = path
        self._text = text

    def _refused(self, index: int, reason: str) -> ConfigError:
        return config_error(self._path, self._text.count("\n", 0, index) + 1, reason)

    def scan_plain(self) -> Any:
        token = super().scan_plain()
        start = token.start_mark.index
        if (at := _misplaced_space(self._text[start : token.end_mark.index])) is not None:
            index = start + at
            name = _named(self._text[index])
            raise self._refused(index, f"{name} {_STANDS_HERE}")
        return token

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        at = event.start_mark.index
        if isinstance(event, yaml.AliasEvent):
            # Not named: it may be a password that lacks its quotes.
            reason = "what begins with * is an alias: write the value itself here, or put quotes"
            raise self._refused(at, reason)
        node = super().compose_node(parent, index)
        if event.tag is not None and node is not None:
            if not isinstance(node, yaml.ScalarNode):
                raise self._refused(at, "what begins with ! is a tag: leave it out, or put quotes")
            node.tag = _AMBIGUOUS_TAG
        if isinstance(node, yaml.ScalarNode):
            bad = next((each for each in node.value if each == "\0" or _is_surrogate(each)), None)
            if bad is not None:
                raise self._refused(at, f"{bad!r} may not be in a text; leave it out")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            at = key.start_mark.index
            if key.tag != "tag:yaml.org,2002:str" or key.value == "<<":
                raise self._refused(at, "expected a plain word as key")
            if odd := next((each for each in key.value if _is_odd_space(each)), None):
                raise self._refused(at, f"{_named(odd)} is part of this key; leave it out")
            if key.value in seen:
                raise self._refused(at, f"{key.value}: written twice; keep one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            # An integer of more digits than Python reads.
            raise self._refused(
                node.start_mark.index, f"{shortened(node.value)} cannot be read: {error}"
            ) from error


def _construct_ambiguous(_loader: _Loader, node: yaml.ScalarNode) -> Ambiguous:
    return Ambiguous(node.value)


for _tag, _form in (
    ("tag:yaml.org,2002:null", _NULL),
    ("tag:yaml.org,2002:bool", _BOOL),
    ("tag:yaml.org,2002:int", _INT),
    ("tag:yaml.org,2002:float", _FLOAT),
    (_AMBIGUOUS_TAG, _AMBIGUOUS),
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"(?:{_form.pattern})\\Z", _form.flags), None)
_Loader.add_constructor(_AMBIGUOUS_TAG, _construct_ambiguous)


def _misplaced_space(plain: str) -> int | None:
    """Return where in a plain scalar something looks like YAML's spaces and is none to YAML.

    That is at its ends and where a line begins, behind a colon or a dash, and before a comment;
    between the words of a text such a character is part of the text.
    """
    if plain.isascii():
        return None
    blanked = "".join("\0" if _is_odd_space(letter) else letter for letter in plain)
    for run in re.finditer("[ \0]+", blanked):
        start, end = run.span()
        before, after = blanked[max(start - 1, 0) : start], blanked[end : end + 1]
        aside = before in ("", "\n", ":") or after in ("", "\n", "#")
        if (aside or (start == 1 and before in "-?")) and "\0" in run[0]:
            return start + run[0].index("\0")
    return None


def _is_odd_space(letter: str) -> bool:
    if letter.isascii():
        return False
    return unicodedata.category(letter) in ("Zs", "Zl", "Zp", "Cf") or letter in _BLANK_LETTERS


def _is_surrogate(letter: str) -> bool:
    return "\ud800" <= letter <= "\udfff"


def _named(letter: str) -> str:
    # Controls have no name of their own.
    name = unicodedata.name(letter, "next line").lower()
    return f"U+{ord(letter):04X} ({name})"


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads as the same, and no aliases."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    plain = _PLAIN_WORD.fullmatch(text) and not _AMBIGUOUS.fullmatch(text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, None if plain else '"')


def _represent_float(dumper: _Dumper, number: float) -> yaml.ScalarNode:
    text = format(Decimal(repr(number)), "f")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text if "." in text else f"{text}.0")


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(float, _represent_float)


def dump(data: dict[str, Any]) -> str:
    """Write a config's data, in which nothing is `Ambiguous`, so that `compose` reads the same."""
    return yaml.dump(data, Dumper=_Dumper, allow_unicode=True, width=2**16)
