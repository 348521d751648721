"""A strict subset of YAML: a value means what it looks like, or is rejected with its line.

YAML 1.1 reads ``010`` as 8, ``1:30`` as 90 and ``no`` as false, YAML 1.2 reads some of them
differently, and most people who edit a config know neither rule. Here plain decimal numbers,
``true``, ``false`` and ``null`` are what they look like, dates and times are text, and a value that
can be read in more than one way is `Ambiguous`, which no key accepts.
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

# Longer values and reasons are cut in error messages.
MAX_VALUE_CHARS, _MAX_REASON_CHARS = 60, 400

# Remedies for PyYAML's messages, by a part of the message.
_HINTS = {
    "<block end>": "; indent this line like its neighbours",
    "expected ':'": "; write a colon and a space after a key",
    "cannot start any token": "; put the value in quotes",
    "mapping values are not allowed": "; one key per line, and quotes around a value with a colon",
    "stream": "; is a bracket or a quote not closed?",
    "expected ','": "; is a bracket or a quote not closed?",
    "another document": "; remove the line with ---",
}

# PyYAML quotes what begins with ! or &, which may be a password without quotes.
_TAG_OR_ANCHOR = re.compile(r" (for the tag|handle|anchor) '.*")

# Plain scalars that are not text. All others that YAML 1.1 or 1.2 does not read as text are
# ambiguous, except dates and times: they are text.
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"0|-?[1-9][0-9]*")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)\.[0-9]*|-?\.[0-9]+")
_AMBIGUOUS = re.compile(
    r"""
    y|n|yes|no|on|off|true|false|null|none      # booleans and nulls
    | [-+]?0[xob][0-9a-f_]+                     # hexadecimal, octal, binary
    | [-+]?[0-9][0-9_]*(\.[0-9_]*)?(e[-+]?[0-9]+)?
    | [-+]?\.[0-9_]+(e[-+]?[0-9]+)?
    | [-+]?\.(inf|nan)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_AMBIGUOUS_TAG = "!ambiguous"
_PLAIN_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")

# Look blank, but belong to neither Zs nor Cf.
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"
_LINE_SEPARATORS = re.compile("[\x85\u2028\u2029]")

_WRITE_SPACES = "is not allowed here; use spaces, or put the text in quotes"

Key = tuple[Hashable, ...]


