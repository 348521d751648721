"""The installer, below a folder of its own, with the project's real files.

What takes a network and minutes is played: making a virtual environment and what pip puts there.
So is systemd as the first process, where a test needs one.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from installation.config import model as configuration
from tests.paths import ROOT

PARTS = (
    "LICENSE README.md CHANGELOG.md config.yaml docs engines installation pyproject.toml setup.cfg"
    " setup.sh systemd"
)

PYTHON = """
    #!/bin/sh
    [ "$1" != -c ] || exec {python} "$@"
    for venv; do :; done
    mkdir -p "$venv/bin"
    cp "$(dirname "$0")/pip" "$venv/bin/pip"
"""
PIP = """
    #!/bin/sh
    if [ -e installation/no-network ]; then
        echo 'WARNING: Retrying' >&2
        echo 'ERROR: No matching distribution found for numpy<3,>=1.26' >&2
        exit 1
    fi
    [ ! -e installation/slow ] || {{ touch {root}/slow; sleep 60; }}
    cp "{bin}/program" .venv/bin/installation
"""
# The installed program. What it does badly is told by files in its release.
PROGRAM = """
    #!/bin/sh
    release=$(cd "$(dirname "$0")/../.." && pwd)
    echo "${{release##*/}} $*" >>{root}/program.log
    if [ -e "$release/installation/real" ]; then
        cd "$release" && PYTHONPATH=$release exec {python} -m installation "$@"
    fi
    case $* in
        *build*) ! [ -e "$release/installation/cannot-build" ] ;;
        *policy*)
            [ -e "$release/installation/other-config" ] || exit 0
            echo 'installation: /etc/installation/config.yaml:3: camera.sauce: unknown key' >&2
            exit 1 ;;
        *verify*)
            echo 'device ready (CPU)'
            [ -e "$release/installation/not-ready" ] || exit 0
            echo 'face-centerface missing'
            exit 1 ;;
    esac
"""
SYSTEMCTL = """
    #!/bin/sh
    echo "$*" >>{root}/systemctl.log
    wall={root}/opt/installation/current/installation
    case $* in
        *list-units*) cat {root}/workers 2>/dev/null || true ;;
        *"try-restart $(cat {root}/broken 2>/dev/null || echo none)"*) exit 1 ;;
        *'restart installation.service'*) [ ! -e "$wall/never-comes-up" ] ;;
        *MainPID*) [ ! -e "$wall/falls-over" ] && echo 42 || date +%N ;;
        *disable*display-manager*) exit 1 ;;
    esac
