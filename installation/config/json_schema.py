"""The config as a JSON schema, for editors: ranges and choices from the code, words from the file.

    python -m installation.config.json_schema > installation/config/schema.json

has to be run whenever ``config.py`` or ``config.yaml`` has changed; a test tells when it was not.
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
# What is for programmers alone.
_OURS = ("title", "description", "takes effect")
_DIALECT = "https://json-schema.org/draft-07/schema#"


def explanations(text: str) -> dict[tuple[str, ...], str]:
    """Read what a config's comments say of its keys.

    Parameters
    ----------
    text
        The whole file. Of a key speak the comment behind it with the lines that go on with it,
        and the lines above it that are indented as it is.

    Returns
    -------
    dict
        By path; keys of which nothing is said are left out.
    """
    lines = text.splitlines()
    found: dict[tuple[str, ...], str] = {}

    def walk(node: yaml.Node, above: tuple[str, ...]) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            path = (*above, key.value)
            mark = key.start_mark
            # A section's comment stands in its own line, its keys in others.
            nested = isinstance(value, yaml.MappingNode) and value.value
            after = mark if nested else value.end_mark
            behind = " ".join(_behind(lines, after))
            said = [*_above(lines, mark.line, mark.column), behind]
            if any(said):
                found[path] = "\n".join(" ".join(line.split()) for line in said if line)
            walk(value, path)

    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None
    walk(node, ())
    return found


def _above(lines: list[str], line: int, column: int) -> list[str]:
    said: list[str] = []
    while line and re.match(rf" {{{column}}}#", lines[line - 1]):
        line -= 1
        said.insert(0, lines[line][column:].lstrip("#"))
    # What stands at the head of the file is about all of it.
    return said if column else []


def _behind(lines: list[str], mark: yaml.Mark) -> list[str]:
    match = re.search(r"\s#(.*)", lines[mark.line][mark.column :])
    if match is None:
        return []
    column = mark.column + match.start() + 1
    said = [match[1]]
    for line in lines[mark.line + 1 :]:
        # What is indented as far goes on.
        if line[:column].strip() or line[column : column + 1] != "#":
            break
        said.append(line[column + 1 :])
    return said


def schema(text: str) -> dict[str, Any]:
    """Return the schema of configs like one that explains each key.

    Parameters
    ----------
    text
        Of that config.

    Raises
    ------
    ConfigError
        A key is not explained.
    """
    said = explanations(text)
    made = Config.model_json_schema()
    sections = made.pop("$defs")

    def built(of: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        own = {key: value for key, value in of.items() if key not in _OURS}
        if "$ref" in own:
            section = sections[own["$ref"].rpartition("/")[2]]
            # One whose keys are all commented out is empty.
            return {**built(section, path), "type": ["object", "null"]}
        if "properties" in own:
            below = own["properties"].items()
            own["properties"] = {key: built(value, (*path, key)) for key, value in below}
        if len(path) > 1 and not said.get(path, "").replace(_RESTART, ""):
            raise ConfigError(f"config.yaml: {'.'.join(path)} is not explained; write a comment")
        if path in said:
            own["description"] = said[path].replace(_RESTART, "(takes effect at the next start)")
        return own

    return {"$schema": _DIALECT, "title": "The installation's config", **built(made, ())}


if __name__ == "__main__":
    written = (Path(__file__).parents[2] / "config.yaml").read_text(encoding="utf-8")
    sys.stdout.write(json.dumps(schema(written), indent=2, ensure_ascii=False) + "\n")
