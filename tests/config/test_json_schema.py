"""Code, file and schema say the same of every key."""

import json
import re

import jsonschema
import pytest
import yaml

from installation.config import loader as configuration
from installation.config.json_schema import key_comments, schema
from installation.config.model import Config
from installation.config.reload import requires_restart
from installation.config.strict_yaml import ConfigError
from tests.paths import ROOT

TEXT = (ROOT / "config.yaml").read_text()
SCHEMA = json.loads((ROOT / "installation" / "config" / "schema.json").read_text())


def fields(model=Config, above=()):
    """Every key: its path and pydantic's field."""
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from fields(field.annotation, (*above, name))
        else:
            yield (*above, name), field


FIELDS = dict(fields())


def of(path):
    """What the schema says of a key."""
    found = SCHEMA
    for step in path:
        found = found["properties"][step]
    return found


def written():
    """The shipped config as it is written."""
    return yaml.safe_load(TEXT)


def test_the_schema_is_up_to_date():
    assert schema(TEXT) == SCHEMA, (
        "run: python -m installation.config.json_schema > installation/config/schema.json"
    )


def test_it_is_a_schema_and_the_shipped_config_fits_it():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.Draft7Validator(SCHEMA).validate(written())


def test_the_shipped_config_names_its_schema():
    (named,) = re.findall(r"^# yaml-language-server: \$schema=(.*)$", TEXT, re.MULTILINE)
    assert (ROOT / named).samefile(ROOT / "installation" / "config" / "schema.json")


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
def test_comment_schema_and_model_of_each_key_agree(path):
    of_schema, field = of(path), FIELDS[path]
    value = written()
    for step in path:
        value = value[step]
    assert value == of_schema["default"] or str(value) == of_schema["default"]
    said = key_comments(TEXT)[path]
    assert ("(restart)" in said) == requires_restart(field), (
        "its comment must say (restart), or not"
    )
    assert of_schema["description"].partition("(takes")[0] == said.partition("(restart)")[0]
    for first, last in re.findall(r"(?<![\d.-])(\d[\d.]*) (?:\([^)]*\) )?to (\d[\d.]*)\b", said):
        ranged = next(each for each in of_schema.get("anyOf", [of_schema]) if "minimum" in each)
        assert (ranged["minimum"], ranged["maximum"]) == (float(first), float(last))
    if choices := re.match(r"[\w.]+(?: \| [\w.]+)+", said):
        assert set(choices[0].split(" | ")) == set(map(str, of_schema["enum"]))


def _spoilt():
    """Values that the schema rules out, each in a config that is right otherwise."""
    yield from ([(section, "sorce"), 1] for section in SCHEMA["properties"])
    for path in FIELDS:
        said = of(path)
        for each in said.get("anyOf", [said]):
            if "minimum" in each:
                yield path, each["minimum"] - 1
            if "maximum" in each:
                yield path, each["maximum"] + 1
            if "maxLength" in each:
                yield path, "x" * (each["maxLength"] + 1)
            if "pattern" in each:
                yield path, "/"
        if "enum" in said:
            yield path, "neither"
        yield path, {"of": "keys"}


@pytest.mark.parametrize(("path", "value"), list(_spoilt()), ids=str)
def test_what_the_schema_rejects_the_program_rejects(tmp_path, path, value):
    config = written()
    section = config
    for step in path[:-1]:
        section = section[step]
    section[path[-1]] = value
    assert not jsonschema.Draft7Validator(SCHEMA).is_valid(config)
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=re.escape(".".join(path))):
        configuration.load(file)


@pytest.mark.parametrize(
    "text",
    [
        "camera:\n",
        "theme: {idle: }",
        "camera: {source: 0}",
        "display: {monitor: 1}",
        "hours: {open: ['mon 10:00-18:00'], closed: ['12-24']}",
        "record: {file: null, keep_days: 30}",
    ],
)
def test_what_the_program_accepts_the_schema_accepts(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    configuration.load(tmp_path / "config.yaml")
    jsonschema.Draft7Validator(SCHEMA).validate(yaml.safe_load(text))


def test_a_key_without_a_comment_is_reported():
    for comment in ("", " # (restart)"):
        with pytest.raises(ConfigError, match=r"camera\.fps has no comment"):
            schema(re.sub(r"(fps: 30).*", rf"\1{comment}", TEXT))


def test_comments_above_behind_and_going_on_are_found():
    text = "# file\na:  # of a\n  # over\n  #   two\n  b: 1  # behind\n        # more\n  c: '#'\n"
    assert key_comments(text) == {("a",): "of a", ("a", "b"): "over\ntwo\nbehind more"}
