"""The config as a JSON schema for editors.

Ranges and choices come from the model, descriptions from the comments of ``config.yaml``. When one
of them changes, a test fails until this is run:

    python -m installation.config.json_schema > installation/config/schema.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from installation.config.model import Config
from installation.config.strict_yaml import ConfigError

_RESTART = "(restart)"
# Not for editors.
_INTERNAL = ("title", "description", "takes effect")
_DIALECT = "https://json-schema.org/draft-07/schema#"


def key_comments(text: str) -> dict[tuple[str, ...], str]:
    """Return what a config's comments say about its keys.

    Parameters
    ----------
    text
        The config file. A key's comment is the comment after it, with its continuation lines, and
        the comment lines above it with the same indentation.

    Returns
    -------
    dict
        Comments by the path of the key; keys without a comment are missing.
    """
    lines = text.splitlines()
    found: dict[tuple[str, ...], str] = {}

    def walk(node: yaml.Node, above: tuple[str, ...]) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            path = (*above, key.value)
            mark = key.start_mark
            # A section's comment is on the section's own line.
            nested = isinstance(value, yaml.MappingNode) and value.value
            after = mark if nested else value.end_mark
            comment = _comment_above(lines, mark.line, mark.column)
            comment.append(" ".join(_comment_after(lines, after)))
            if any(comment):
                found[path] = "\n".join(" ".join(line.split()) for line in comment if line)
            walk(value, path)

    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None
    walk(node, ())
    return found


def _comment_above(lines: list[str], line: int, column: int) -> list[str]:
    comment: list[str] = []
    while line and re.match(rf" {{{column}}}#", lines[line - 1]):
        line -= 1
        comment.insert(0, lines[line][column:].lstrip("#"))
    # Comments above a section are about the whole file.
    return comment if column else []


def _comment_after(lines: list[str], mark: yaml.Mark) -> list[str]:
    match = re.search(r"\s#(.*)", lines[mark.line][mark.column :])
    if match is None:
        return []
    column = mark.column + match.start() + 1
    comment = [match[1]]
    for line in lines[mark.line + 1 :]:
        # A comment in the same column continues.
        if line[:column].strip() or line[column : column + 1] != "#":
            break
        comment.append(line[column + 1 :])
    return comment


def schema(text: str) -> dict[str, Any]:
    """Return the JSON schema of the config.

    Parameters
    ----------
    text
        A config file whose comments explain every key.

    Raises
    ------
    ConfigError
        A key has no comment.
    """
    descriptions = key_comments(text)
    generated = Config.model_json_schema()
    sections = generated.pop("$defs")

    def build(node: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        own = {key: value for key, value in node.items() if key not in _INTERNAL}
        if "$ref" in own:
            section = sections[own["$ref"].rpartition("/")[2]]
            # A section whose keys are all commented out is null.
            return {**build(section, path), "type": ["object", "null"]}
        if "properties" in own:
            keys = own["properties"].items()
            own["properties"] = {key: build(value, (*path, key)) for key, value in keys}
        if len(path) > 1 and not descriptions.get(path, "").replace(_RESTART, ""):
            raise ConfigError(f"config.yaml: {'.'.join(path)} has no comment that explains it")
        if path in descriptions:
            comment = descriptions[path]
            own["description"] = comment.replace(_RESTART, "(takes effect at the next start)")
        return own

    return {"$schema": _DIALECT, "title": "The installation's config", **build(generated, ())}


if __name__ == "__main__":
    written = (Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8")
    sys.stdout.write(json.dumps(schema(written), indent=2, ensure_ascii=False) + "\n")
