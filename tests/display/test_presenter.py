from pathlib import Path

from tests.isolated_pytest import run_alone


def test_what_is_on_the_screen_when():
    assert "skipped" not in run_alone(Path(__file__).with_name("presenter.py"))