"""


class Machine:
    """A folder that stands for a machine, and a tree to install on it."""

    def __init__(self, folder):
        self.root = folder / "root"
        self.root.mkdir()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.tree = folder / "tree"
        self.tree.mkdir()
        for part in PARTS.split():
            if part in ("engines", "installation", "docs"):
                (self.tree / part).mkdir()
                (self.tree / part / "something").write_text(part)
            elif (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, self.tree / part)
            else:
                shutil.copy(ROOT / part, self.tree)
        self.play("python3", PYTHON)
        self.play("pip", PIP)
        self.play("program", PROGRAM)

    def play(self, name, script):
        text = textwrap.dedent(script).lstrip()
        text = text.format(python=sys.executable, root=self.root, bin=self.bin)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def start_systemd(self):
        (self.root / "run/systemd/system").mkdir(parents=True)
        self.play("systemctl", SYSTEMCTL)

    def start_systemd_again(self):
        self.play("systemctl", SYSTEMCTL)

    def spoil(self, how):
        """Make the tree another version, with a fault."""
        (self.tree / "installation" / how).touch()

    def mend(self, how):
        (self.tree / "installation" / how).unlink()

    @property
    def environment(self):
        path = f"{self.bin}:{os.environ['PATH']}"
        return os.environ | {"ROOT": str(self.root), "PATH": path, "SETTLE": "2"}

    @property
    def script(self):
        return self.tree / "systemd" / "install"

    def install(self, *arguments):
        return subprocess.run(
            [self.script, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def installs(self, *arguments):
        ran = self.install(*arguments)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran

    def refuses(self, *arguments):
        """Install in vain; return the last line, which has to say why."""
        ran = self.install(*arguments)
        assert ran.returncode == 1, ran.stdout + ran.stderr
        line = ran.stderr.splitlines()[-1]
        assert line.startswith("install: ")
        return line

    @property
    def current(self):
        """Name of the release that runs, or None."""
        link = self.root / "opt/installation/current"
        return link.readlink().name if link.is_symlink() and link.exists() else None

    @property
    def releases(self):
        folder = self.root / "opt/installation/releases"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    @property
    def config(self):
        return self.root / "etc/installation/config.yaml"

    @property
    def units(self):
        return self.root / "usr/local/lib/systemd/system"

    def log(self, name):
        path = self.root / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def contents(self):
        """All files below, with what stands in them and when they were written."""
        return {
            path.relative_to(self.root): (path.lstat().st_mtime_ns, path.read_bytes())
            for path in self.root.rglob("*")
            if path.is_file() and path.suffix not in (".log", ".lock")
        }


@pytest.fixture
def machine(tmp_path):
    if not shutil.which("systemctl"):
        pytest.skip("no systemctl here")
    return Machine(tmp_path)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck here")
@pytest.mark.parametrize("script", ["systemd/install", "systemd/screen", "setup.sh"])
def test_shellcheck_has_nothing_to_say(script):
    ran = subprocess.run(["shellcheck", ROOT / script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_dry_run_tells_all_and_changes_nothing(machine):
    ran = machine.installs("--dry-run")
    assert "would: make release" in ran.stdout
    assert list(machine.root.iterdir()) == []
    machine.installs()
    before = machine.contents()
    machine.spoil("changed")
    assert f"would: put {machine.current} off and " in machine.installs("--dry-run").stdout
    assert "would: remove" in machine.installs("--uninstall", "--purge", "--dry-run").stdout
    assert machine.contents() == before


def test_installed_are_program_units_config_and_command(machine):
    machine.installs()
    release = machine.root / "opt/installation/current"
    assert (release / ".venv/bin/installation").is_file()
    for unit in ROOT.glob("systemd/installation*.*"):
        if unit.suffix != ".sysusers":
            assert (machine.units / unit.name).read_text() == unit.read_text()
    wanted = machine.root / "etc/systemd/system/multi-user.target.wants"
    assert {path.name for path in wanted.iterdir()} == {
        "installation.service",
        "installation-display.service",
        "installation-config.path",
    }
    command = machine.root / "usr/local/bin/installation"
    assert str(command.readlink()) == "/opt/installation/current/.venv/bin/installation"
    assert (machine.root / "etc/X11/xorg.conf.d/90-installation.conf").is_file()
    assert machine.config.stat().st_mode & 0o777 == 0o640


def test_the_first_config_is_the_trees_with_state_where_it_is_kept(machine):
    machine.installs()
    state = machine.root / "var/lib/installation"
    config = configuration.load(machine.config)
    assert config.inference.engines == state / "engines"
    ours, theirs = machine.config.read_text().splitlines(), (ROOT / "config.yaml").read_text()
    different = [line for line in ours if line not in theirs.splitlines()]
    (schema,) = [line for line in ours if "$schema=" in line]
    assert schema.endswith("=/opt/installation/current/installation/config/schema.json")
    assert all(str(state) in line for line in different if "$schema" not in line)
    if "record.sqlite" in theirs:
        assert any(f"file: {state}/record.sqlite" in line for line in different)


def test_the_real_program_passes_its_checks(machine, built):
    for part in ("engines", "installation"):
        shutil.rmtree(machine.tree / part)
        ignored = shutil.ignore_patterns("__pycache__", "built")
        shutil.copytree(ROOT / part, machine.tree / part, ignore=ignored)
    machine.spoil("real")
    state = machine.root / "var/lib/installation"
    state.mkdir(parents=True)
    shutil.copytree(built, state / "engines", ignore=shutil.ignore_patterns("plans"))
    machine.installs()
    words = [line.split()[2] for line in machine.log("program").splitlines()]
    assert words == ["policy", "build", "verify"]
    # And they are checks: a config that it does not know keeps a new version away.
    machine.config.write_text("camera:\n  sauce: 0\n")
    machine.spoil("changed")
    before = machine.current
    assert f"{machine.config}:2: camera.sauce" in machine.refuses()
    assert machine.current == before


def test_a_second_time_changes_nothing(machine):
    machine.installs()
    before = machine.contents()
    machine.installs()
    assert machine.contents() == before


def test_an_upgrade_keeps_config_engines_records_and_one_release_to_go_back_to(machine):
    machine.installs()
    first = machine.current
    machine.config.write_text("# mine\n")
    state = machine.root / "var/lib/installation"
    (state / "record.sqlite").write_text("said")
    for version in ("second", "third"):
        before = machine.current
        machine.spoil(version)
        machine.installs()
        assert machine.releases == {before, machine.current}
    assert first not in machine.releases
    assert machine.config.read_text() == "# mine\n"
    assert (state / "record.sqlite").read_text() == "said"


def test_what_this_wall_alone_has_is_config(machine):
    machine.installs()
    folder = machine.config.with_name("config.d")
    assert folder.stat().st_mode & 0o7777 == 0o2750
    (folder / "wall.yaml").write_text("# mine\n")
    folder.chmod(0o755)
    machine.spoil("changed")
    machine.installs()
    assert folder.stat().st_mode & 0o7777 == 0o755
    machine.installs("--uninstall")
    assert (folder / "wall.yaml").read_text() == "# mine\n"
    machine.installs("--uninstall", "--purge")
    assert not folder.exists()


def test_a_machine_from_before_gets_a_folder_for_it(machine):
    machine.installs()
    folder = machine.config.with_name("config.d")
    folder.rmdir()
    assert f"would: make {folder}" in machine.installs("--dry-run").stdout
    assert not folder.exists()
    machine.installs()
    assert folder.is_dir()


def test_packages_are_taken_over_from_the_release_before_if_the_same_are_wanted(machine):
    machine.installs()
    current = machine.root / "opt/installation/current"
    (current / ".venv/lib").mkdir()
    (current / ".venv/lib/numpy").write_text("big")
    machine.spoil("changed")
    machine.installs()
    assert (current / ".venv/lib/numpy").read_text() == "big"
    pins = machine.tree / "setup.cfg"
    pins.write_text(pins.read_text() + "# others\n")
    machine.installs()
    assert not (current / ".venv/lib").exists()


def test_units_that_a_version_no_longer_has_are_removed(machine):
    machine.installs()
    (machine.tree / "systemd/installation-restart.timer").unlink()
    machine.installs()
    assert not (machine.units / "installation-restart.timer").exists()


def test_what_a_technician_disabled_stays_disabled(machine):
    machine.installs()
    link = machine.root / "etc/systemd/system/multi-user.target.wants/installation-config.path"
    link.unlink()
    machine.spoil("changed")
    machine.installs()
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("no-network", "No matching distribution found for numpy"),
        ("cannot-build", "engines were not built"),
        ("other-config", "config.yaml:3: camera.sauce: unknown key"),
        ("not-ready", "face-centerface missing"),
    ],
)
@pytest.mark.parametrize("upgrade", [False, True])
def test_a_version_that_fails_its_checks_is_not_installed(machine, fault, says, upgrade):
    if upgrade:
        machine.installs()
    before, units = machine.current, machine.contents() if upgrade else None
    machine.spoil(fault)
    assert says in machine.refuses()
    assert machine.current == before
    if upgrade:
        after = machine.contents()
        assert {path: after[path] for path in units} == units
    machine.mend(fault)
    machine.installs()
    assert machine.current


def test_units_that_systemd_does_not_take_are_not_installed(machine):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze here")
    machine.installs()
    before = machine.current
    unit = machine.tree / "systemd/installation.service"
    unit.write_text(unit.read_text().replace("ExecStart=", "ExecStart=no/"))
    assert "systemd does not take its units: " in machine.refuses()
    assert machine.current == before


@pytest.mark.parametrize("fault", ["never-comes-up", "falls-over"])
def test_a_version_that_does_not_stay_up_gives_way_to_the_one_before(machine, fault):
    machine.start_systemd()
    machine.installs()
    before = machine.current
    unit = machine.tree / "systemd/installation.service"
    text = unit.read_text()
    unit.write_text(text + "# other\n")
    machine.spoil(fault)
    line = machine.refuses()
    assert before in line
    assert "did not come up" in line
    assert machine.current == before
    assert machine.releases == {before}
    assert (machine.units / unit.name).read_text() == text
    # The last that was asked of systemd is to start the old one.
    asked = machine.log("systemctl").splitlines()
    assert asked[-1].endswith("restart installation.service")
    assert asked[-2].endswith("daemon-reload")


def test_a_first_version_that_does_not_come_up_leaves_nothing_behind(machine):
    machine.start_systemd()
    machine.spoil("never-comes-up")
    machine.refuses()
    assert machine.current is None
    assert machine.releases == set()
    assert not list(machine.units.glob("installation*"))


def test_only_what_has_changed_is_restarted(machine):
    machine.start_systemd()
    machine.installs()
    asked = len(machine.log("systemctl"))
    machine.installs()
    assert " restart " not in machine.log("systemctl")[asked:]
    asked = len(machine.log("systemctl"))
    machine.spoil("changed")
    machine.installs()
    assert "restart installation.service" in machine.log("systemctl")[asked:]
    assert "restart installation-display.service" not in machine.log("systemctl")[asked:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_while_packages_come_the_old_one_stays_and_the_next_run_mends(machine, number):
    machine.installs()
    before = machine.current
    machine.spoil("slow")
    running = subprocess.Popen(
        [machine.script],
        env=machine.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # What a shell starts in the background does not hear Ctrl-C by itself.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    _wait_for(machine.root / "slow")
    os.killpg(running.pid, number)
    assert running.wait(300) != 0
    assert machine.current == before
    (machine.bin / "pip").write_text(
        (machine.bin / "pip").read_text().replace("sleep 60", "sleep 0")
    )
    machine.installs()
    assert machine.current != before
    assert machine.releases == {before, machine.current}


def test_interrupted_while_the_new_one_proves_itself_the_old_one_comes_back(machine):
    machine.start_systemd()
    machine.installs()
    before = machine.current
    machine.spoil("changed")
    running = subprocess.Popen(
        [machine.script],
        env=machine.environment | {"SETTLE": "600"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell starts in the background does not hear Ctrl-C by itself.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 300
    while machine.current == before and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    said = running.communicate(timeout=300)[1]
    assert running.returncode == 1
    assert said.splitlines()[-1].endswith("it was interrupted")
    assert machine.current == before


def _wait_for(path):
    deadline = time.monotonic() + 300
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_at_a_time_are_one_too_many(machine):
    lock = machine.root / "run/installation.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another installation is at work" in machine.refuses()
    machine.installs()


def test_a_disk_that_is_too_full_is_said_before_anything_is_done(machine):
    machine.play("df", "#!/bin/sh\necho Filesystem; echo /dev/sda 9000 8900 100 99% /\n")
    assert "has 100 MB left" in machine.refuses()
    assert machine.current is None


def test_a_display_manager_keeps_the_screen_unless_told_otherwise(machine):
    link = machine.root / "etc/systemd/system/display-manager.service"
    link.parent.mkdir(parents=True)
    link.symlink_to("/lib/systemd/system/gdm.service")
    assert "gdm.service holds the screen" in machine.refuses()
    assert machine.current is None
    machine.installs("--take-screen")
    assert not link.is_symlink()
    machine.installs()
    machine.installs("--uninstall")
    assert str(link.readlink()) == "/lib/systemd/system/gdm.service"


def test_uninstalling_leaves_config_engines_and_records(machine):
    machine.installs()
    (machine.root / "var/lib/installation/record.sqlite").touch()
    machine.installs("--uninstall")
    left = {str(path) for path in machine.contents()}
    assert left == {"etc/installation/config.yaml", "var/lib/installation/record.sqlite"}
    wanted = machine.root / "etc/systemd/system/multi-user.target.wants"
    assert not wanted.is_dir() or not list(wanted.iterdir())
    # Once more is no trouble, and neither is coming back.
    machine.installs("--uninstall")
    machine.installs()
    assert machine.current


def test_a_config_that_is_gone_comes_back_as_it_was_good_last(machine):
    machine.installs()
    copy = machine.root / "var/lib/installation/config.last-good.yaml"
    copy.write_text("camera:\n  source: 7\n")
    machine.config.unlink()
    assert f"would: write {machine.config}, which is gone, from the last good one, {copy}" in (
        machine.installs("--dry-run").stdout
    )
    assert not machine.config.exists()
    ran = machine.installs()
    assert f"write {machine.config}, which is gone, from the last good one, {copy}" in ran.stderr
    assert machine.config.read_text() == copy.read_text()
    assert machine.config.stat().st_mode & 0o777 == 0o640


def test_a_config_that_is_a_link_stays_one_while_its_folder_is_away(machine):
    machine.installs()
    machine.config.unlink()
    machine.config.symlink_to("/nowhere/config.yaml")
    machine.installs()
    assert str(machine.config.readlink()) == "/nowhere/config.yaml"


def test_wall_and_screen_are_stopped_together_lest_one_starts_the_other(machine):
    machine.start_systemd()
    machine.installs()
    machine.installs("--uninstall")
    (line,) = [line for line in machine.log("systemctl").splitlines() if " stop " in line]
    assert {"installation.service", "installation-display.service"} <= set(line.split())


def test_workers_of_the_web_are_renewed_one_after_the_other(machine):
    machine.start_systemd()
    machine.installs()
    workers = [f"installation-web@{port}.service" for port in (8081, 8082, 8083)]
    lines = [f"{worker} loaded active running The web" for worker in workers]
    (machine.root / "workers").write_text("\n".join(lines))
    machine.spoil("changed")
    machine.installs()
    asked = machine.log("systemctl").splitlines()
    assert [
        line.split()[-1] for line in asked if "try-restart installation-web@" in line
    ] == workers
    # One that does not come up is said, and those after it answer still.
    (machine.root / "broken").write_text(workers[1])
    machine.spoil("changed-again")
    before = len(asked)
    ran = machine.installs()
    assert f"{workers[1]} did not come up" in ran.stderr
    assert not [
        line for line in machine.log("systemctl").splitlines()[before:] if workers[2] in line
    ]


def test_workers_of_the_web_go_with_the_rest(machine):
    machine.installs()
    wanted = machine.root / "etc/systemd/system/multi-user.target.wants"
    for port in (8081, 8082):
        subprocess.run(
            ["systemctl", f"--root={machine.root}", "-q", "enable", f"installation-web@{port}"],
            check=True,
        )
    assert len(list(wanted.glob("installation-web@*"))) == 2
    machine.installs("--uninstall")
    assert not list(wanted.glob("installation-web@*"))
    machine.installs()
    machine.start_systemd()
    machine.installs("--uninstall")
    (line,) = [line for line in machine.log("systemctl").splitlines() if " stop " in line]
    assert "installation-web@*.service" in line.split()


def test_purging_leaves_nothing(machine):
    machine.installs()
    machine.installs("--uninstall", "--purge")
    assert machine.contents() == {}


def test_what_a_graphics_card_needs_is_remembered(machine):
    machine.installs("--gpu")
    assert machine.current.endswith("-gpu")
    machine.spoil("changed")
    machine.installs()
    assert machine.current.endswith("-gpu")


@pytest.mark.parametrize("arguments", [["--purge"], ["--from", "x"], ["now"]])
def test_wrong_use_is_status_2(machine, arguments):
    assert machine.install(*arguments).returncode == 2


def test_it_takes_root():
    environment = {key: value for key, value in os.environ.items() if key != "ROOT"}
    as_nobody = []
    if os.getuid() == 0:
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with tempfile.TemporaryDirectory() as folder:
        # Others than root have to find it.
        Path(folder).chmod(0o755)
        script = Path(folder, "systemd", "install")
        shutil.copytree(ROOT / "systemd", script.parent)
        for option in ([], ["--uninstall"]):
            ran = subprocess.run(
                [*as_nobody, script, *option], env=environment, capture_output=True, text=True
            )
            assert ran.returncode == 1
            assert "this takes root" in ran.stderr
            assert len(ran.stderr.splitlines()) == 1


def test_it_takes_systemd(machine):
    machine.bin.joinpath("systemctl").unlink(missing_ok=True)
    everything = machine.bin.parent / "everything"
    everything.mkdir()
    for folder in ("/bin", "/usr/bin", "/sbin", "/usr/sbin"):
        for tool in Path(folder).iterdir():
            link = everything / tool.name
            if tool.name != "systemctl" and not link.is_symlink():
                link.symlink_to(tool)
    environment = machine.environment | {"PATH": f"{machine.bin}:{everything}"}
    ran = subprocess.run([machine.script], env=environment, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "no systemd here" in ran.stderr


def test_what_cannot_be_put_in_place_is_taken_back(machine):
    machine.start_systemd()
    machine.installs()
    before = machine.current
    machine.spoil("changed")
    machine.play(
        "systemctl",
        SYSTEMCTL.replace("case $* in", "case $* in\n        daemon-reload) exit 1 ;;", 1).replace(
            "daemon-reload) exit 1",
            "*daemon-reload*) [ -e {root}/once ] || { touch {root}/once; exit 1; }".replace(
                "{ touch", "{{ touch"
            ).replace("exit 1; }", "exit 1; }}"),
        ),
    )
    line = machine.refuses()
    assert "could not be put in place" in line
    assert machine.current == before


def test_a_version_that_cannot_open_its_engines_gives_way_to_the_one_before(machine):
    machine.start_systemd()
    machine.installs()
    before = machine.current
    machine.spoil("changed")
    told = "does not work: person-mine: no engine here"
    machine.play(
        "systemctl",
        SYSTEMCTL.replace("*MainPID*", f"*StatusText*) echo '{told}' ;;\n        *MainPID*"),
    )
    assert "did not come up" in machine.refuses()
    assert machine.current == before


def test_a_wall_without_a_camera_is_a_wall(machine):
    machine.start_systemd()
    told = "does not work: no camera there; 0.0 pictures a second"
    machine.play(
        "systemctl",
        SYSTEMCTL.replace("*MainPID*", f"*StatusText*) echo '{told}' ;;\n        *MainPID*"),
    )
    machine.installs()


def test_killed_in_the_middle_of_the_switch_the_next_run_restarts_what_is_old(machine):
    machine.start_systemd()
    machine.installs()
    machine.spoil("changed")
    before = machine.current
    at = machine.root / "restarting"
    machine.play(
        "systemctl",
        SYSTEMCTL.replace(
            "*'restart installation.service'*)",
            f"*'restart installation.service') touch {at}; sleep 60 ;;\n"
            "        *'restart installation.service'*)",
        ),
    )
    running = subprocess.Popen(
        [machine.script], env=machine.environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    _wait_for(at)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait(30)
    assert machine.current != before
    machine.start_systemd_again()
    asked = len(machine.log("systemctl"))
    machine.installs()
    asked = machine.log("systemctl")[asked:]
    assert "restart installation.service" in asked
    assert "restart installation-display.service" in asked
    machine.installs()


def test_it_waits_until_the_engines_are_open(machine):
    machine.start_systemd()
    machine.play(
        "systemctl",
        SYSTEMCTL.replace(
            "*MainPID*",
            "*StatusText*) n=$(cat {root}/n 2>/dev/null); echo x$n >{root}/n;\n"
            "            case $n in xxxx*) echo '30.0 pictures a second' ;;\n"
            "                *) echo 'preparing 12%' ;; esac ;;\n"
            "        *MainPID*",
        ),
    )
    machine.installs()
    assert len((machine.root / "n").read_text()) > 4
