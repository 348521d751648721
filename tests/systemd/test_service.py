"""The units: valid for systemd, confined, and restarted for ever."""

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
    """Collects the values of repeated keys."""

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
    ran = subprocess.run([ANALYZE, "--version"], capture_output=True, text=True, check=True)
    return int(re.match(r"systemd (\d+)", ran.stdout)[1])


@pytest.fixture
def unpacked(tmp_path):
    """Return a folder with the units, with commands that every machine has."""
    for unit in UNITS:
        text = re.sub(
            r"(/opt/installation/current|/usr/bin/(Xorg|xrandr))\S*", "/bin/true", unit.read_text()
        )
        (tmp_path / unit.name).write_text(text)
    return tmp_path


@pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")
def test_the_units_are_valid(unpacked):
    ran = subprocess.run(
        [ANALYZE, "verify", "--man=no", *sorted(unpacked.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    problems = [line for line in ran.stderr.splitlines() if "installation" in line]
    assert problems == []


@pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")
def test_the_unit_of_the_inference_server_is_valid(tmp_path):
    text = (SYSTEMD / "server/installation-server.service").read_text()
    # By default only this machine can reach it.
    assert "Environment=ADDRESS=127.0.0.1 " in text
    assert re.findall(r"--publish (\S+)", text) == ["${ADDRESS}:8001:8001", "${ADDRESS}:8002:8002"]
    # Not $STATE_DIRECTORY, which would contain both folders.
    assert "--volume %S/installation-server/models:/models:ro" in text
    unit = tmp_path / "installation-server.service"
    unit.write_text(text.replace("/usr/bin/podman", "/bin/true"))
    command = [ANALYZE, "verify", "--man=no", unit]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [line for line in ran.stderr.splitlines() if "installation" in line] == []


@pytest.mark.skipif(not ANALYZE, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", WITH_ENGINES)
def test_the_units_are_confined(unpacked, name):
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
def test_wall_and_screen_restart_for_ever(unit):
    unit = read(unit)
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


def test_a_hang_ends_within_fifteen_seconds(wall):
    service = wall["Service"]
    assert service["Type"] == "notify"
    worst = sum(int(service[key]) for key in ("WatchdogSec", "RestartSec"))
    assert worst <= 15


def test_the_commands_that_are_started_exist():
    from installation.commands.cli import make_parser

    for unit in WITH_ENGINES:
        words = read(unit)["Service"]["ExecStart"].replace("%i", "8081").split()
        assert words[0] == "/opt/installation/current/.venv/bin/installation"
        arguments = make_parser().parse_args(words[1:])
        assert arguments.config == Path("/etc/installation/config.yaml")
    screen = read("installation-display.service")["Service"]
    lines = [*screen["ExecStartPre"].split("\n"), screen["ExecStartPost"]]
    assert [line.split()[1] for line in lines] == ["prepare", "link", "wait"]
    for line in lines:
        script = line.split()[0].removeprefix("-/opt/installation/current/").lstrip("/")
        assert (SYSTEMD / Path(script).name).stat().st_mode & 0o111


# On every Debian or Ubuntu with systemd.
ESSENTIAL = {"/bin/sh", "/bin/systemctl"}
# From the packages that the installer installs.
INSTALLED = {"/usr/bin/Xorg": "xserver-xorg-core", "/usr/bin/xrandr": "x11-xserver-utils"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_commands_are_available_on_a_bare_machine(unit):
    packages = re.search(r'setup\.sh" packages (.*) >&2', (SYSTEMD / "install").read_text())
    for command in re.findall(r"^Exec\w+=(\S+)", unit.read_text(), re.MULTILINE):
        program = command.lstrip("-+@:!|")
        if program.startswith("/opt/installation/current/") or program in ESSENTIAL:
            continue
        # Other commands must be allowed to fail.
        assert command.startswith("-") or INSTALLED[program] in packages[1].split(), command


@pytest.mark.parametrize("unit", ("installation.service", *WEB))
def test_a_reload_needs_nothing_but_a_shell(unit, tmp_path):
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


def test_the_wall_wants_the_screen_but_requires_nothing(wall):
    assert "installation-display.service" in wall["Unit"]["Wants"]
    for unit in UNITS:
        section = read(unit.name)["Unit"]
        assert not {"Requires", "BindsTo", "PartOf", "Requisite"} & set(section), unit
    # A build of engines must not delay the wall.
    assert "Before" not in read("installation-engines.service")["Unit"]


@pytest.mark.parametrize("name", ["installation.service", "installation-display.service", *WEB])
def test_the_services_start_on_a_full_disk(name):
    service = read(name)["Service"]
    # It creates folders on the disk.
    assert "PrivateTmp" not in service
    temporary = {each.partition(":")[0] for each in service["TemporaryFileSystem"].split()}
    assert {"/tmp", "/var/tmp"} <= temporary
    written = service.get("Environment", "") + service["ExecStart"]
    assert "XDG_CACHE_HOME=/tmp/" in written or "-logfile /run/" in written


def test_clients_find_the_socket_of_the_x_server(wall):
    screen = read("installation-display.service")["Service"]
    socket = "/run/installation-display/socket"
    assert screen["BindPaths"] == f"{socket}:/tmp/.X11-unix"
    # A bind mount does not follow when the folder is created again.
    assert screen["RuntimeDirectoryPreserve"] == "yes"
    assert "installation-display/socket" in screen["RuntimeDirectory"].split()
    monitors = read("installation-monitors.service")["Service"]
    for service in (wall["Service"], monitors):
        assert service["BindReadOnlyPaths"] == f"-{socket}:/tmp/.X11-unix"
    assert f"socket={socket}/X0\n" in (SYSTEMD / "screen").read_text()


def test_images_stay_in_memory(wall):
    service = wall["Service"]
    assert service["LimitCORE"] == service["CoredumpFilter"] == service["MemorySwapMax"] == "0"


def test_the_wall_reaches_only_this_machine(wall):
    assert wall["Service"]["IPAddressDeny"] == "any"
    assert wall["Service"]["IPAddressAllow"] == "localhost"


def test_reloads_and_nightly_restarts_do_not_start_a_stopped_wall():
    for unit in ("installation-config.service", "installation-restart.service"):
        assert " try-re" in read(unit)["Service"]["ExecStart"]


def test_overlays_are_watched_like_the_config():
    watched = read("installation-config.path")["Path"]["PathChanged"].split("\n")
    config = Path("/etc/installation/config.yaml")
    assert watched == [str(config), str(config.with_suffix(".d"))]


# Not available in systemd 249 (Ubuntu 22.04).
NEWER = (
    "RestartSteps=",
    "RestartMaxDelaySec=",
    "RestartMode=",
    "TriggerLimit",
    "Type=notify-reload",
)


def test_the_units_use_nothing_newer_than_the_oldest_systemd():
    for unit in UNITS:
        lines = unit.read_text().splitlines()
        assert not [line for line in lines if line.startswith(NEWER)], unit


def test_several_web_workers_are_as_confined_as_one():
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
def test_the_web_extension_communicates_only_with_this_machine(name, ports):
    unit = read(name)
    service = unit["Service"]
    assert service["LimitCORE"] == service["CoredumpFilter"] == service["MemorySwapMax"] == "0"
    assert (service["IPAddressDeny"], service["IPAddressAllow"]) == ("any", "localhost")
    assert (service["SocketBindDeny"], service["SocketBindAllow"]) == ("any", ports)
    assert not [device for device in service["DeviceAllow"].split("\n") if "video4linux" in device]
    # Installing the wall does not enable it.
    assert "installation-web" not in (SYSTEMD / "install").read_text().partition("needed_mb=")[0]


def test_the_stop_timeout_leaves_time_for_images_in_flight():
    from installation.web.upload.timing import WebTiming

    for name in WEB:
        assert int(read(name)["Service"]["TimeoutStopSec"]) > WebTiming().drain_timeout_s + 5


def test_a_saved_config_reloads_wall_and_web():
    words = read("installation-config.service")["Service"]["ExecStart"].split()
    assert {"installation.service", *WEB[:1], "installation-web@*.service"} <= set(words)
