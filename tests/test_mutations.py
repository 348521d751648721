"""Configs spoilt at random; ten thousand of them: python -m tests.benchmarks.mutations."""

import random

import pytest

from tests.benchmarks.mutations import BOMBS, FULL, SHIPPED, VALUES, mutated, verdict


@pytest.fixture
def path(tmp_path):
    return tmp_path / "config.yaml"


def test_each_is_taken_or_refused_in_a_line(path):
    chance = random.Random(7)
    said = []
    for _ in range(300):
        said.append(verdict(path, mutated(chance))[0])
    assert said.count("") > 10 and len(set(said)) > 50


@pytest.mark.parametrize("number", range(len(BOMBS)))
def test_what_is_made_to_take_for_ever_does_not(path, number):
    line, _ = verdict(path, BOMBS[number].encode())
    # A long comment, alone, is no fault; nor is a long name of a file.
    assert line or "# # #" in BOMBS[number] or "source: aaa" in BOMBS[number]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_each_value_in_each_place_is_answered(path, value):
    for key in (
        "camera: {source: %s}",
        "camera:\n  fps: %s",
        "theme:\n  font: %s",
        "hours: {open: [%s]}",
    ):
        verdict(path, (key % value).encode("utf-8", "surrogatepass"))


def test_so_is_what_is_laid_over_one(path):
    chance = random.Random(8)
    said = []
    for _ in range(150):
        data, over = (chance.choice((FULL.encode(), mutated(chance))) for _ in range(2))
        line, _ = verdict(path, data, over)
        said.append(line.removeprefix(str(path.parent))[:9])
    assert {"", "/config.y", "/config.d"} == set(said)


def test_what_is_spoilt_was_sound(path):
    for text in (SHIPPED, FULL):
        assert verdict(path, text.encode())[0] == ""
        assert verdict(path, FULL.encode(), text.encode())[0] == ""