class ConfigError(InstallationError):
    """The config cannot be used; the message begins ``FILE:LINE:``."""


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A value that can be read in more than one way, or has a tag.

    Attributes
    ----------
    text
        The value as written, without its tag.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """One file of a config.

    Attributes
    ----------
    path
        The file.
    text
        Its content.
    data
        The content as Python objects.
    lines
        Line numbers, from 1, of keys and list items by their path, as deep as the schema goes.
    written
        The values of those keys and items as written, except lists and sections.
    """

    path: Path
    text: str
    data: Any
    lines: dict[Key, int]
    written: dict[Key, str]

    def line(self, key: Key) -> int:
        """Return the line of a key, or of the innermost section around it in this file."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)


def config_error(path: Path, line: int, reason: str) -> ConfigError:
    """Return an error whose message is one printable line without secrets."""
    # Redact before cutting: part of a URL may not be recognised as one.
    reason = redact_text(reason)
    end = "…" if len(reason) > _MAX_REASON_CHARS else ""
    return ConfigError(
        f"{printable(str(path))}:{line}: {printable(reason[:_MAX_REASON_CHARS])}{end}"
    )


def shorten_value(text: str) -> str:
    """Return a value cut to fit in an error message, with secrets in URLs redacted."""
    bare = text.strip("\"'")
    text = text.replace(bare, redact_url(bare)) if is_address(bare) else redact_text(text)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}…"


def decode(path: Path, data: bytes) -> str:
    """Return the text of a file without its byte order mark.

    Raises
    ------
    ConfigError
        The file is not UTF-8; the error names the line of the first invalid byte.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or _looks_like_utf16(data):
        raise config_error(path, 1, "cannot be read: UTF-16 or UTF-32; save the file as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The error's position does not count the byte order mark.
        start = error.start + len(data) - len(error.object)
        line = len(re.findall(rb"\r\n|\r|\n", data[:start])) + 1
        byte = data[start : start + 1]
        character = byte.decode("cp1252", "ignore")
        hint = f" ({character} in Windows-1252)" if character.isprintable() and character else ""
        reason = f"cannot be read: not UTF-8 at byte 0x{byte.hex().upper()}{hint}"
        raise config_error(path, line, f"{reason}; save the file as UTF-8") from error


def _looks_like_utf16(data: bytes) -> bool:
    """Return whether most even or most odd bytes are zero, as in Latin text in UTF-16."""
    halves = data[0::2], data[1::2]
    return any(2 * half.count(0) > len(half) > 1 for half in halves)


def parse(path: Path, text: str) -> Document:
    """Parse the text of a file; raises `ConfigError`."""
    if found := _LINE_SEPARATORS.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise config_error(
            path, line, f"{_character_name(found[0])} is not allowed here; delete it"
        )
    try:
        loader = _Loader(path, text)
        node = loader.get_single_node()
        data = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = _line(error.problem_mark or error.context_mark)
        problem = _TAG_OR_ANCHOR.sub("", error.problem or "not valid YAML")
        if "character '\\t'" in problem:
            raise config_error(path, line, f"U+0009 (tab) {_WRITE_SPACES}") from error
        hint = next((hint for part, hint in _HINTS.items() if part in problem), "")
        raise config_error(path, line, f"{problem}{hint}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise config_error(
            path, line, f"not valid YAML: the character {text[error.position]!r} is not allowed"
        ) from error
    except RecursionError as error:
        raise config_error(path, 1, "nested too deeply") from error
    nodes = list(_nodes_by_path(node))
    return Document(
        path,
        text,
        data,
        {key: _line(each.start_mark) for key, each, _ in nodes},
        {
            key: text[value.start_mark.index : value.end_mark.index]
            for key, _, value in nodes
            if isinstance(value, yaml.ScalarNode)
        },
    )


def _line(mark: yaml.Mark | None) -> int:
    return mark.line + 1 if mark else 1


def _nodes_by_path(
    node: yaml.Node | None, path: Key = ()
) -> Iterator[tuple[Key, yaml.Node, yaml.Node]]:
    """Yield the path of every key and list item, its node and the node of its value."""
    if len(path) > 3:
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key, value
            yield from _nodes_by_path(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value, value
            yield from _nodes_by_path(value, (*path, index))


class _Loader(yaml.SafeLoader):
    """Rejects, with its line, what YAML accepts silently.

    These are duplicate keys, of which the last would win; keys that are not words; aliases, by
    which a few lines can expand to billions; tags, which change a value's type; and characters
    that look like spaces but are none to YAML.
    """

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # inherited from PyYAML

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(text)
        self._path = path
        self._text = text

    def _error(self, index: int, reason: str) -> ConfigError:
        return config_error(self._path, self._text.count("\n", 0, index) + 1, reason)

    def scan_plain(self) -> Any:
        token = super().scan_plain()
        start = token.start_mark.index
        if (at := _misplaced_space(self._text[start : token.end_mark.index])) is not None:
            index = start + at
            name = _character_name(self._text[index])
            raise self._error(index, f"{name} {_WRITE_SPACES}")
        return token

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        at = event.start_mark.index
        if isinstance(event, yaml.AliasEvent):
            # Not quoted: it may be a password without quotes.
            reason = "a value that begins with * is an alias: write the value itself, or use quotes"
            raise self._error(at, reason)
        node = super().compose_node(parent, index)
        if event.tag is not None and node is not None:
            if not isinstance(node, yaml.ScalarNode):
                reason = "a value that begins with ! has a tag: remove the tag, or use quotes"
                raise self._error(at, reason)
            node.tag = _AMBIGUOUS_TAG
        if isinstance(node, yaml.ScalarNode):
            bad = next((each for each in node.value if each == "\0" or _is_surrogate(each)), None)
            if bad is not None:
                raise self._error(at, f"{bad!r} is not allowed in a text; remove it")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            at = key.start_mark.index
            if key.tag != "tag:yaml.org,2002:str" or key.value == "<<":
                raise self._error(at, "expected a plain word as key")
            if odd := next((each for each in key.value if _is_odd_space(each)), None):
                raise self._error(at, f"{_character_name(odd)} is part of this key; remove it")
            if key.value in seen:
                raise self._error(at, f"{key.value}: written twice; keep one")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            # An integer with more digits than Python reads.
            raise self._error(
                node.start_mark.index, f"{shorten_value(node.value)} cannot be read: {error}"
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
    """Return the index in a plain scalar of a character that is mistaken for YAML's own space.

    Such characters are mistaken at either end and where a line begins, after a colon or dash, and
    before a comment. Between the words of a text they are part of the text.
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


def _character_name(letter: str) -> str:
    # Control characters have no Unicode name.
    name = unicodedata.name(letter, "next line").lower()
    return f"U+{ord(letter):04X} ({name})"


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads back unchanged, without aliases."""

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
    """Return data as YAML that `parse` reads back unchanged; none of it may be `Ambiguous`."""
    return yaml.dump(data, Dumper=_Dumper, allow_unicode=True, width=2**16)
