"""What is wrong with a value of the config, and what to write instead."""

from __future__ import annotations

import difflib
import re
from typing import Any, get_args

from pydantic import BaseModel

from installation.config.strict_yaml import VALUE, Ambiguous, Key, shortened
from installation.runtime.redact import is_address, redact_url

_FORMS: dict[Key, str] = {
    ("theme", "colour"): '"#39ff14"',
    ("inference", "device"): "auto, gpu, cpu or kserve://HOST:PORT",
    ("inference", "detector"): "face-centerface, the name of a folder",
    ("inference", "classifier"): "person-semantic, the name of a folder",
}
_INTEGER = "needs a whole number in plain digits without quotes, such as 30"
_NUMBER = "needs a plain decimal number without quotes, such as 30 or 1.5"
_SWITCH = "needs true or false, without quotes"
# By pydantic's names for what is wrong.
_NEEDS = {
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
_TEXTS = ("string_type", "path_type")


def explain(error: Any, written: str | None, model: type[BaseModel]) -> str:
    """Turn one of pydantic's errors into: key, what is wrong, what would be right.

    Parameters
    ----------
    error
        One of `pydantic.ValidationError.errors`.
    written
        The value as it is written; None where it is a list or a section, or is left out.
    model
        What the config was to be.
    """
    path, kind = tuple(error["loc"]), error["type"]
    key = ".".join(str(step)[:VALUE] for step in path)
    if kind == "extra_forbidden":
        known = list(_model(model, path[:-1]).model_fields)
        close = difflib.get_close_matches(str(path[-1]), known, n=1)
        if not close and error["input"] is None and path[:-1]:
            # In braces the rest of a password, behind its comma, becomes such a key.
            section = ".".join(map(str, path[:-1]))
            return f"{section}: unknown key without a value; does a comma in a value need quotes?"
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if re.match(r"!(?!!)", written or ""):
        # Not shown: it may be a password that lacks its quotes.
        return f"{key}: what begins with ! is a tag; put the text in quotes"
    if kind == "model_type":
        keys = ", ".join(_model(model, path).model_fields)
        return f"{key}: needs keys of its own, indented below it: {keys}"
    if not written and error["input"] is None and path in _FORMS:
        return f"{key}: needs quotes, or is a comment: {_FORMS[path]}"
    if kind == "string_pattern_mismatch":
        return f"{key}: {_shown(error, written)} is not of the form {_FORMS[path]}"
    if kind == "value_error":
        return f"{key}: {_without_address(str(error['ctx']['error']), error['input'])}"
    if kind == "too_long":
        return f"{key}: {error['ctx']['actual_length']} items; at most {error['ctx']['max_length']}"
    if kind in _TEXTS and error["input"] is not None and written is not None:
        null = ", or write null for none" if _may_be_null(model, path) else ""
        value = error["input"]
        quoted = shortened(value.text if isinstance(value, Ambiguous) else written)
        return (
            f"{key}: {shortened(written)} is not taken as a text; "
            f'put it in quotes: "{quoted}"{null}'
        )
    reason = _NEEDS.get(kind) or error["msg"][:1].lower() + error["msg"][1:]
    if written == "":
        return f"{key}: {reason}; nothing is written here"
    return f"{key}: {reason}, not {_shown(error, written)}"


def _shown(error: Any, written: str | None) -> str:
    if written is None:
        # Not its content, which may be long, or a secret.
        kinds = {list: "a list", dict: "keys of its own", type(None): "nothing"}
        return kinds.get(type(error["input"]), "that")
    return shortened(written)


def _without_address(reason: str, value: object) -> str:
    if isinstance(value, str) and is_address(value):
        return reason.replace(value, redact_url(value))
    return reason


def _model(model: type[BaseModel], path: Key) -> type[BaseModel]:
    """Return the section that a path leads into."""
    found: Any = model
    for step in path:
        found = found.model_fields[step].annotation
    section: type[BaseModel] = found
    return section


def _may_be_null(model: type[BaseModel], path: Key) -> bool:
    found: Any = model
    for step in path:
        fields = getattr(found, "model_fields", {})
        if step not in fields:
            return False
        found = fields[step].annotation
    return type(None) in get_args(found)
