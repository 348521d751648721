"""The installer, in a folder of its own, with the project's real files.

Fakes stand for what needs a network and minutes (creating a virtual environment and installing
packages) and, where a test needs it, for systemd as the init process.
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

from installation.config import loader as configuration
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
# The installed program; files in its release make it fail.
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
        *--check*)
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
    """A folder that stands for a machine, and a source tree to install on it."""

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
        self.fake("python3", PYTHON)
        self.fake("pip", PIP)
        self.fake("program", PROGRAM)

    def fake(self, name, script):
        text = textwrap.dedent(script).lstrip()
        text = text.format(python=sys.executable, root=self.root, bin=self.bin)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def start_systemd(self):
        (self.root / "run/systemd/system").mkdir(parents=True)
        self.fake("systemctl", SYSTEMCTL)

    def start_systemd_again(self):
        self.fake("systemctl", SYSTEMCTL)

    def change(self, name):
        """Make the tree another version; some names make the fake program fail."""
        (self.tree / "installation" / name).touch()

    def revert(self, name):
        (self.tree / "installation" / name).unlink()

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

    def fails(self, *arguments):
        """Expect the installation to fail; return the last line, which must say why."""
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
        """Return the modification time and content of every file."""
        return {
            path.relative_to(self.root): (path.lstat().st_mtime_ns, path.read_bytes())
            for path in self.root.rglob("*")
            if path.is_file() and path.suffix not in (".log", ".lock")
        }


@pytest.fixture
def machine(tmp_path):
    if not shutil.which("systemctl"):
        pytest.skip("systemctl is not installed")
    return Machine(tmp_path)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("script", ["systemd/install", "systemd/screen", "setup.sh"])
def test_shellcheck_finds_nothing(script):
    ran = subprocess.run(["shellcheck", ROOT / script], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_a_dry_run_prints_the_steps_and_changes_nothing(machine):
    ran = machine.installs("--dry-run")
    assert "would: build release" in ran.stdout
    assert list(machine.root.iterdir()) == []
    machine.installs()
    before = machine.contents()
    machine.change("changed")
    assert f" instead of {machine.current}" in machine.installs("--dry-run").stdout
    assert "would: remove" in machine.installs("--uninstall", "--purge", "--dry-run").stdout
    assert machine.contents() == before


def test_program_units_config_and_command_are_installed(machine):
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


def test_the_first_config_differs_only_in_its_paths(machine):
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
    machine.change("real")
    state = machine.root / "var/lib/installation"
    state.mkdir(parents=True)
    shutil.copytree(built, state / "engines", ignore=shutil.ignore_patterns("plans"))
    machine.installs()
    words = [line.split()[2] for line in machine.log("program").splitlines()]
    assert words == ["policy", "build", "list"]
    # And they are checks: a config that it does not know keeps a new version away.
    machine.config.write_text("camera:\n  sauce: 0\n")
    machine.change("changed")
    before = machine.current
    assert f"{machine.config}:2: camera.sauce" in machine.fails()
    assert machine.current == before


def test_a_second_run_changes_nothing(machine):
    machine.installs()
    before = machine.contents()
    machine.installs()
    assert machine.contents() == before


def test_an_upgrade_keeps_config_records_and_the_previous_release(machine):
    machine.installs()
    first = machine.current
    machine.config.write_text("# mine\n")
    state = machine.root / "var/lib/installation"
    (state / "record.sqlite").write_text("said")
    for version in ("second", "third"):
        before = machine.current
        machine.change(version)
        machine.installs()
        assert machine.releases == {before, machine.current}
    assert first not in machine.releases
    assert machine.config.read_text() == "# mine\n"
    assert (state / "record.sqlite").read_text() == "said"


def test_overlays_are_kept_like_the_config(machine):
    machine.installs()
    folder = machine.config.with_name("config.d")
    assert folder.stat().st_mode & 0o7777 == 0o2750
    (folder / "wall.yaml").write_text("# mine\n")
    folder.chmod(0o755)
    machine.change("changed")
    machine.installs()
    assert folder.stat().st_mode & 0o7777 == 0o755
    machine.installs("--uninstall")
    assert (folder / "wall.yaml").read_text() == "# mine\n"
    machine.installs("--uninstall", "--purge")
    assert not folder.exists()


def test_an_upgrade_creates_the_folder_for_overlays(machine):
    machine.installs()
    folder = machine.config.with_name("config.d")
    folder.rmdir()
    assert f"would: create {folder}" in machine.installs("--dry-run").stdout
    assert not folder.exists()
    machine.installs()
    assert folder.is_dir()


def test_packages_are_reused_if_the_requirements_are_the_same(machine):
    machine.installs()
    current = machine.root / "opt/installation/current"
    (current / ".venv/lib").mkdir()
    (current / ".venv/lib/numpy").write_text("big")
    machine.change("changed")
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
    machine.change("changed")
    machine.installs()
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no-network", "No matching distribution found for numpy"),
        ("cannot-build", "engines could not be built"),
        ("other-config", "config.yaml:3: camera.sauce: unknown key"),
        ("not-ready", "face-centerface missing"),
    ],
)
@pytest.mark.parametrize("upgrade", [False, True])
def test_a_version_that_fails_its_checks_is_not_installed(machine, fault, message, upgrade):
    if upgrade:
        machine.installs()
    before, units = machine.current, machine.contents() if upgrade else None
    machine.change(fault)
    assert message in machine.fails()
    assert machine.current == before
    if upgrade:
        after = machine.contents()
        assert {path: after[path] for path in units} == units
    machine.revert(fault)
    machine.installs()
    assert machine.current


def test_units_that_systemd_rejects_are_not_installed(machine):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    machine.installs()
    before = machine.current
    unit = machine.tree / "systemd/installation.service"
    unit.write_text(unit.read_text().replace("ExecStart=", "ExecStart=no/"))
    assert "systemd rejects its units: " in machine.fails()
    assert machine.current == before


@pytest.mark.parametrize("fault", ["never-comes-up", "falls-over"])
def test_a_version_that_does_not_keep_running_is_rolled_back(machine, fault):
    machine.start_systemd()
    machine.installs()
    before = machine.current
    unit = machine.tree / "systemd/installation.service"
    text = unit.read_text()
    unit.write_text(text + "# other\n")
    machine.change(fault)
    line = machine.fails()
    assert before in line
    assert "did not start" in line
    assert machine.current == before
    assert machine.releases == {before}
    assert (machine.units / unit.name).read_text() == text
    # The last request to systemd starts the old release.
    calls = machine.log("systemctl").splitlines()
    assert calls[-1].endswith("restart installation.service")
    assert calls[-2].endswith("daemon-reload")


def test_a_first_version_that_does_not_start_leaves_nothing_behind(machine):
    machine.start_systemd()
    machine.change("never-comes-up")
    machine.fails()
    assert machine.current is None
    assert machine.releases == set()
    assert not list(machine.units.glob("installation*"))


def test_only_what_has_changed_is_restarted(machine):
    machine.start_systemd()
    machine.installs()
    calls = len(machine.log("systemctl"))
    machine.installs()
    assert " restart " not in machine.log("systemctl")[calls:]
    calls = len(machine.log("systemctl"))
    machine.change("changed")
    machine.installs()
    assert "restart installation.service" in machine.log("systemctl")[calls:]
    assert "restart installation-display.service" not in machine.log("systemctl")[calls:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_while_installing_packages_the_old_release_stays(machine, number):
    machine.installs()
    before = machine.current
    machine.change("slow")
    running = subprocess.Popen(
        [machine.script],
        env=machine.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # Background jobs of a shell ignore SIGINT by default.
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


def test_interrupted_while_starting_it_rolls_back(machine):
    machine.start_systemd()
    machine.installs()
    before = machine.current
    machine.change("changed")
    running = subprocess.Popen(
        [machine.script],
        env=machine.environment | {"SETTLE": "600"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Background jobs of a shell ignore SIGINT by default.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 300
    while machine.current == before and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    output = running.communicate(timeout=300)[1]
    assert running.returncode == 1
    assert output.splitlines()[-1].endswith("it was interrupted")
    assert machine.current == before


def _wait_for(path):
    deadline = time.monotonic() + 300
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_installer_at_the_same_time_fails(machine):
    lock = machine.root / "run/installation.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another installation is running" in machine.fails()
    machine.installs()


def test_a_full_disk_is_reported_before_anything_changes(machine):
    machine.fake("df", "#!/bin/sh\necho Filesystem; echo /dev/sda 9000 8900 100 99% /\n")
    assert "has 100 MB left" in machine.fails()
    assert machine.current is None


def test_a_display_manager_keeps_the_screen_by_default(machine):
    link = machine.root / "etc/systemd/system/display-manager.service"
    link.parent.mkdir(parents=True)
    link.symlink_to("/lib/systemd/system/gdm.service")
    assert "gdm.service uses the screen" in machine.fails()
    assert machine.current is None
    machine.installs("--take-screen")
    assert not link.is_symlink()
    machine.installs()
    machine.installs("--uninstall")
    assert str(link.readlink()) == "/lib/systemd/system/gdm.service"


def test_uninstall_keeps_config_engines_and_records(machine):
    machine.installs()
    (machine.root / "var/lib/installation/record.sqlite").touch()
    machine.installs("--uninstall")
    left = {str(path) for path in machine.contents()}
    assert left == {"etc/installation/config.yaml", "var/lib/installation/record.sqlite"}
    wanted = machine.root / "etc/systemd/system/multi-user.target.wants"
    assert not wanted.is_dir() or not list(wanted.iterdir())
    # Uninstalling twice works, and so does installing again.
    machine.installs("--uninstall")
    machine.installs()
    assert machine.current


def test_a_missing_config_is_restored_from_the_last_good_one(machine):
    machine.installs()
    copy = machine.root / "var/lib/installation/config.last-good.yaml"
    copy.write_text("camera:\n  source: 7\n")
    machine.config.unlink()
    assert f"would: restore {machine.config} from the last good one, {copy}" in (
        machine.installs("--dry-run").stdout
    )
    assert not machine.config.exists()
    ran = machine.installs()
    assert f"restore {machine.config} from the last good one, {copy}" in ran.stderr
    assert machine.config.read_text() == copy.read_text()
    assert machine.config.stat().st_mode & 0o777 == 0o640


def test_a_config_link_is_kept_while_its_target_is_away(machine):
    machine.installs()
    machine.config.unlink()
    machine.config.symlink_to("/nowhere/config.yaml")
    machine.installs()
    assert str(machine.config.readlink()) == "/nowhere/config.yaml"


def test_wall_and_screen_are_stopped_together(machine):
    machine.start_systemd()
    machine.installs()
    machine.installs("--uninstall")
    (line,) = [line for line in machine.log("systemctl").splitlines() if " stop " in line]
    assert {"installation.service", "installation-display.service"} <= set(line.split())


def test_web_workers_are_restarted_one_after_the_other(machine):
    machine.start_systemd()
    machine.installs()
    workers = [f"installation-web@{port}.service" for port in (8081, 8082, 8083)]
    lines = [f"{worker} loaded active running The web" for worker in workers]
    (machine.root / "workers").write_text("\n".join(lines))
    machine.change("changed")
    machine.installs()
    calls = machine.log("systemctl").splitlines()
    assert [
        line.split()[-1] for line in calls if "try-restart installation-web@" in line
    ] == workers
    # One that does not start is reported, and those after it keep running.
    (machine.root / "broken").write_text(workers[1])
    machine.change("changed-again")
    before = len(calls)
    ran = machine.installs()
    assert f"{workers[1]} did not start" in ran.stderr
    assert not [
        line for line in machine.log("systemctl").splitlines()[before:] if workers[2] in line
    ]


def test_web_workers_are_uninstalled_too(machine):
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


def test_purge_leaves_nothing(machine):
    machine.installs()
    machine.installs("--uninstall", "--purge")
    assert machine.contents() == {}


def test_the_gpu_option_is_remembered(machine):
    machine.installs("--gpu")
    assert machine.current.endswith("-gpu")
    machine.change("changed")
    machine.installs()
    assert machine.current.endswith("-gpu")


@pytest.mark.parametrize("arguments", [["--purge"], ["--from", "x"], ["now"]])
def test_wrong_use_is_status_2(machine, arguments):
    assert machine.install(*arguments).returncode == 2


def test_it_needs_root():
    environment = {key: value for key, value in os.environ.items() if key != "ROOT"}
    as_nobody = []
    if os.getuid() == 0:
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    with tempfile.TemporaryDirectory() as folder:
        # Readable for other users.
        Path(folder).chmod(0o755)
        script = Path(folder, "systemd", "install")
        shutil.copytree(ROOT / "systemd", script.parent)
        for option in ([], ["--uninstall"]):
            ran = subprocess.run(
                [*as_nobody, script, *option], env=environment, capture_output=True, text=True
            )
            assert ran.returncode == 1
            assert "this needs root" in ran.stderr
            assert len(ran.stderr.splitlines()) == 1


def test_it_needs_systemd(machine):
    machine.bin.joinpath("systemctl").unlink(missing_ok=True)
    all_tools = machine.bin.parent / "all_tools"
    all_tools.mkdir()
    for folder in ("/bin", "/usr/bin", "/sbin", "/usr/sbin"):
        for tool in Path(folder).iterdir():
            link = all_tools / tool.name
            if tool.name != "systemctl" and not link.is_symlink():
                link.symlink_to(tool)
    environment = machine.environment | {"PATH": f"{machine.bin}:{all_tools}"}
    ran = subprocess.run([machine.script], env=environment, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "systemd was not found" in ran.stderr


def test_a_failed_activation_is_rolled_back(machine):
    machine.start_systemd()
    machine.installs()
    before = machine.current
    machine.change("changed")
    machine.fake(
        "systemctl",
        SYSTEMCTL.replace("case $* in", "case $* in\n        daemon-reload) exit 1 ;;", 1).replace(
            "daemon-reload) exit 1",
            "*daemon-reload*) [ -e {root}/once ] || { touch {root}/once; exit 1; }".replace(
                "{ touch", "{{ touch"
            ).replace("exit 1; }", "exit 1; }}"),
        ),
    )
    line = machine.fails()
    assert "could not be activated" in line
    assert machine.current == before


def test_a_version_that_cannot_open_its_engines_is_rolled_back(machine):
    machine.start_systemd()
    machine.installs()
    before = machine.current
    machine.change("changed")
    told = "does not work: person-mine: no engine here"
    machine.fake(
        "systemctl",
        SYSTEMCTL.replace("*MainPID*", f"*StatusText*) echo '{told}' ;;\n        *MainPID*"),
    )
    assert "did not start" in machine.fails()
    assert machine.current == before


def test_a_wall_without_a_camera_counts_as_started(machine):
    machine.start_systemd()
    told = "does not work: no camera there; 0.0 frames per second"
    machine.fake(
        "systemctl",
        SYSTEMCTL.replace("*MainPID*", f"*StatusText*) echo '{told}' ;;\n        *MainPID*"),
    )
    machine.installs()


def test_killed_during_activation_the_next_run_restarts_the_services(machine):
    machine.start_systemd()
    machine.installs()
    machine.change("changed")
    before = machine.current
    at = machine.root / "restarting"
    machine.fake(
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
    calls = len(machine.log("systemctl"))
    machine.installs()
    calls = machine.log("systemctl")[calls:]
    assert "restart installation.service" in calls
    assert "restart installation-display.service" in calls
    machine.installs()


def test_it_waits_until_the_engines_are_open(machine):
    machine.start_systemd()
    machine.fake(
        "systemctl",
        SYSTEMCTL.replace(
            "*MainPID*",
            "*StatusText*) n=$(cat {root}/n 2>/dev/null); echo x$n >{root}/n;\n"
            "            case $n in xxxx*) echo '30.0 frames per second' ;;\n"
            "                *) echo 'preparing 12%' ;; esac ;;\n"
            "        *MainPID*",
        ),
    )
    machine.installs()
    assert len((machine.root / "n").read_text()) > 4
