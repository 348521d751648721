"""Which keys take effect when, and that the config's comments say so."""

import re
from pathlib import Path

from pydantic import BaseModel

from installation import config
from installation.config import Config
from installation.reload import at_start, changes, in_force

ROOT = Path(__file__).parent.parent


def keys(section=Config, above=""):
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{above}{name}.")
        else:
            yield f"{above}{name}", field


def documented():
    """What the shipped config says of each key, comments included."""
    path, said = [], {}
    for line in (ROOT / "config.yaml").read_text().splitlines():
        if match := re.match(r"( *)([a-z_]+):", line):
            path = [*path[: len(match[1]) // 2], match[2]]
            said[".".join(path)] = line
        elif path:
            said[".".join(path)] += line
    return said


def test_the_config_says_of_each_key_whether_it_takes_a_restart():
    said = documented()
    for key, field in keys():
        assert ("(restart)" in said[key]) == at_start(field), key


def load(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return config.load(path)


def test_changes_are_told_by_when_they_take_effect(tmp_path):
    old = load(tmp_path, "theme: {idle: {after: 10}}\ndisplay: {mirror: true}")
    new = load(
        tmp_path,
        "theme: {idle: {after: 20}, colour: '#ffffff'}\ndisplay: {mirror: true, rotate: 90}\n"
        "labels: {exclude: [boss]}\nrecord: {file: other.sqlite}",
    )
    now, later = changes(old, new)
    assert now == ["labels.exclude", "theme.colour", "theme.idle.after"]
    assert later == ["display.rotate", "record.file"]
    assert changes(new, new) == ([], [])


def test_what_takes_a_restart_stays_as_it_was(tmp_path):
    old = load(tmp_path, "inference: {device: cpu}\nvision: {smallest_face: 40}")
    new = load(tmp_path, "inference: {device: gpu}\nvision: {smallest_face: 50}")
    after = in_force(old, new)
    assert after.inference.device == "cpu"
    assert after.vision.smallest_face == 50
    # What was put off is told again with the next reload, not forgotten.
    assert changes(after, new)[1] == ["inference.device"]
