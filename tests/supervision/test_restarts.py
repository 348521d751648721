"""How often systemd restarted the service, according to systemctl."""

import pytest

from installation.supervision.restarts import restarts


@pytest.fixture
def service(tmp_path, monkeypatch):
    """Run as a service; returns a function that sets systemctl's output and returns the cgroup."""

    def is_one(script, cgroup="0::/system.slice/installation.service\n"):
        systemctl = tmp_path / "systemctl"
        systemctl.write_text(f"#!/bin/sh\n{script}\n")
        systemctl.chmod(0o755)
        (tmp_path / "cgroup").write_text(cgroup)
        return tmp_path / "cgroup"

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("INVOCATION_ID", "0123456789abcdef")
    return is_one


def test_systemd_is_asked_about_this_unit(service):
    script = '[ "$*" = "show --value --property=NRestarts installation.service" ] && echo 7'
    assert restarts(service(script)) == 7


@pytest.mark.parametrize("script", ["exit 1", "echo", "echo none", "exec nowhere", "sleep 30"])
def test_the_count_is_unknown_if_systemd_does_not_tell_it(service, script):
    assert restarts(service(script), timeout_s=2.0) is None


@pytest.mark.parametrize("cgroup", ["", "0::/\n", "0::/user.slice/session-1.scope\n"])
def test_outside_a_service_the_count_is_unknown(service, cgroup):
    assert restarts(service("echo 7", cgroup)) is None


def test_a_process_that_systemd_has_not_started_has_no_count(service, monkeypatch):
    monkeypatch.delenv("INVOCATION_ID")
    assert restarts(service("echo 7")) is None
