"""What the units promise, and that systemd takes them."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest

from tests.paths import ROOT

SYSTEMD = ROOT / "systemd"
UNITS = sorted(path for path in SYSTEMD.iterdir() if path.suffix in (".service", ".path", ".timer"))
WEB = ("installation-web.service", "installation-web@.service")
WITH_ENGINES = ("installation.service", "installation-engines.service", *WEB)
ANALYZE = shutil.which("systemd-analyze")


class _Repeated(dict):
    """A key that stands there twice has both values."""

    def __setitem__(self, key, value):
        if isinstance(value, list) and isinstance(self.get(key), list):
            self[key].extend(value)
        else:
            super().__setitem__(key, value)


def read(name):
    parser = RawConfigParser(strict=False, dict_type=_Repeated, interpolation=None)
    parser.optionxform = str
    parser.read(SYSTEMD / name)
    return {section: dict(parser[section]) for section in parser.sections()}


@pytest.fixture
def wall():
    return read("installation.service")


def _version():
    said = subprocess.run([ANALYZE, "--version"], capture_output=True, text=True, check=True)
    return int(re.match(r"systemd (\d+)", said.stdout)[1])


@pytest.fixture
def unpacked(tmp_path):
    """The units, with commands that are on any machine."""
    for unit in UNITS:
        text = re.sub(
            r"(/opt/installation/current|/usr/bin/(Xorg|xrandr))\S*", "/bin/true", unit.read_text()
        )
        (tmp_path / unit.name).write_text(text)
    return tmp_path


@pytest.mark.skipif(not ANALYZE, reason="no systemd-analyze here")
def test_systemd_understands_the_units(unpacked):
    ran = subprocess.run(
        [ANALYZE, "verify", "--man=no", *sorted(unpacked.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in ran.stderr.splitlines() if "installation" in line]
    assert complaints == []


@pytest.mark.skipif(not ANALYZE, reason="no systemd-analyze here")
def test_systemd_understands_the_unit_of_the_server(tmp_path):
    text = (SYSTEMD / "server/installation-server.service").read_text()
    # Reached from this machine alone unless somebody says otherwise.
    assert "Environment=ADDRESS=127.0.0.1 " in text
    assert re.findall(r"--publish (\S+)", text) == ["${ADDRESS}:8001:8001", "${ADDRESS}:8002:8002"]
    # One folder; the variable would hold both.
    assert "--volume %S/installation-server/models:/models:ro" in text
    unit = tmp_path / "installation-server.service"
    unit.write_text(text.replace("/usr/bin/podman", "/bin/true"))
    command = [ANALYZE, "verify", "--man=no", unit]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in ran.stderr.splitlines() if "installation" in line] == []


@pytest.mark.skipif(not ANALYZE, reason="no systemd-analyze here")
@pytest.mark.parametrize("name", WITH_ENGINES)
def test_little_is_exposed(unpacked, name):
    if _version() < 250:
        pytest.skip("systemd-analyze judges files from version 250 on")
    ran = subprocess.run(
        [ANALYZE, "security", "--offline=yes", "--threshold=20", "--no-pager", unpacked / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-200:] + ran.stderr


@pytest.mark.parametrize("unit", ["installation.service", "installation-display.service"])
def test_wall_and_screen_are_started_again_for_ever(unit):
    unit = read(unit)
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


def test_a_hang_is_noticed_within_fifteen_seconds(wall):
    service = wall["Service"]
    assert service["Type"] == "notify"
    worst = sum(int(service[key]) for key in ("WatchdogSec", "RestartSec"))
    assert worst <= 15


def test_the_commands_that_are_started_exist():
    from installation.commands.cli import _parser

    for unit in WITH_ENGINES:
        words = read(unit)["Service"]["ExecStart"].replace("%i", "8081").split()
        assert words[0] == "/opt/installation/current/.venv/bin/installation"
        arguments = _parser().parse_args(words[1:])
        assert arguments.config == Path("/etc/installation/config.yaml")
    screen = read("installation-display.service")["Service"]
    lines = [*screen["ExecStartPre"].split("\n"), screen["ExecStartPost"]]
    assert [line.split()[1] for line in lines] == ["prepare", "link", "wait"]
    for line in lines:
        script = line.split()[0].removeprefix("-/opt/installation/current/").lstrip("/")
        assert (SYSTEMD / Path(script).name).stat().st_mode & 0o111


# Beside the release's own: what no Debian or Ubuntu with systemd is without.
ESSENTIAL = {"/bin/sh", "/bin/systemctl"}
# By the packages that the installer asks for.
INSTALLED = {"/usr/bin/Xorg": "xserver-xorg-core", "/usr/bin/xrandr": "x11-xserver-utils"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_its_commands_are_on_a_bare_machine(unit):
    packages = re.search(r'setup\.sh" packages (.*) >&2', (SYSTEMD / "install").read_text())
    for command in re.findall(r"^Exec\w+=(\S+)", unit.read_text(), re.MULTILINE):
        program = command.lstrip("-+@:!|")
        if program.startswith("/opt/installation/current/") or program in ESSENTIAL:
            continue
        # Elsewhere only what may be missing.
        assert command.startswith("-") or INSTALLED[program] in packages[1].split(), command


@pytest.mark.parametrize("unit", ("installation.service", *WEB))
def test_a_reload_takes_nothing_but_a_shell(unit, tmp_path):
    waiting = subprocess.Popen(
        [sys.executable, "-c", "import signal; print(signal.sigwait([signal.SIGHUP]).name)"],
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP]),
        stdout=subprocess.PIPE,
        text=True,
    )
    reload = shlex.split(read(unit)["Service"]["ExecReload"])
    environment = {"MAINPID": str(waiting.pid), "PATH": str(tmp_path)}
    try:
        subprocess.run(reload, env=environment, check=True)
        assert waiting.communicate(timeout=300)[0] == "SIGHUP\n"
    finally:
        waiting.kill()


def test_the_documentation_exists():
    for unit in UNITS:
        place = read(unit.name)["Unit"]["Documentation"]
        assert (ROOT / place.removeprefix("file:///opt/installation/current/")).is_file(), unit


def test_the_wall_asks_for_the_screen_but_depends_on_nothing(wall):
    assert "installation-display.service" in wall["Unit"]["Wants"]
    for unit in UNITS:
        told = read(unit.name)["Unit"]
        assert not {"Requires", "BindsTo", "PartOf", "Requisite"} & set(told), unit
    # A build of engines keeps nothing from starting.
    assert "Before" not in read("installation-engines.service")["Unit"]


@pytest.mark.parametrize("name", ["installation.service", "installation-display.service", *WEB])
def test_a_full_disk_keeps_nothing_from_starting(name):
    service = read(name)["Service"]
    # It takes folders on the disk.
    assert "PrivateTmp" not in service
    temporary = {each.partition(":")[0] for each in service["TemporaryFileSystem"].split()}
    assert {"/tmp", "/var/tmp"} <= temporary
    written = service.get("Environment", "") + service["ExecStart"]
    assert "XDG_CACHE_HOME=/tmp/" in written or "-logfile /run/" in written


def test_who_uses_the_screen_finds_its_socket_where_the_server_puts_it(wall):
    screen = read("installation-display.service")["Service"]
    socket = "/run/installation-display/socket"
    assert screen["BindPaths"] == f"{socket}:/tmp/.X11-unix"
    # A bind mount shows a folder that is made anew no longer.
    assert screen["RuntimeDirectoryPreserve"] == "yes"
    assert "installation-display/socket" in screen["RuntimeDirectory"].split()
    monitors = read("installation-monitors.service")["Service"]
    for service in (wall["Service"], monitors):
        assert service["BindReadOnlyPaths"] == f"-{socket}:/tmp/.X11-unix"
    assert f"socket={socket}/X0\n" in (SYSTEMD / "screen").read_text()


def test_pictures_stay_in_memory(wall):
    service = wall["Service"]
    assert service["LimitCORE"] == service["CoredumpFilter"] == service["MemorySwapMax"] == "0"


def test_nothing_but_this_machine_is_on_its_network(wall):
    assert wall["Service"]["IPAddressDeny"] == "any"
    assert wall["Service"]["IPAddressAllow"] == "localhost"


def test_what_saves_or_restarts_does_not_wake_a_wall_that_was_stopped():
    for unit in ("installation-config.service", "installation-restart.service"):
        assert " try-re" in read(unit)["Service"]["ExecStart"]


def test_what_is_saved_beside_the_config_is_noticed_too():
    watched = read("installation-config.path")["Path"]["PathChanged"].split("\n")
    config = Path("/etc/installation/config.yaml")
    assert watched == [str(config), str(config.with_suffix(".d"))]


# Tempting, but newer than 249, which is Ubuntu 22.04's.
NEWER = (
    "RestartSteps=",
    "RestartMaxDelaySec=",
    "RestartMode=",
    "TriggerLimit",
    "Type=notify-reload",
)


def test_all_of_it_is_known_to_the_oldest_systemd():
    for unit in UNITS:
        lines = unit.read_text().splitlines()
        assert not [line for line in lines if line.startswith(NEWER)], unit


def test_the_workers_of_the_web_are_as_confined_as_one_alone():
    one, several = (read(unit) for unit in WEB)
    assert several["Service"]["ExecStart"] == one["Service"]["ExecStart"].replace(
        " web ", " web --port %i "
    )
    for unit in (one, several):
        del unit["Service"]["ExecStart"], unit["Service"]["SocketBindAllow"]
        del unit["Unit"]["Description"]
    assert several == one


@pytest.mark.parametrize(
    ("name", "ports"), [(WEB[0], "tcp:8080"), (WEB[1], "tcp:8080-8089")], ids=WEB
)
def test_the_web_extension_reaches_nothing_and_is_reached_by_this_machine_alone(name, ports):
    unit = read(name)
    service = unit["Service"]
    assert service["LimitCORE"] == service["CoredumpFilter"] == service["MemorySwapMax"] == "0"
    assert (service["IPAddressDeny"], service["IPAddressAllow"]) == ("any", "localhost")
    assert (service["SocketBindDeny"], service["SocketBindAllow"]) == ("any", ports)
    assert not [device for device in service["DeviceAllow"].split("\n") if "video4linux" in device]
    # Whoever installs the wall has not asked for it.
    assert "installation-web" not in (SYSTEMD / "install").read_text().partition("needed=")[0]


def test_whoever_is_served_at_the_end_has_the_time_for_it():
    from installation.web.upload.server import GRACE

    for name in WEB:
        assert int(read(name)["Service"]["TimeoutStopSec"]) > GRACE + 5


def test_a_saved_config_reaches_all_that_read_it():
    told = read("installation-config.service")["Service"]["ExecStart"].split()
    assert {"installation.service", *WEB[:1], "installation-web@*.service"} <= set(told)
