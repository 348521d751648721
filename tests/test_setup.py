"""``setup.sh`` on a machine whose packages are played."""

import os
import subprocess
import textwrap

import pytest

from tests.paths import ROOT

SETUP = ROOT / "setup.sh"
# A bare machine: it knows what is installed, and what there is once it has fetched the lists.
TOOLS = {
    "apt-cache": """
        [ -e {root}/lists ] || exit 0
        if grep -qx "$2" {root}/available; then
            printf '%s:\n  Installed: (none)\n  Candidate: 1.2-3\n' "$2"
        elif grep -qx "$2" {root}/virtual; then
            printf '%s:\n  Installed: (none)\n  Candidate: (none)\n' "$2"
        fi
    """,
    "dpkg-query": """
        for package; do :; done
        ! grep -qx "$package" {root}/installed || echo 'install ok installed'
    """,
    "apt-get": """
        echo "$*" >>{root}/apt-get.log
        case $* in
            *update*) touch {root}/lists ;;
        esac
    """,
    "sudo": """
        [ "$1" != -n ] || shift
        exec "$@"
    """,
}


@pytest.fixture
def packages(tmp_path):
    """Ask for Debian packages where some are available and others installed; return apt-get's."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in TOOLS.items():
        text = "#!/bin/sh\n" + textwrap.dedent(script).format(root=tmp_path)
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    def ask(*wanted, available=(), virtual=(), installed=()):
        (tmp_path / "available").write_text("\n".join(available))
        (tmp_path / "virtual").write_text("\n".join(virtual))
        (tmp_path / "installed").write_text("\n".join(installed))
        ran = subprocess.run(
            [SETUP, "packages", *wanted],
            env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        log = tmp_path / "apt-get.log"
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    return ask


@pytest.mark.parametrize("glib", ["libglib2.0-0", "libglib2.0-0t64"])
def test_what_there_is_is_known_once_the_lists_are_there(packages, glib):
    update, install = packages("procps", available=[glib])
    assert "update" in update
    assert "install" in install and {glib, "procps", "python3-venv"} <= set(install)
    assert len([each for each in install if each.startswith("libglib")]) == 1


def test_a_package_that_others_merely_provide_cannot_be_installed(packages):
    _, install = packages(available=["libglib2.0-0"], virtual=["libglib2.0-0t64"])
    assert "libglib2.0-0" in install and "libglib2.0-0t64" not in install


def test_what_is_there_is_not_asked_for_again(packages):
    _, install = packages("procps", available=["libglib2.0-0"])
    wanted = install[install.index("--no-install-recommends") + 1 :]
    assert packages("procps", available=["libglib2.0-0"], installed=wanted) == [_, install]
