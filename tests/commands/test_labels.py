"""``installation labels``, as a curator uses it."""

import pytest

from installation.commands.cli import main


@pytest.fixture
def labels(built, tmp_path, capfd):
    config = tmp_path / "config.yaml"

    def run(*arguments, **keys):
        section = "".join(
            f"  {key}: {value}\n" for key, value in {"policy": "safe", **keys}.items()
        )
        config.write_text(f"labels:\n{section}inference:\n  engines: {built}\n")
        status = main(["labels", *arguments, "--config", str(config)])
        out, err = capfd.readouterr()
        return status, out, err

    return run


def test_every_label_that_may_be_shown_is_listed(labels):
    status, out, _ = labels("list")
    lines = out.splitlines()
    assert (status, len(lines)) == (0, 1239)
    assert "clinician" in [line.split("  ")[1] for line in lines]
    assert len(labels("list", policy="full")[1].splitlines()) == 2832
    assert len(labels("list", exclude="[clinician]")[1].splitlines()) == 1238


def test_a_word_is_explained(labels):
    _, out, _ = labels("show", "grass", "widower")
    assert "n10144338  grass widower, divorced man" in out
    assert "a man who is divorced from (or separated from) his wife" in out
    assert "< person" in out
    assert "tier: " in out
    assert "labels.policy is safe" in out


def test_the_rule_that_decides_is_named(labels):
    assert (
        "may be shown: labels.include names 'boss'" in labels("show", "boss", include="[boss]")[1]
    )
    said = labels("show", "boss", policy="full", exclude='["under leader"]')[1]
    assert "is not shown: labels.exclude names 'under leader'" in said


def test_a_misspelt_word_is_an_error_with_suggestions(labels):
    status, out, err = labels("show", "clinican")
    assert (status, out) == (1, "")
    assert err == (
        "installation: 'clinican' is no word for a person in WordNet; did you mean clinician?\n"
    )


def test_a_misspelt_rule_is_an_error_of_the_config(labels, tmp_path):
    status, _, err = labels("policy", exclude="[clinician, criminel]")
    assert status == 1
    assert err.startswith(
        f"installation: {tmp_path / 'config.yaml'}:3: labels.exclude.1: 'criminel'"
    )
    assert "did you mean criminal?" in err


def test_a_policy_that_leaves_nothing_is_refused(labels):
    status, _, err = labels("policy", exclude='["under person"]')
    assert status == 1
    assert "no word is left to show" in err


def test_the_policy_is_summed_up(labels):
    _, out, _ = labels("policy", include="[boss]", exclude='["under criminal"]')
    assert "of 2832 labels may be shown" in out.splitlines()[0]
    assert "labels.include names 'boss'" in out
    assert "labels.exclude names 'under criminal'" in out
    assert "[ethnic-slur]: not shown" in out


def test_marks_are_told_whatever_the_policy(labels):
    for policy in ("safe", "inoffensive", "full"):
        out = labels("policy", policy=policy)[1]
        assert "8 carry a mark of usage" in out
