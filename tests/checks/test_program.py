from datetime import datetime, timezone

import pytest

from installation.checks import program
from installation.config.model import Config, Inference, Labels, Opening, Theme
from installation.inference.open_engines import NoGpuError


def only(findings):
    (found,) = findings
    return found


def test_words_that_wound_are_warned_of():
    assert only(program.policy(Config())).level == "ok"
    seen = only(program.policy(Config(labels=Labels(policy="full"))))
    assert seen.level == "warning" and "slurs" in seen.said


def test_it_says_when_the_doors_open(monkeypatch):
    assert only(program.hours(Config())).said == "open, always"
    seen = only(program.hours(Config(hours=Opening(closed=("01-01..12-31",)))))
    assert seen.level == "warning"
    tomorrow = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[
        (datetime.now(timezone.utc).weekday() + 2) % 7
    ]
    opening = Opening(open=(f"{tomorrow} 10:00-18:00",), timezone="UTC")
    seen = only(program.hours(Config(hours=opening)))
    assert seen.said.startswith("closed until ") and "10:00" in seen.said


def refuse():
    raise NoGpuError("no NVIDIA driver is installed")


@pytest.mark.parametrize(
    ("device", "card", "level"),
    [
        ("cpu", True, "ok"),
        ("auto", False, "ok"),
        ("auto", True, "warning"),
        ("gpu", True, "trouble"),
    ],
)
def test_a_card_that_is_not_used(tmp_path, monkeypatch, device, card, level):
    monkeypatch.setattr(program, "find_gpu", refuse)
    monkeypatch.setattr(program, "_PCI", tmp_path)
    (tmp_path / "0000:00:02.0").mkdir()
    for name, value in (("vendor", "0x10de" if card else "0x8086"), ("class", "0x030000")):
        (tmp_path / "0000:00:02.0" / name).write_text(f"{value}\n")
    seen = only(program.device(Config(inference=Inference(device=device))))
    assert seen.level == level


def test_engines_that_are_there(config):
    seen = only(program.engines(config))
    assert seen.level == "ok"


def test_engines_that_are_not(tmp_path):
    seen = list(program.engines(Config(inference=Inference(engines=tmp_path))))
    assert {each.level for each in seen} == {"trouble"}
    assert all("installation engines build" in str(each) for each in seen)


def test_type(tmp_path, monkeypatch):
    assert only(program.fonts(Config())).level == "ok"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "fontconfig" in only(program.fonts(Config())).remedy
    monkeypatch.setattr(program, "FONT", tmp_path / "none.ttf")
    assert "fonts-dejavu-core" in only(program.fonts(Config())).remedy
    font = Theme.model_construct(font=tmp_path)
    assert only(program.fonts(Config.model_construct(theme=font))).level == "warning"
