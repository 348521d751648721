from pathlib import Path

from tests.isolated_pytest import run_alone


def test_what_is_on_the_wall_when():
    # In a process of its own: see `alone.py`.
    assert "5 passed" in run_alone(Path(__file__).with_name("presenter.py"))
