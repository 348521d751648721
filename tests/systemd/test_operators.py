"""The sudoers file that lets a group restart the wall: sound, narrow, and off by default."""

import re
import shutil
import subprocess

import pytest

from tests.paths import ROOT

FILE = ROOT / "systemd" / "operators.sudoers"
VISUDO = shutil.which("visudo") or shutil.which("visudo", path="/usr/sbin:/sbin")


@pytest.mark.skipif(VISUDO is None, reason="no visudo here")
def test_sudo_takes_it(tmp_path):
    # As it is put in place.
    copy = tmp_path / "installation-operators"
    copy.write_bytes(FILE.read_bytes())
    copy.chmod(0o440)
    ran = subprocess.run(
        [VISUDO, "--check", "--strict", "--file", copy], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_it_allows_whole_commands_on_the_walls_own_units_alone():
    text = re.sub(r"(?m)^#.*\n", "", FILE.read_text()).replace("\\\n", "")
    alias, rule = (line.strip() for line in text.splitlines() if line.strip())
    assert rule == "%installation-operators ALL = (root) NOPASSWD: INSTALLATION_OPERATE"
    commands = [" ".join(each.split()) for each in alias.partition("=")[2].split(",")]
    units = {each.name.removesuffix(".service") for each in (ROOT / "systemd").glob("*.service")}
    for command in commands:
        program, verb, unit = command.split(" ")
        assert program == "/usr/bin/systemctl" and verb in ("start", "stop", "restart", "reload")
        assert unit in units
        assert not set("*?[!") & set(command)


def test_nothing_installs_it():
    # What the installer takes for a unit is called installation.
    assert not FILE.name.startswith("installation")
    assert FILE.name not in (ROOT / "systemd" / "install").read_text()


def test_the_technicians_page_says_how_to_put_it_in_place():
    page = (ROOT / "docs" / "operations.md").read_text()
    commands = re.findall(r"(?m)^#   (.+)$", FILE.read_text().replace(" \\\n#       ", " "))
    assert len(commands) == 3
    for command in commands:
        assert command in page.replace(" \\\n        ", " ")
