from datetime import datetime, timezone

import pytest

from installation.checks import program
from installation.config.model import Config, Hours, Inference, Labels, Theme
from installation.inference.open_engines import NoGpuError


def only(findings):
    (found,) = findings
    return found


def test_a_policy_that_shows_slurs_is_a_warning():
    assert only(program.check_policy(Config())).level == "ok"
    seen = only(program.check_policy(Config(labels=Labels(policy="full"))))
    assert seen.level == "warning" and "slurs" in seen.message


def test_it_says_when_the_installation_opens(monkeypatch):
    assert only(program.check_hours(Config())).message == "open, always"
    seen = only(program.check_hours(Config(hours=Hours(closed=("01-01..12-31",)))))
    assert seen.level == "warning"
    tomorrow = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[
        (datetime.now(timezone.utc).weekday() + 2) % 7
    ]
    opening = Hours(open=(f"{tomorrow} 10:00-18:00",), timezone="UTC")
    seen = only(program.check_hours(Config(hours=opening)))
    assert seen.message.startswith("closed until ") and "10:00" in seen.message


def no_gpu():
    raise NoGpuError("no NVIDIA driver is installed")


@pytest.mark.parametrize(
    ("device", "has_gpu", "level"),
    [
        ("cpu", True, "ok"),
        ("auto", False, "ok"),
        ("auto", True, "warning"),
        ("gpu", True, "error"),
    ],
)
def test_a_gpu_that_is_not_used(tmp_path, monkeypatch, device, has_gpu, level):
    monkeypatch.setattr(program, "find_gpu", no_gpu)
    (tmp_path / "0000:00:02.0").mkdir()
    for name, value in (("vendor", "0x10de" if has_gpu else "0x8086"), ("class", "0x030000")):
        (tmp_path / "0000:00:02.0" / name).write_text(f"{value}\n")
    config = Config(inference=Inference(device=device))
    seen = only(program.check_inference(config, tmp_path))
    assert seen.level == level


def test_engines_that_are_built(config):
    seen = only(program.check_engines(config))
    assert seen.level == "ok"


def test_engines_that_are_not_built(tmp_path):
    seen = list(program.check_engines(Config(inference=Inference(engines=tmp_path))))
    assert {each.level for each in seen} == {"error"}
    assert all("installation engines build" in str(each) for each in seen)


def test_font(tmp_path, monkeypatch):
    assert only(program.check_font(Config())).level == "ok"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "fontconfig" in only(program.check_font(Config())).remedy
    monkeypatch.setattr(program, "FONT", tmp_path / "none.ttf")
    assert "fonts-dejavu-core" in only(program.check_font(Config())).remedy
    font = Theme.model_construct(font=tmp_path)
    assert only(program.check_font(Config.model_construct(theme=font))).level == "warning"
