"""What the README promises must be there."""

import re

import pytest

from tests.paths import ROOT

README = (ROOT / "README.md").read_text()


def test_links_and_pictures_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("verb", ["demo", "test"])
def test_the_two_commands_are_the_scripts(verb):
    assert f"    ./setup.sh {verb}\n" in README
    assert f"./setup.sh {verb}" in (ROOT / "setup.sh").read_text()


def test_ci_runs_the_tests_as_the_readme_says():
    assert "./setup.sh test\n" in (ROOT / ".ci" / "run").read_text()


def test_every_command_is_in_the_readme():
    from installation.commands.cli import _parser

    commands = re.findall(r"^    (\w+) ", _parser().format_help(), re.MULTILINE)
    assert len(commands) == 11
    for command in commands:
        assert f"`installation {command}" in README
