"""Which keys take effect when, that the config's comments say so, and the last good one."""

import logging
import re

import pytest
from pydantic import BaseModel

from installation.config import loader
from installation.config.model import Config
from installation.config.reload import ConfigFile, apply_changes, changes, requires_restart
from installation.config.strict_yaml import ConfigError
from tests.benchmarks.mutations import FULL, SHIPPED
from tests.paths import ROOT


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


def test_the_config_says_which_keys_require_a_restart():
    said = documented()
    for key, field in keys():
        assert ("(restart)" in said[key]) == requires_restart(field), key


def load(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return loader.load(path)


def test_changes_are_listed_by_when_they_apply(tmp_path):
    old = load(tmp_path, "theme: {idle: {after_s: 10}}\ndisplay: {mirror: true}")
    new = load(
        tmp_path,
        "theme: {idle: {after_s: 20}, colour: '#ffffff'}\ndisplay: {mirror: true, rotate: 90}\n"
        "labels: {exclude: [boss]}\nrecord: {file: other.sqlite}",
    )
    now, later = changes(old, new)
    assert now == ["labels.exclude", "theme.colour", "theme.idle.after_s"]
    assert later == ["display.rotate", "record.file"]
    assert changes(new, new) == ([], [])


def test_keys_that_require_a_restart_stay_unchanged(tmp_path):
    old = load(tmp_path, "inference: {device: cpu}\nvision: {min_face_px: 40}")
    new = load(tmp_path, "inference: {device: gpu}\nvision: {min_face_px: 50}")
    after = apply_changes(old, new)
    assert after.inference.device == "cpu"
    assert after.vision.min_face_px == 50
    # What was put off is told again with the next reload, not forgotten.
    assert changes(after, new)[1] == ["inference.device"]


class Installed:
    """A config with an overlay, and a folder for the copy."""

    def __init__(self, folder):
        self.path = folder / "etc" / "config.yaml"
        self.overlay = folder / "etc" / "config.d" / "wall.yaml"
        self.state = folder / "state"
        self.copy = self.state / "config.last-good.yaml"
        self.overlay.parent.mkdir(parents=True)
        self.state.mkdir()
        self.path.write_text("theme: {text_scale: 2, box_width: 3}\ncamera: {source: film.mp4}\n")
        self.overlay.write_text("theme: {text_scale: 0.5}\n")

    def start(self):
        return ConfigFile(self.path, self.state).start()


@pytest.fixture
def installed(tmp_path):
    return Installed(tmp_path)


BROKEN = (
    "theme: {box_width: 99}",
    "theme: {text_scale: ",
    "",
    "\n",
    "x: 1",
    "status: {address: 0.0.0.0}",
)


@pytest.mark.parametrize("text", BROKEN)
@pytest.mark.parametrize("which", ["path", "overlay"])
def test_a_broken_or_half_written_file_changes_nothing_even_after_a_restart(
    installed, caplog, which, text
):
    file = ConfigFile(installed.path, installed.state)
    good = file.start()
    assert (good.theme.text_scale, good.theme.box_width) == (0.5, 3)
    broken = getattr(installed, which)
    broken.write_text(text)
    with pytest.raises(ConfigError):
        file.reread()
    assert file.error.startswith(f"{broken}:1: ")
    assert installed.start() == good
    (line,) = [each.message for each in caplog.records if each.levelno == logging.ERROR]
    assert line.startswith(f"{broken}:1: ") and line.endswith(str(installed.copy))
    broken.write_text("theme: {text_scale: 1}")
    assert file.reread().theme.text_scale == (1 if which == "overlay" else 0.5)
    assert file.error is None


def test_the_copy_is_readable_by_its_owner_alone(installed):
    installed.start()
    assert installed.copy.stat().st_mode & 0o777 == 0o600
    # One from before that was so, too.
    installed.copy.chmod(0o644)
    installed.start()
    assert installed.copy.stat().st_mode & 0o777 == 0o600


def test_a_removed_overlay_is_gone_after_a_restart_too(installed):
    installed.start()
    installed.overlay.unlink()
    assert installed.start().theme.text_scale == 2
    installed.path.write_text("theme: {text_scale: ")
    assert installed.start().theme.text_scale == 2


def test_the_copy_needs_no_overlay_and_no_config(installed):
    good = installed.start()
    installed.overlay.unlink()
    installed.overlay.mkdir()
    installed.path.unlink()
    assert installed.start() == good


def test_a_copy_without_overlays_is_accepted(installed):
    installed.copy.write_text("# theirs\ntheme: {text_scale: 3}\n")
    installed.overlay.write_text("")
    assert installed.start().theme.text_scale == 3


@pytest.mark.parametrize("harm", [b"theme: {text_scale: 9}", b"\xff\xfe", b"[", b"- 1"])
def test_an_invalid_copy_does_not_hide_the_error(installed, harm):
    installed.copy.write_bytes(harm)
    installed.overlay.write_text("theme: {text_scale: 9}")
    with pytest.raises(ConfigError, match=r"wall\.yaml:1: theme\.text_scale"):
        installed.start()


def test_the_copy_is_written_only_after_a_change(installed):
    installed.start()
    before = installed.copy.stat()
    installed.start()
    assert installed.copy.stat().st_ino == before.st_ino
    installed.overlay.write_text("theme: {text_scale: 3}")
    installed.start()
    assert installed.copy.stat().st_ino != before.st_ino


# What YAML has more than one way to write, and what it would take for something else.
ODD = """\
hours: {closed: [2026-12-24, 12-25, "12-26"], open: [mon 10:00-18:00]}
theme:
  {text_no_camera: "a: b # c", text_preparing: "yes", colour: "#00ff00",
   idle: {text: "💡 \\t\\u2028\\x1b 1:30"}}
record: {file: "null", keep_days: 16}
status: {token: "0123456789012345"}
camera: {source: "1", fps: 10.}
labels: {exclude: [boss, "curator"]}
"""


@pytest.mark.parametrize("text", [SHIPPED, FULL, ODD, "# nothing\n"], ids=range(4))
def test_the_copy_is_read_back_unchanged(installed, text):
    installed.path.write_text(text)
    good = installed.start()
    installed.overlay.write_text("")
    assert installed.start() == good
