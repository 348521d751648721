import json
import os
import subprocess
import sys
import textwrap

import pytest

from installation.inference import circuit_breaker as trust
from installation.inference.circuit_breaker import FAILURES, CircuitBreaker
from tests.paths import ROOT


@pytest.fixture
def path(tmp_path):
    return tmp_path / "plans" / "gpu.json"


def elsewhere(path, *steps):
    """Do something in a process of its own."""
    code = f"""
    import os, signal
    from pathlib import Path
    from installation.inference.circuit_breaker import CircuitBreaker
    trust = CircuitBreaker(Path({str(path)!r}))
    {"; ".join(steps)}
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )


KILLED = "os.kill(os.getpid(), signal.SIGKILL)"


def test_runs_that_end_in_order_are_forgotten(path):
    for _ in range(FAILURES + 1):
        elsewhere(path, "trust.begin()", "trust.end()")
    assert CircuitBreaker(path).open_reason() == ""
    assert json.loads(path.read_text()) == []


def test_runs_that_fail_withdraw_trust(path):
    for number in range(FAILURES):
        assert CircuitBreaker(path).open_reason() == ""
        elsewhere(path, "trust.begin()", f"trust.fail('reason {number}')")
    said = CircuitBreaker(path).open_reason()
    assert f"the GPU failed {FAILURES} times within the hour" in said
    assert "the last time: reason 2" in said


def test_a_killed_process_has_failed(path):
    for _ in range(FAILURES):
        elsewhere(path, "trust.begin()", KILLED)
    assert "it ended without a word" in CircuitBreaker(path).open_reason()


def test_a_running_process_has_not(path):
    for _ in range(FAILURES - 1):
        elsewhere(path, "trust.begin()", KILLED)
    wall = CircuitBreaker(path)
    wall.begin()
    assert CircuitBreaker(path).open_reason() == ""
    elsewhere(path, "trust.begin()", "trust.end()")
    assert CircuitBreaker(path).open_reason() == ""
    wall.fail("now it has")
    assert "now it has" in CircuitBreaker(path).open_reason()


def test_trust_comes_back_with_time(path, monkeypatch):
    for _ in range(FAILURES):
        elsewhere(path, "trust.fail('x')")
    assert "tried again in 60 min" in CircuitBreaker(path).open_reason()
    now = trust._now()
    monkeypatch.setattr(trust, "_now", lambda: now + trust.WINDOW + 1)
    assert CircuitBreaker(path).open_reason() == ""


def test_trust_comes_back_with_a_restart_of_the_machine(path, monkeypatch, tmp_path):
    for _ in range(FAILURES):
        elsewhere(path, "trust.fail('x')")
    (tmp_path / "boot").write_text("another\n")
    monkeypatch.setattr(trust, "_BOOT", tmp_path / "boot")
    assert CircuitBreaker(path).open_reason() == ""


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', "[{}]", '[{"boot": 1, "at": "x"}]'])
def test_a_damaged_page_is_a_new_page(path, text):
    path.parent.mkdir()
    path.write_text(text)
    page = CircuitBreaker(path)
    assert page.open_reason() == ""
    page.begin()
    page.end()
    assert json.loads(path.read_text()) == []


def test_a_page_that_cannot_be_written_stops_nobody(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    page = CircuitBreaker(tmp_path / "file" / "gpu.json")
    page.begin()
    page.end()
    assert page.open_reason() == ""
    assert "GPU failures are not counted" in caplog.text
