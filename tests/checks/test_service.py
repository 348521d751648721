"""The services as systemd reports them, through a fake systemctl and journalctl."""

import os

import pytest

from installation.checks.service import Systemd, check_services, environment

UNITS = ("installation", "installation-display", "installation-config", "installation-engines")


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A fake systemd, given each unit's properties and the journal."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def fake(journal="", **changed):
        blocks = []
        for unit in UNITS:
            suffix = "path" if unit.endswith("config") else "service"
            shown = {"Id": f"{unit}.{suffix}", "LoadState": "loaded", "ActiveState": "active"}
            shown |= {
                "UnitFileState": "enabled",
                "NRestarts": "0",
                "StatusText": "",
                "Result": "success",
            }
            if unit == "installation":
                shown["StatusText"] = "30.0 frames per second"
                shown["Environment"] = "DISPLAY=:0 XAUTHORITY=/run/x"
            shown |= changed.get(unit.rpartition("-")[2], {})
            blocks.append("".join(f"{name}={value}\n" for name, value in shown.items()))
        script(tmp_path / "systemctl", "\n".join(blocks))
        script(tmp_path / "journalctl", journal)
        return Systemd(tmp_path, timeout_s=600.0)

    return fake


def script(path, output, before=""):
    path.write_text(f"#!/bin/sh\n{before}\ncat <<'END'\n{output}\nEND\n")
    path.chmod(0o755)


def by_name(systemd):
    return {finding.check: finding for finding in check_services(systemd)}


def test_services_that_work(systemd):
    seen = by_name(systemd())
    assert {each.level for each in seen.values()} == {"ok"}
    assert seen["wall"].message == "30.0 frames per second"
    assert list(seen) == ["wall", "wall-display", "wall-config", "wall-engines"]


@pytest.mark.parametrize(
    ("changed", "check", "level", "message"),
    [
        ({"installation": {"ActiveState": "failed", "Result": "watchdog"}}, "wall", "error",
         "failed (watchdog); see journalctl -u installation"),
        ({"display": {"LoadState": "not-found"}}, "wall-display", "error", "systemd/install"),
        ({"display": {"ActiveState": "activating"}}, "wall-display", "warning", "starting"),
        ({"installation": {"ActiveState": "inactive"}}, "wall", "warning", "systemctl start"),
        ({"installation": {"UnitFileState": "disabled"}}, "wall", "warning", "enable --now"),
        ({"installation": {"NRestarts": "17"}}, "wall", "warning", "restarted 17 times"),
        ({"engines": {"ActiveState": "inactive", "ExecMainStartTimestampMonotonic": "7"}},
         "wall-engines", "ok", "engines.service has run"),
        ({"engines": {"ActiveState": "inactive", "ExecMainStartTimestampMonotonic": "0"}},
         "wall-engines", "ok", "has not run since the machine started"),
        ({"engines": {"ActiveState": "activating"}}, "wall-engines", "ok", "is building"),
        ({"installation": {"StatusText": "preparing 12%"}}, "wall", "warning", "preparing 12%"),
        ({"installation": {"StatusText": "closed until Mon"}}, "wall", "ok", "closed until Mon"),
        ({"installation": {"StatusText": "does not work: no camera there; 0.0 frames per second"}},
         "wall", "error", "does not work: no camera there"),
        ({"engines": {"ActiveState": "failed"}}, "wall-engines", "error", "failed"),
    ],
)  # fmt: skip
def test_each_state_has_its_finding(systemd, changed, check, level, message):
    seen = by_name(systemd(**changed))[check]
    assert seen.level == level
    assert message in str(seen)


def test_hangs_are_counted(systemd):
    journal = "x\ninstallation.service: Watchdog timeout (limit 10s)!\n" * 2
    seen = by_name(systemd(journal=journal))
    assert "hung 2 times since the machine started" in seen["wall"].message


def test_out_of_memory_kills_are_counted(systemd):
    killed = (
        "{}: A process of this unit has been killed by the OOM killer.\n"
        "{}: Failed with result 'oom-kill'.\n"
    )
    web = "installation-web@8081.service"
    journal = killed.replace("{}", web) * 2 + killed.replace("{}", "installation.service")
    one, other = (each for each in check_services(systemd(journal)) if each.check == "memory")
    assert (one.level, other.level) == ("warning", "warning")
    assert f"{web} was killed 2 times" in one.message
    assert "installation.service was killed once" in other.message
    assert "journalctl" in one.remedy
    assert "memory" not in by_name(systemd())


def test_services_that_are_not_installed(systemd):
    empty = systemd(installation={"LoadState": "not-found"})
    (seen,) = check_services(empty)
    assert (seen.level, seen.message) == ("warning", "not installed")
    assert empty.show_installation() == {}


def test_a_systemd_that_does_not_answer(systemd, tmp_path):
    broken = systemd()
    for before in ("exit 1", "kill $$"):
        script(tmp_path / "systemctl", "", before)
        (seen,) = check_services(broken)
        assert (seen.level, seen.message) == ("warning", "systemd does not answer")
    script(tmp_path / "systemctl", "", "exec sleep 60")
    (seen,) = check_services(Systemd(tmp_path, timeout_s=0.2))
    assert seen.message == "systemd does not answer"


def test_no_systemd(tmp_path):
    (seen,) = check_services(Systemd(tmp_path / "none"))
    assert seen.level == "warning"


def test_the_display_of_the_service_is_known(systemd):
    unit = systemd().show_installation()
    assert environment(unit) == {"DISPLAY": ":0", "XAUTHORITY": "/run/x"}
    assert environment({}) == {}
