"""What technicians are told to do, as the user they are and the installation they have."""

import os
import subprocess
import sys

import pytest

from installation.runtime import advice
from tests.paths import ROOT

CODE = """
import os, sys
from pathlib import Path
from installation.runtime.advice import let_read
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
print(let_read(Path(sys.argv[1])))
"""


def test_a_checkout_is_built_by_its_command_and_a_wall_by_its_service(monkeypatch):
    assert advice.build_engines() == "installation engines build"
    assert advice.fetch_engines() == "installation engines fetch"
    monkeypatch.setattr(advice, "INSTALLED", ROOT)
    assert advice.build_engines() == "sudo systemctl start installation-engines"
    assert advice.fetch_engines().startswith("sudo installation engines fetch --config /etc/")


def advised(path, user):
    ran = subprocess.run(
        [sys.executable, "-c", CODE, str(path), str(user)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_service_is_let_read_by_its_group_and_people_are_told_to_use_sudo(tmp_path):
    config = tmp_path / "my config.yaml"
    config.touch(0o600)
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder.name.startswith(("pytest-", "popen-")):
            folder.chmod(0o755)
    said = advised(config, 987)
    assert said == f"sudo chgrp 987 '{config}' && sudo chmod g+rX '{config}'"
    assert advised(config, 1000) == "use sudo"
    # The folder is at fault, though the file may be read.
    config.chmod(0o644)
    tmp_path.chmod(0o700)
    assert advised(config, 987) == f"sudo chgrp 987 {tmp_path} && sudo chmod g+rX {tmp_path}"
    link = tmp_path.parent / f"{tmp_path.name}-link.yaml"
    link.symlink_to(config)
    assert f"chgrp 987 {tmp_path} " in advised(link, 987)
