import json
import os
import subprocess
import sys
import textwrap

import pytest

from installation.inference import circuit_breaker as module
from installation.inference.circuit_breaker import MAX_FAILURES, CircuitBreaker
from tests.paths import ROOT


@pytest.fixture
def path(tmp_path):
    return tmp_path / "plans" / "gpu.json"


def elsewhere(path, *steps):
    """Run statements in another process."""
    code = f"""
    import os, signal
    from pathlib import Path
    from installation.inference.circuit_breaker import CircuitBreaker
    breaker = CircuitBreaker(Path({str(path)!r}))
    {"; ".join(steps)}
    """
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )


KILLED = "os.kill(os.getpid(), signal.SIGKILL)"


def test_runs_that_end_normally_are_removed(path):
    for _ in range(MAX_FAILURES + 1):
        elsewhere(path, "breaker.begin()", "breaker.end()")
    assert CircuitBreaker(path).open_reason() == ""
    assert json.loads(path.read_text()) == []


def test_failed_runs_open_the_breaker(path):
    for number in range(MAX_FAILURES):
        assert CircuitBreaker(path).open_reason() == ""
        elsewhere(path, "breaker.begin()", f"breaker.fail('reason {number}')")
    said = CircuitBreaker(path).open_reason()
    assert f"the GPU failed {MAX_FAILURES} times within the last hour" in said
    assert "most recently: reason 2" in said


def test_a_killed_process_counts_as_failed(path):
    for _ in range(MAX_FAILURES):
        elsewhere(path, "breaker.begin()", KILLED)
    assert "process ended unexpectedly" in CircuitBreaker(path).open_reason()


def test_a_running_process_does_not(path):
    for _ in range(MAX_FAILURES - 1):
        elsewhere(path, "breaker.begin()", KILLED)
    breaker = CircuitBreaker(path)
    breaker.begin()
    assert CircuitBreaker(path).open_reason() == ""
    elsewhere(path, "breaker.begin()", "breaker.end()")
    assert CircuitBreaker(path).open_reason() == ""
    breaker.fail("now it has")
    assert "now it has" in CircuitBreaker(path).open_reason()


def test_the_breaker_closes_after_an_hour(path, monkeypatch):
    for _ in range(MAX_FAILURES):
        elsewhere(path, "breaker.fail('x')")
    assert "restart in 60 min or later" in CircuitBreaker(path).open_reason()
    now = module._now()
    monkeypatch.setattr(module, "_now", lambda: now + module.WINDOW_S + 1)
    assert CircuitBreaker(path).open_reason() == ""


def test_the_breaker_closes_after_a_reboot(path, monkeypatch, tmp_path):
    for _ in range(MAX_FAILURES):
        elsewhere(path, "breaker.fail('x')")
    (tmp_path / "boot").write_text("another\n")
    monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "boot")
    assert CircuitBreaker(path).open_reason() == ""


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', "[{}]", '[{"boot": 1, "at": "x"}]'])
def test_a_damaged_file_counts_as_empty(path, text):
    path.parent.mkdir()
    path.write_text(text)
    breaker = CircuitBreaker(path)
    assert breaker.open_reason() == ""
    breaker.begin()
    breaker.end()
    assert json.loads(path.read_text()) == []


def test_a_file_that_cannot_be_written_does_not_stop_the_program(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    breaker = CircuitBreaker(tmp_path / "file" / "gpu.json")
    breaker.begin()
    breaker.end()
    assert breaker.open_reason() == ""
    assert "GPU failures cannot be recorded" in caplog.text
