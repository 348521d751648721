"""Explain validation errors: which key is wrong, why, and what to write instead."""

from __future__ import annotations

import difflib
import re
from typing import Any, get_args

from pydantic import BaseModel

from installation.config.strict_yaml import MAX_VALUE_CHARS, Ambiguous, Key, shorten_value
from installation.runtime.redact import is_address, redact_url

_EXAMPLES: dict[Key, str] = {
    ("theme", "colour"): '"#39ff14"',
    ("inference", "server"): "kserve://HOST:PORT or kserves://HOST:PORT",
    ("inference", "detector"): "face-centerface, the name of a folder",
    ("inference", "classifier"): "person-semantic, the name of a folder",
}
_INTEGER = "needs a whole number in plain digits without quotes, such as 30"
_NUMBER = "needs a plain decimal number without quotes, such as 30 or 1.5"
_SWITCH = "needs true or false, without quotes"
# By pydantic's error type.
_REQUIREMENTS = {
    "int_type": _INTEGER,
    "int_parsing_size": _INTEGER,
    "float_type": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _SWITCH,
    "string_type": "needs a text in quotes",
    "path_type": "needs the name of a file or folder",
    "ip_any_address": "needs an IP address, such as 127.0.0.1",
    "tuple_type": "needs a list, such as [one, two]",
}
_TEXT_TYPES = ("string_type", "path_type")


def explain(error: Any, written: str | None, model: type[BaseModel]) -> str:
    """Turn one of pydantic's errors into one line: the key, the error and the remedy.

    Parameters
    ----------
    error
        One of `pydantic.ValidationError.errors`.
    written
        The value as written in the file; None for a list, a section or a missing key.
    model
        The config's model.
    """
    path, kind = tuple(error["loc"]), error["type"]
    key = ".".join(str(step)[:MAX_VALUE_CHARS] for step in path)
    if kind == "extra_forbidden":
        known = list(_section_at(model, path[:-1]).model_fields)
        # A key less similar than this was more likely renamed than mistyped: list them all.
        close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.7)
        if not close and error["input"] is None and path[:-1]:
            # In braces, the part of a password after a comma is such a key: do not quote it.
            section = ".".join(map(str, path[:-1]))
            return f"{section}: unknown key without a value; does a comma in a value need quotes?"
        hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if re.match(r"!(?!!)", written or ""):
        # Not quoted: it may be a password without quotes.
        return f"{key}: a value that begins with ! has a tag; put the text in quotes"
    if kind == "model_type":
        keys = ", ".join(_section_at(model, path).model_fields)
        return f"{key}: needs keys of its own, indented below it: {keys}"
    if not written and error["input"] is None and path in _EXAMPLES:
        return f"{key}: without quotes this is a comment: {_EXAMPLES[path]}"
    if kind == "string_pattern_mismatch":
        return f"{key}: {_value_text(error, written)} is not of the form {_EXAMPLES[path]}"
    if kind == "value_error":
        return f"{key}: {_redact_input(str(error['ctx']['error']), error['input'])}"
    if kind == "too_long":
        length, limit = error["ctx"]["actual_length"], error["ctx"]["max_length"]
        return f"{key}: {length} items; at most {limit} are allowed"
    if kind in _TEXT_TYPES and error["input"] is not None and written is not None:
        null = ", or write null for none" if _is_nullable(model, path) else ""
        value = error["input"]
        quoted = shorten_value(value.text if isinstance(value, Ambiguous) else written)
        return (
            f"{key}: {shorten_value(written)} is not read as a text; "
            f'put it in quotes: "{quoted}"{null}'
        )
    reason = _REQUIREMENTS.get(kind) or error["msg"][:1].lower() + error["msg"][1:]
    if written == "":
        return f"{key}: {reason}; the value is missing"
    return f"{key}: {reason}, not {_value_text(error, written)}"


def _value_text(error: Any, written: str | None) -> str:
    if written is None:
        # Not the content, which may be long or secret.
        kinds = {list: "a list", dict: "keys of its own", type(None): "nothing"}
        return kinds.get(type(error["input"]), "this")
    return shorten_value(written)


def _redact_input(reason: str, value: object) -> str:
    if isinstance(value, str) and is_address(value):
        return reason.replace(value, redact_url(value))
    return reason


def _section_at(model: type[BaseModel], path: Key) -> type[BaseModel]:
    """Return the model of the section at a path."""
    section: Any = model
    for step in path:
        section = section.model_fields[step].annotation
    found: type[BaseModel] = section
    return found


def _is_nullable(model: type[BaseModel], path: Key) -> bool:
    found: Any = model
    for step in path:
        fields = getattr(found, "model_fields", {})
        if step not in fields:
            return False
        found = fields[step].annotation
    return type(None) in get_args(found)
