#!/usr/bin/env python3
"""Tests a machine from installation to removal, and prints a table.

The machine is a Debian or Ubuntu with systemd, a camera and a screen, on which you can run
commands as root; a virtual machine will do. It is changed thoroughly, so take one that nobody
needs:

    acceptance.py --run 'ssh root@machine' [HOOKS] [ROW ...]

Hooks are commands that do what needs hands. Rows without their hook are skipped, and the table says
so. The exit status is 1 if a row failed. The camera has to show something that moves and is not the
same on both sides.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parent.parent.parent
THERE = "/var/tmp/installation-under-test"
CONFIG = "/etc/installation/config.yaml"
OVERLAY = "/etc/installation/config.d/acceptance.yaml"
WALL = "installation.service"
# What each hook does.
HOOKS = {
    "run": "CMD 'COMMAND' runs a line of shell on the machine, with its input",
    "camera": "CMD unplug | plug | stall | resume | break does that to the camera",
    "screenshot": "CMD OUT.png saves what the screen shows",
    "power-cut": "CMD cuts the power and restores it",
    "reboot": "CMD restarts the machine (default: systemctl reboot, through --run)",
}


class WrongError(Exception):
    """Something else was seen than expected."""


class Machine:
    """A machine far away, and what can be done to it."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._run = shlex.split(arguments.run)
        self._hooks = {
            name: shlex.split(getattr(arguments, name) or "")
            for name in ("camera", "screenshot", "power_cut", "reboot")
        }
        self._patience = arguments.patience
        self.faces = arguments.faces
        self.settings = [each.split("=", 1) for each in arguments.set]
        self._shots = Path(arguments.shots or tempfile.mkdtemp(prefix="acceptance-"))
        self._shots.mkdir(parents=True, exist_ok=True)
        self._taken = 0

    def has(self, hook: str) -> bool:
        """Tell whether hands were given for this."""
        return bool(self._hooks[hook])

    def ask(self, script: str, given: bytes = b"", limit: float = 1800) -> tuple[int, str]:
        """Run a line of shell; return its exit status and all it said."""
        try:
            ran = subprocess.run(
                [*self._run, script],
                input=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124, f"nothing came back in {limit:g} s"
        return ran.returncode, ran.stdout.decode(errors="replace").strip()

    def do(self, script: str, given: bytes = b"") -> str:
        """Run a line of shell that has to succeed; return what it said."""
        status, said = self.ask(script, given)
        if status:
            last = said.splitlines()[-1] if said else "without a word"
            raise WrongError(f"status {status}: {last}")
        return said

    def hook(self, name: str, *arguments: str) -> None:
        """Let hands do something."""
        ran = subprocess.run(
            [*self._hooks[name], *arguments], capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise WrongError(f"{name} {' '.join(arguments)}: {(ran.stdout + ran.stderr).strip()}")

    def until(self, seconds: float, holds: Callable[[], bool], what: str) -> float:
        """Wait for something to be true; return for how long."""
        start = time.monotonic()
        limit = seconds * self._patience
        while not holds():
            if time.monotonic() - start > limit:
                raise WrongError(f"not within {limit:.0f} s: {what}")
            time.sleep(0.5)
        return time.monotonic() - start

    # What it looks like.

    def shot(self) -> np.ndarray:
        """Return what is on the screen now, BGR; kept as a file too."""
        self._taken += 1
        path = self._shots / f"{self._taken:03}.png"
        self.hook("screenshot", str(path))
        picture = cv2.imread(str(path))
        if picture is None:
            raise WrongError("no screenshot came back")
        return picture

    def looks(self) -> str:
        """Tell what is on the screen: picture, still (one that stands), slate or dark."""
        first = self.shot()
        lit = float((first.max(axis=2) > 24).mean())
        if lit < 0.0005:
            return "dark"
        if lit < 0.3:
            return "slate"
        time.sleep(0.3)
        moved = np.abs(first.astype(int) - self.shot()).max(axis=2) > 24
        return "picture" if moved.mean() > 0.0002 else "still"

    def until_looks(self, like: str, seconds: float) -> str:
        """Wait until the screen looks like something; return how long that took, in words."""
        if not self.has("screenshot"):
            return "(not looked at)"
        waited = self.until(seconds, lambda: self.looks() == like, f"{like} on the screen")
        return f"{like} after {waited:.0f} s"

    # How it stands.

    def show(self, key: str, unit: str = WALL) -> str:
        """Return a property of a unit."""
        return self.do(f"systemctl show -p {key} --value {unit}")

    @property
    def pid(self) -> str:
        """The process of the wall; 0 if there is none."""
        return self.show("MainPID")

    def until_active(self, seconds: float = 90, not_pid: str = "0") -> str:
        """Wait until the wall is up, as another process than one before; return which."""

        def up() -> bool:
            return self.show("ActiveState") == "active" and self.pid not in ("0", not_pid)

        self.until(seconds, up, f"{WALL} active again")
        return self.pid

    def until_back(self, boot: str) -> None:
        """Wait until it has started anew, and finished that."""

        def back() -> bool:
            status, said = self.ask("cat /proc/sys/kernel/random/boot_id", limit=20)
            return status == 0 and said != boot

        self.until(180, back, "the machine is back")
        self.ask("systemctl is-system-running --wait", limit=180)

    @property
    def boot(self) -> str:
        """What tells this start of the machine from others."""
        return self.do("cat /proc/sys/kernel/random/boot_id")

    def now(self) -> str:
        """Return the machine's time, for `said`."""
        return self.do("date '+%F %T'")

    def said(self, since: str) -> str:
        """Return what the wall has written into the journal."""
        return self.do(f"journalctl -q -u {WALL} -o cat --since '{since}'")

    # What may be changed.

    def copy_tree(self) -> None:
        """Bring the project there."""
        names = subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        there = b"\0".join(
            name for name in names.split(b"\0") if name and (ROOT / name.decode()).is_file()
        )
        packed = subprocess.run(
            ["tar", "--null", "-T", "-", "-czf", "-"],
            cwd=ROOT,
            input=there,
            capture_output=True,
            check=True,
        ).stdout
        self.do(f"rm -rf {THERE} && mkdir {THERE} && tar -C {THERE} -xzf -", packed)

    def save(self, text: str) -> None:
        """Save the config as editors do: another file takes its place."""
        self.do(
            f"cat >{CONFIG}.tmp && chmod --reference {CONFIG} {CONFIG}.tmp && "
            f"chown --reference {CONFIG} {CONFIG}.tmp && mv {CONFIG}.tmp {CONFIG}",
            text.encode(),
        )

    def release(self) -> str:
        """Return which release is on the wall."""
        return self.do("readlink /opt/installation/current")


Row = Callable[[Machine], str]
ROWS: list[tuple[str, str, str, tuple[str, ...], Row]] = []


def row(does: str, expects: str, *hooks: str) -> Callable[[Row], Row]:
    """Add a row to the table: what is done, what is expected, and whose hands it takes."""

    def add(work: Row) -> Row:
        ROWS.append((work.__name__.replace("_", "-"), does, expects, hooks, work))
        return work

    return add


def expect(holds: bool, seen: str) -> str:
    """Return what was seen, or object to it."""
    if not holds:
        raise WrongError(seen)
    return seen


RECORD = "/var/lib/installation/record.sqlite"
PYTHON = "/opt/installation/current/.venv/bin/python"
IDS = f"""
from pathlib import Path
from installation.record.reader import open_readonly
path = Path("{RECORD}")
if path.exists():
    with open_readonly(path) as record:
        print(*(number for (number,) in record.execute("SELECT id FROM entry")))
"""


def words(machine: Machine, than: int = -1) -> set[str]:
    """Return the ids of the words in the record; where faces are shown, once they are more."""
    found: set[str] = set()

    def read() -> bool:
        status, said = machine.ask(f"cd / && runuser -u installation -- {PYTHON} -", IDS.encode())
        found.clear()
        found.update(said.split() if status == 0 else ())
        return status == 0 and (len(found) > than or not machine.faces)

    machine.until(120, read, f"more than {than} words in the record")
    return found


def kept(machine: Machine, before: set[str]) -> str:
    """Return how many words were recorded and are; object if one of before is missing."""
    now = words(machine, len(before))
    lost = before - now
    expect(not lost, f"{len(lost)} of {len(before)} words are missing in the record")
    return f"{len(before)} -> {len(now)} words"


# --- installation


@row("systemd/install --dry-run", "tells what it would do, changes nothing")
def dry_run(machine: Machine) -> str:
    machine.copy_tree()
    before = machine.do("ls -R /opt /etc/systemd /usr/local | md5sum")
    said = machine.do(f"{THERE}/systemd/install --dry-run")
    same = before == machine.do("ls -R /opt /etc/systemd /usr/local | md5sum")
    return expect(same and "would: build release" in said, f"{said.count('would:')} steps told")


@row("systemd/install", "installs, and the wall is up")
def install(machine: Machine) -> str:
    said = machine.do(f"{THERE}/systemd/install")
    if machine.settings:
        text = machine.do(f"cat {CONFIG}") + "\n"
        for path, value in machine.settings:
            text = setting(text, *path.split("."), value)
        machine.save(text)
        machine.do(f"systemctl restart {WALL}")
    state = machine.show("ActiveState")
    return expect(state == "active", f"{state}; {said.splitlines()[-1]}")


@row("systemd/install a second time", "nothing changes, the wall runs on")
def install_again(machine: Machine) -> str:
    pid = machine.until_active()
    said = machine.do(f"{THERE}/systemd/install")
    seen = f"{said.splitlines()[-2]}, process {pid} -> {machine.pid}"
    return expect(machine.pid == pid and "nothing has changed" in said, seen)


@row("look at the screen", "a picture that moves", "screenshot")
def picture(machine: Machine) -> str:
    return machine.until_looks("picture", 60)


@row("systemctl status installation", "a status line with frames per second and the camera")
def status(machine: Machine) -> str:
    def told() -> bool:
        return bool(re.search(r"\d", machine.show("StatusText")))

    machine.until(30, told, "a status line with figures")
    line = machine.show("StatusText")
    return expect("camera" in line, line)


@row("systemd-analyze security installation", "2.0 or less")
def exposure(machine: Machine) -> str:
    said = machine.do(f"systemd-analyze security --no-pager {WALL} | tail -n 1")
    found = re.search(r"(\d+\.\d+)", said)
    return expect(bool(found) and float(found[1]) <= 2.0, found[1] if found else said)


@row("look at the process", "own user, no core dump, no swap, no capability, loopback alone")
def confined(machine: Machine) -> str:
    pid = machine.until_active()
    user = machine.do(f"id -nu $(awk '/^Uid:/ {{ print $2 }}' /proc/{pid}/status)")
    core = machine.do(f"grep 'core file' /proc/{pid}/limits").split()[4]
    capable = machine.do(f"grep CapBnd /proc/{pid}/status").split()[1].strip("0")
    swap = machine.do(f"cat /sys/fs/cgroup/system.slice/{WALL}/memory.swap.max")
    ports = machine.do(f"ss -Hltunp | grep pid={pid}, || true").splitlines()
    open_ones = [
        line for line in ports if not re.search(r"(127\.0\.0\.1|\[::1\]):\d", line.split()[4])
    ]
    seen = f"{user}, core {core}, swap {swap}, capabilities {capable or 'none'}, {open_ones or '-'}"
    well = (user, core, capable, swap, open_ones) == ("installation", "0", "", "0", [])
    return expect(well, seen)


# --- starting with the machine


@row("restart the machine", "it comes up with a picture by itself")
def reboot(machine: Machine) -> str:
    start_anew(machine)
    return machine.until_looks("picture", 60)


def start_anew(machine: Machine) -> None:
    """Restart the machine, and wait for the wall."""
    boot = machine.boot
    if machine.has("reboot"):
        machine.hook("reboot")
    else:
        machine.ask("systemctl reboot", limit=30)
    machine.until_back(boot)
    machine.until_active()


@row("cut the power", "it comes up with a picture by itself", "power_cut")
def power_cut(machine: Machine) -> str:
    boot = machine.boot
    machine.hook("power_cut")
    machine.until_back(boot)
    machine.until_active()
    return machine.until_looks("picture", 60)


# --- the camera


@row("unplug the camera", "a slate, the same process", "camera", "screenshot")
def unplug(machine: Machine) -> str:
    pid = machine.until_active()
    machine.hook("camera", "unplug")
    seen = machine.until_looks("slate", 15)
    return expect(machine.pid == pid, seen)


@row("plug it in again", "a picture, the same process", "camera", "screenshot")
def plug(machine: Machine) -> str:
    pid = machine.until_active()
    machine.hook("camera", "plug")
    seen = machine.until_looks("picture", 10)
    return expect(machine.pid == pid, seen)


@row("let the camera stall", "a slate, the same process", "camera", "screenshot")
def stall(machine: Machine) -> str:
    pid = machine.until_active()
    machine.hook("camera", "stall")
    seen = machine.until_looks("slate", 20)
    return expect(machine.pid == pid, seen)


@row("let it go on", "a picture, the same process", "camera", "screenshot")
def resume(machine: Machine) -> str:
    pid = machine.until_active()
    machine.hook("camera", "resume")
    seen = machine.until_looks("picture", 20)
    return expect(machine.pid == pid, seen)


@row("break its stream", "a picture again, the same process", "camera", "screenshot")
def break_stream(machine: Machine) -> str:
    pid = machine.until_active()
    machine.hook("camera", "break")
    time.sleep(3)
    seen = machine.until_looks("picture", 20)
    return expect(machine.pid == pid, seen)


# --- the process and its screen


def again(machine: Machine, script: str) -> str:
    """Do something to the wall after which it has to come back; return how that looked."""
    pid = machine.until_active()
    start = time.monotonic()
    machine.do(script.format(pid=pid))
    machine.until_active(not_pid=pid)
    up = time.monotonic() - start
    return f"up after {up:.0f} s, {machine.until_looks('picture', 60)}"


@row("kill -9 the wall", "it is back")
def killed(machine: Machine) -> str:
    return again(machine, "kill -9 {pid}")


@row("kill -9 it ten times, fast", "it is back: no start limit")
def killed_often(machine: Machine) -> str:
    pid = machine.until_active()
    for _ in range(9):
        machine.do(f"kill -9 {pid}")
        pid = machine.until_active(not_pid=pid)
    return again(machine, "kill -9 {pid}")


@row("kill -STOP the wall", "the watchdog ends it, it is back")
def stopped(machine: Machine) -> str:
    since = machine.now()
    seen = again(machine, "kill -STOP {pid}")
    said = machine.said(since)
    return expect("atchdog" in said, seen)


@row("kill -9 the X server", "screen and wall are back")
def screen_killed(machine: Machine) -> str:
    script = "kill -9 $(systemctl show -p MainPID --value installation-display.service)"
    return again(machine, script)


@row("systemctl restart installation", "it is back")
def restart(machine: Machine) -> str:
    return again(machine, f"systemctl restart {WALL}")


@row("start the nightly restart by hand", "it is back; the timer can be enabled")
def nightly(machine: Machine) -> str:
    machine.do("systemctl enable --now installation-restart.timer")
    due = machine.show("NextElapseUSecRealtime", "installation-restart.timer")
    machine.do("systemctl disable --now installation-restart.timer")
    return f"{again(machine, 'systemctl start installation-restart.service')}; due {due}"


# --- the config


def setting(text: str, section: str, key: str, value: str) -> str:
    """Return a config with one key set, whether it and its section were there or not."""
    line = f"  {key}: {value}\n"
    inside = rf"(?m)^({section}:[^\n]*\n(?:(?:[ #][^\n]*)?\n)*?)  {key}:[^\n]*\n"
    text, count = re.subn(inside, lambda found: found[1] + line, text, count=1)
    if count:
        return text
    text, count = re.subn(rf"(?m)^{section}:[^\n]*\n", lambda found: found[0] + line, text)
    return text if count else f"{text}\n{section}:\n{line}"


@row("save a config that mirrors the other way", "it shows at once, the same process", "screenshot")
def good_config(machine: Machine) -> str:
    pid, text = machine.until_active(), machine.do(f"cat {CONFIG}") + "\n"
    before = lopsided(machine)
    try:
        machine.save(setting(text, "display", "mirror", "false"))
        waited = until_turned(machine, before)
        return expect(machine.pid == pid, f"turned after {waited:.0f} s")
    finally:
        machine.save(text)
        time.sleep(5)


def lopsided(machine: Machine) -> np.ndarray:
    """Return a picture that is not the same on both sides, once there is one."""
    found: list[np.ndarray] = []

    def differs() -> bool:
        found[:] = [machine.shot()]
        return _apart(found[0], found[0][:, ::-1]) > 16

    machine.until(60, differs, "a picture that is not the same on both sides")
    return found[0]


def until_turned(machine: Machine, before: np.ndarray) -> float:
    """Wait until the picture is the other way round than before; return for how long."""

    def turned() -> bool:
        now = machine.shot()
        return bool(_apart(now, before[:, ::-1]) < 0.5 * _apart(now, before))

    return machine.until(20, turned, "the picture the other way round")


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    size = (64, 36)
    small = [
        cv2.resize(each, size, interpolation=cv2.INTER_AREA).astype(int) for each in (one, other)
    ]
    return float(np.abs(small[0] - small[1]).mean())


@row("save a broken config", "the wall runs on, the journal says FILE:LINE")
def bad_config(machine: Machine) -> str:
    pid, text = machine.until_active(), machine.do(f"cat {CONFIG}") + "\n"
    since = machine.now()
    try:
        machine.save(setting(text, "camera", "fps", "many"))
        found: list[str] = []

        def told() -> bool:
            lines = machine.said(since).splitlines()
            found[:] = [line for line in lines if re.search(rf"{CONFIG}:\d+", line)]
            return bool(found)

        machine.until(20, told, f"{CONFIG}:LINE in the journal")
        return expect(machine.pid == pid, found[0])
    finally:
        machine.save(text)
        time.sleep(5)


@row("lay a file over the config, change it in place, take it away", "each shows, the same process")
def overlay(machine: Machine) -> str:
    pid, file = machine.until_active(), OVERLAY
    steps = (
        f"echo 'theme: {{text_scale: 2}}' >{file}",
        f"echo 'theme: {{text_scale: 3}}' >{file}",
        f"rm {file}",
    )
    try:
        for step in steps:
            since = machine.now()
            machine.do(step)

            def told(since: str = since) -> bool:
                return "configuration reloaded: theme.text_scale" in machine.said(since)

            machine.until(20, told, "configuration reloaded: theme.text_scale in the journal")
            time.sleep(5)
        return expect(machine.pid == pid, "taken up three times")
    finally:
        machine.do(f"rm -f {file}")


SHARED = "/srv/installation-under-test"


@row(
    "link the config into a shared folder; move its target away and back, swap the folder",
    "each shows, the same process, no word is lost",
    "screenshot",
)
def linked_config(machine: Machine) -> str:
    pid, text = machine.until_active(), machine.do(f"cat {CONFIG}") + "\n"
    before, picture = words(machine, 0), lopsided(machine)
    # Of one length and one time: what tells them apart is which files they are.
    as_before = setting(text, "display", "mirror", "true ")
    turned = setting(text, "display", "mirror", "false")
    files = {"shared/config.yaml": as_before, "other/config.yaml": turned, "shared/new": turned}
    machine.do(f"rm -rf {SHARED} && mkdir -p {SHARED}/shared {SHARED}/other")
    try:
        for name, content in files.items():
            machine.do(f"cat >{SHARED}/{name}", content.encode())
        machine.do(
            f"touch -d 2026-01-01 {SHARED}/*/* && chgrp -R installation {SHARED} && "
            f"chmod -R u=rwX,g=rX,o= {SHARED} && "
            f"ln -s {SHARED}/shared/config.yaml {CONFIG}.tmp && mv -T {CONFIG}.tmp {CONFIG}"
        )
        since = machine.now()
        machine.do(f"mv {SHARED}/shared/config.yaml {SHARED}/shared/away")
        gone = machine.until(
            20,
            lambda: "keeping the previous configuration" in machine.said(since),
            "that it is gone",
        )
        seen = [f"said to be gone after {gone:.0f} s"]
        steps = (
            ("another in its place", "mv shared/new shared/config.yaml"),
            ("the first one back", "mv shared/away shared/config.yaml"),
            ("folder swapped", "mv shared aside && mv other shared"),
            ("swapped back", "mv shared other && mv aside shared"),
        )
        for what, step in steps:
            machine.do(f"cd {SHARED} && {step}")
            seen.append(f"{what}: shown after {until_turned(machine, picture):.0f} s")
            picture = picture[:, ::-1]
        seen.append(kept(machine, before))
        return expect(machine.pid == pid, "; ".join(seen))
    finally:
        machine.do(f"rm -f {CONFIG}")
        machine.do(
            f"cat >{CONFIG}.tmp && chown root:installation {CONFIG}.tmp && "
            f"chmod 640 {CONFIG}.tmp && mv {CONFIG}.tmp {CONFIG}",
            text.encode(),
        )
        time.sleep(5)
        machine.do(f"rm -rf {SHARED}")


@row("systemctl reload installation", "the same process")
def reload(machine: Machine) -> str:
    pid = machine.until_active()
    machine.do(f"systemctl reload {WALL}")
    time.sleep(3)
    state = machine.show("ActiveState")
    return expect(machine.pid == pid and state == "active", f"{state}, the same process")


NEVER_OPEN = ("hours", "closed", '["01-01..12-31"]')
HOLDERS = "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c '/dev/video' || true"
POWER = "cat /sys/class/drm/card*-*/dpms | sort -u | tr '\\n' ' '"


@row("close", "nobody holds the camera, the screen is off, the same process", "screenshot")
def closing(machine: Machine) -> str:
    pid, text = machine.until_active(), machine.do(f"cat {CONFIG}") + "\n"
    try:
        machine.save(setting(text, *NEVER_OPEN))

        def dark() -> bool:
            held = machine.do(HOLDERS) != "0"
            return not held and "On" not in machine.do(POWER).split()

        waited = machine.until(30, dark, f"camera let go and screen off ({machine.do(POWER)})")
        return expect(machine.pid == pid, f"after {waited:.0f} s, screen {machine.do(POWER)}")
    finally:
        machine.save(text)


@row("open", "a picture, the same process", "screenshot")
def opening(machine: Machine) -> str:
    pid = machine.until_active()
    seen = machine.until_looks("picture", 30)
    return expect(machine.pid == pid, f"{seen}, screen {machine.do(POWER)}")


# --- the web extension

WORKER = "installation-web@8081.service"
# Small, for an emulated machine.
ASKED = """
import json, sys, urllib.error, urllib.request
import cv2
where, picture = sys.argv[1:]
small = cv2.resize(cv2.imread(picture), (128, 150), interpolation=cv2.INTER_AREA)
sent = cv2.imencode(".png", small)[1].tobytes()
request = urllib.request.Request(where, sent, {"Content-Type": "image/png"})
try:
    (face,) = json.load(urllib.request.urlopen(request, timeout=600))["faces"]
except urllib.error.HTTPError as error:
    sys.exit(f"{error}: {error.read().decode()}")
print(face["words"][0]["words"])
"""


@row("start a web worker, send it a picture, kill -9 it, send another", "the same word, twice")
def web(machine: Machine) -> str:
    picture = "demo-visitors/hopper.png"
    ask = f"{PYTHON} - http://127.0.0.1:8081/api/classify /var/lib/installation/engines/{picture}"
    try:
        machine.do(f"systemctl enable --now {WORKER}")
        pid = machine.show("MainPID", WORKER)
        word = machine.do(ask, ASKED.encode())
        machine.do(f"kill -9 {pid}")

        def back() -> bool:
            if machine.show("ActiveState", WORKER) != "active":
                return False
            return machine.show("MainPID", WORKER) not in ("0", pid)

        waited = machine.until(60, back, f"{WORKER} active again")
        same = machine.do(ask, ASKED.encode())
        told = machine.show("StatusText", WORKER)
        return expect(word == same, f"{word}; up again after {waited:.0f} s, {same}; {told}")
    finally:
        machine.do(f"systemctl disable --now {WORKER}")


# --- other versions


@row("install another version", "it is on the wall; config, engines and record are kept")
def upgrade(machine: Machine) -> str:
    before, kept = machine.release(), machine.do(f"md5sum {CONFIG}")
    machine.do(f"echo '# another' >>{THERE}/CHANGELOG.md && {THERE}/systemd/install")
    after = machine.release()
    same = kept == machine.do(f"md5sum {CONFIG}")
    machine.do("test -e /var/lib/installation/engines/person-semantic/model.onnx")
    return expect(
        same and before != after, f"{before} -> {after}, {machine.until_looks('picture', 60)}"
    )


@row("install a version that does not run", "the one before is back, one line says why")
def rollback(machine: Machine) -> str:
    before = machine.release()
    broken = f"{THERE}/installation/wall.py"
    machine.do(f"cp {broken} /tmp/ && echo 'raise RuntimeError(\"broken\")' >>{broken}")
    status, said = machine.ask(f"{THERE}/systemd/install")
    machine.do(f"mv /tmp/wall.py {broken}")
    line = said.splitlines()[-1]
    expect(status == 1 and line.startswith("install: "), f"status {status}: {line}")
    expect(machine.release() == before, f"{machine.release()} is on the wall")
    machine.until_active()
    return f"{line}; {machine.until_looks('picture', 60)}"


# --- what happens on disks

FILLER = "/var/tmp/installation-filler"
# Blocks kept for root are taken, too.
FILL = f"""
fallocate -l "$(df --output=avail -B1M / | tail -n 1)M" {FILLER} || true
for size in 16M 64K 4K 1; do
    dd if=/dev/zero bs=$size 2>/dev/null >>{FILLER}.$size || true; sync
done
"""
ENGINES = "/var/lib/installation/engines"
NETWORK = f"{ENGINES}/person-semantic/model.onnx"


def checked(machine: Machine) -> dict[str, str]:
    """Return what `check` says of each thing, with its mark."""
    lines = machine.ask("installation check")[1].splitlines()
    return {line[2:16].strip(): f"{line[0]} {line[16:]}" for line in lines if line[1:2] == " "}


@row("fill the disk to the last byte, restart the machine", "a picture; recording paused, said")
def full_disk(machine: Machine) -> str:
    before = words(machine, 0)
    try:
        machine.do(FILL)
        start_anew(machine)
        seen = machine.until_looks("picture", 60)
        machine.until(60, lambda: "recording paused" in machine.show("StatusText"), "a pause, said")
        said = checked(machine)
        wrong = {about: line for about, line in said.items() if line[0] == "✘"}
        expect("is full" in said["disk"] and not {"screen", "OpenGL"} & set(wrong), str(wrong))
    finally:
        machine.do(f"rm -f {FILLER} {FILLER}.*")
    waited = machine.until(
        90, lambda: "recording paused" not in machine.show("StatusText"), "recording again"
    )
    again = f"recording again {waited:.0f} s after there was room"
    return f"{seen}; {said['disk']}; {said['record']}; {again}; {kept(machine, before)}"


def restarted(machine: Machine) -> float:
    """Restart the wall; return the moment."""
    start = time.monotonic()
    machine.do(f"systemctl restart --no-block {WALL}")
    return start


@row("cut a network short on the disk, restart the wall", "a slate, then a picture; said once")
def damaged_engine(machine: Machine) -> str:
    before = words(machine, 0)
    since = machine.now()
    machine.do(f"truncate -s 100000 {NETWORK}")
    start = restarted(machine)
    machine.until(90, lambda: "; rebuilding" in machine.said(since), "that it is built again")
    machine.until_looks("picture", 120)
    took = time.monotonic() - start
    lines = [line for line in machine.said(since).splitlines() if "; rebuilding" in line]
    seen = f"picture {took:.0f} s after the restart; {'; '.join(lines)}"
    return f"{expect(len(lines) == 1, seen)}; {kept(machine, before)}"


@row("the same without the packages it is made from", "a slate that stays; what to do, said")
def no_packages(machine: Machine) -> str:
    try:
        machine.do(f"mv {ENGINES}/wheels /var/tmp/ && truncate -s 100000 {NETWORK}")
        pid = machine.pid
        restarted(machine)
        machine.until_active(not_pid=pid)
        pid = machine.pid
        machine.until(90, lambda: "does not work" in machine.show("StatusText"), "that it fails")
        machine.until_looks("slate", 30)
        time.sleep(60)
        stays = machine.pid == pid and machine.looks() == "slate"
        said = checked(machine)["wall"]
        expect(stays and "engines fetch" in said, said)
    finally:
        machine.do(f"mv /var/tmp/wheels {ENGINES}/")
    return f"{said}; given back: {machine.until_looks('picture', 120)}"


@row(
    "root builds engines and is interrupted, then an upgrade", "it is installed; nothing is root's"
)
def roots_engines(machine: Machine) -> str:
    before, said = machine.release(), words(machine, 0)
    machine.do(f"rm -r {ENGINES}/person-glosses && installation engines build --config {CONFIG}")
    roots = machine.do("find /var/lib/installation -user root")
    expect(not roots, roots)
    # As versions before this one left it.
    machine.do(f"mkdir -m 700 {ENGINES}/.making-left && touch {ENGINES}/.making-left/model.onnx")
    machine.do(
        f"chown -R root: {ENGINES}/person-glosses; echo x >>{ENGINES}/person-glosses/glosses.tsv"
    )
    machine.do("systemctl start installation-engines")
    machine.do(f"echo '# and another' >>{THERE}/CHANGELOG.md && {THERE}/systemd/install")
    left = machine.do(f"find /var/lib/installation -user root; ls -d {ENGINES}/.making-* || true")
    left = "\n".join(line for line in left.splitlines() if not line.startswith("ls:"))
    after = machine.release()
    seen = expect(before != after and not left, left or f"{before} -> {after}")
    return f"{seen}; {kept(machine, said)}"


# --- what check says


@row("give the config to root's group", "check names the group, and never everybody")
def roots_config(machine: Machine) -> str:
    try:
        machine.do(f"chown root:root {CONFIG} && chmod 640 {CONFIG}")
        said = checked(machine)["config"]
    finally:
        machine.do(f"chown root:installation {CONFIG}")
    return expect(f"chgrp installation {CONFIG}" in said and "a+r" not in said, said)


@row("turn the monitor off with xrandr", "the status line says so; a picture when it is on again")
def monitor_off(machine: Machine) -> str:
    screen = "export DISPLAY=:0 XAUTHORITY=/run/installation-display/authority; "
    off = "xrandr --output $(xrandr | awk '/ connected/ { print $1; exit }') --off"
    try:
        machine.do(screen + off)
        machine.until(
            20, lambda: "no monitor is on" in machine.show("StatusText"), "that it is off"
        )
        said = checked(machine)["wall"]
    finally:
        machine.do("systemctl start installation-monitors")
    seen = machine.until_looks("picture", 60)
    return expect("no monitor is on" in said, f"{said}; {seen}")


@row("let the wall run out of memory", "it is back, and check says what ended it")
def out_of_memory(machine: Machine) -> str:
    limit = f"systemctl set-property --runtime {WALL} MemoryMax="
    try:
        pid = machine.until_active()
        machine.do(f"{limit}64M")
        machine.until(60, lambda: machine.pid != pid, "its end")
    finally:
        machine.do(f"{limit}infinity")
    machine.until_active(180, not_pid=pid)
    said = checked(machine).get("memory", "nothing of it")
    return expect("out of memory" in said, f"{said}; {machine.until_looks('picture', 60)}")


@row("systemd/install --uninstall", "nothing runs, config and engines are kept")
def uninstall(machine: Machine) -> str:
    machine.do(f"{THERE}/systemd/install --uninstall")
    machine.do(f"test -e {CONFIG} && test -d /var/lib/installation/engines")
    left = machine.do("ls -d /opt/installation /usr/local/lib/systemd/system/installation* || true")
    left = "\n".join(line for line in left.splitlines() if not line.startswith("ls:"))
    state = machine.do("systemctl is-active installation installation-display || true").split()
    return expect(not left and "active" not in state, left or f"gone; {' '.join(state)}")


def _setting(text: str) -> str:
    if not re.fullmatch(r"\w+\.\w+=.+", text):
        raise argparse.ArgumentTypeError(f"must be of the form camera.width=640, not {text}")
    return text


def _arguments() -> argparse.Namespace:
    about = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about[0], epilog=about[2], formatter_class=argparse.RawTextHelpFormatter
    )
    for hook, use in HOOKS.items():
        parser.add_argument(f"--{hook}", metavar="CMD", help=use)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="SECTION.KEY=VALUE",
        help="set this key after installing, such as camera.width=640 for a slow machine",
    )
    parser.add_argument(
        "--faces",
        action="store_true",
        help="the camera shows faces that come and go: expect words in the record",
    )
    parser.add_argument("--shots", metavar="DIR", help="keep the screenshots there")
    parser.add_argument(
        "--patience", type=float, default=1, help="multiply all timeouts by this (default: 1)"
    )
    parser.add_argument("--list", action="store_true", help="list the rows")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="run only these rows (default: all)")
    arguments = parser.parse_args()
    known = [name for name, *_ in ROWS]
    if strangers := set(arguments.rows) - set(known):
        parser.error(f"no such row: {', '.join(sorted(strangers))}; there are {', '.join(known)}")
    if not arguments.list and not arguments.run:
        parser.error("--run is needed: how to run a command there")
    return arguments


def main() -> int:
    """Go through the rows; print each as soon as it is known."""
    arguments = _arguments()
    if arguments.list:
        for name, does, expects, hooks, _ in ROWS:
            print(f"{name:14} {does}: {expects}{' | needs: ' if hooks else ''}{', '.join(hooks)}")
        return 0
    machine = Machine(arguments)
    failed = 0
    print("| row | what was done | what was expected | seen | s | ok |")
    print("|---|---|---|---|---|---|", flush=True)
    for name, does, expects, hooks, work in ROWS:
        if arguments.rows and name not in arguments.rows:
            continue
        start = time.monotonic()
        if lacking := [hook for hook in hooks if not machine.has(hook)]:
            seen, verdict = f"left out: no --{', --'.join(lacking)}", "-"
        else:
            try:
                seen, verdict = work(machine), "yes"
            except WrongError as error:
                seen, verdict = str(error), "NO"
                failed += 1
        seen = " ".join(seen.replace("|", "/").split())
        took = time.monotonic() - start
        print(f"| {name} | {does} | {expects} | {seen} | {took:.0f} | {verdict} |", flush=True)
    print(f"\n{failed} of the rows failed" if failed else "\nall of them as expected")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
