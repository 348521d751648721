"""What systemd says of the wall, by a systemctl that is played."""

import os

import pytest

from installation.checks import service

UNITS = ("installation", "installation-display", "installation-config", "installation-engines")


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """Play systemd: what it tells of each unit, and what is in the journal."""
    monkeypatch.setattr(service, "_SYSTEMD", tmp_path)
    monkeypatch.setattr(service, "_PATIENCE", 600.0)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def play(journal="", **changed):
        blocks = []
        for unit in UNITS:
            suffix = "path" if unit.endswith("config") else "service"
            told = {"Id": f"{unit}.{suffix}", "LoadState": "loaded", "ActiveState": "active"}
            told |= {
                "UnitFileState": "enabled",
                "NRestarts": "0",
                "StatusText": "",
                "Result": "success",
            }
            if unit == "installation":
                told["StatusText"] = "30.0 pictures a second"
                told["Environment"] = "DISPLAY=:0 XAUTHORITY=/run/x"
            told |= changed.get(unit.rpartition("-")[2], {})
            blocks.append("".join(f"{name}={value}\n" for name, value in told.items()))
        script(tmp_path / "systemctl", "\n".join(blocks))
        script(tmp_path / "journalctl", journal)

    return play


def script(path, says, before=""):
    path.write_text(f"#!/bin/sh\n{before}\ncat <<'END'\n{says}\nEND\n")
    path.chmod(0o755)


def found():
    return {each.about: each for each in service.units()}


def test_all_is_well(systemd):
    systemd()
    seen = found()
    assert {each.level for each in seen.values()} == {"ok"}
    assert seen["wall"].said == "30.0 pictures a second"
    assert list(seen) == ["wall", "wall-display", "wall-config", "wall-engines"]


@pytest.mark.parametrize(
    ("changed", "about", "level", "said"),
    [
        ({"installation": {"ActiveState": "failed", "Result": "watchdog"}}, "wall", "trouble",
         "failed (watchdog); see journalctl -u installation"),
        ({"display": {"LoadState": "not-found"}}, "wall-display", "trouble", "systemd/install"),
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
        ({"installation": {"StatusText": "does not work: no camera there; 0.0 pictures a second"}},
         "wall", "trouble", "does not work: no camera there"),
        ({"engines": {"ActiveState": "failed"}}, "wall-engines", "trouble", "failed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(systemd, changed, about, level, said):
    systemd(**changed)
    seen = found()[about]
    assert seen.level == level
    assert said in str(seen)


def test_hangs_are_counted(systemd):
    systemd(journal="x\ninstallation.service: Watchdog timeout (limit 10s)!\n" * 2)
    assert "hung 2 times since the machine started" in found()["wall"].said


def test_processes_killed_for_want_of_memory_are_counted(systemd):
    killed = (
        "{}: A process of this unit has been killed by the OOM killer.\n"
        "{}: Failed with result 'oom-kill'.\n"
    )
    web = "installation-web@8081.service"
    journal = killed.replace("{}", web) * 2 + killed.replace("{}", "installation.service")
    systemd(journal=journal)
    one, other = (each for each in service.units() if each.about == "memory")
    assert (one.level, other.level) == ("warning", "warning")
    assert f"{web} was killed 2 times" in one.said
    assert "installation.service was killed once" in other.said
    assert "journalctl" in one.remedy
    systemd()
    assert "memory" not in found()


def test_what_is_not_installed(systemd, tmp_path):
    systemd(installation={"LoadState": "not-found"})
    (seen,) = service.units()
    assert (seen.level, seen.said) == ("warning", "not installed")
    assert service.wall() == {}


def test_a_systemd_that_does_not_answer(systemd, tmp_path, monkeypatch):
    systemd()
    for before in ("exit 1", "kill $$"):
        script(tmp_path / "systemctl", "", before)
        (seen,) = service.units()
        assert (seen.level, seen.said) == ("warning", "systemd does not answer")
    monkeypatch.setattr(service, "_PATIENCE", 0.2)
    script(tmp_path / "systemctl", "", "exec sleep 60")
    (seen,) = service.units()
    assert seen.said == "systemd does not answer"


def test_no_systemd(tmp_path, monkeypatch):
    monkeypatch.setattr(service, "_SYSTEMD", tmp_path / "none")
    (seen,) = service.units()
    assert seen.level == "warning"


def test_the_walls_screen_is_known(systemd):
    systemd()
    assert service.environment(service.wall()) == {"DISPLAY": ":0", "XAUTHORITY": "/run/x"}
    assert service.environment({}) == {}
