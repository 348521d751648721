"""No secret of the config is told anywhere: every surface of a wall that runs is searched."""

import html
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from installation.config import loader as configuration
from installation.config.strict_yaml import ConfigError
from installation.runtime.redact import redact_url
from tests.faults.network_camera import NetworkCamera
from tests.ports import free_port
from tests.wall_process import LONG, ROOT, Running, needs_xvfb, x_server
from tests.web.test_status import ask

SECRET = "h4rdToGuess"
TOKEN = f"{SECRET}0123456789"


def command(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "installation", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture
def camera():
    camera = NetworkCamera()
    yield camera
    camera.switch_off()


def sources(port, dead):
    """A secret in each position; cameras that are there, and others."""
    live = [
        f"http://admin:{SECRET}@127.0.0.1:{port}/{SECRET}?user=admin&password={SECRET}#{SECRET}",
        f"http://127.0.0.1:{port}/user=admin&password={SECRET}_channel=1.sdp",
        f"http://127.0.0.1:{port}/live/{SECRET}@1",
    ]
    gone = [
        f"rtsp://admin:{SECRET}@127.0.0.1:{dead}/1",
        f"rtsp://admin:p@{SECRET}@127.0.0.1:{dead}/1",
        f"RTSP://admin:p%40{SECRET}@127.0.0.1:{dead}",
        f"rtsp://127.0.0.1:{dead}/user=admin&password={SECRET}",
        f"rtsp://127.0.0.1:{dead}/path@{SECRET}",
        f"rtsp://admin:a/{SECRET}@127.0.0.1:{dead}/1",
        f"rtsp://admin:a {SECRET}@127.0.0.1:{dead}/1",
        f"rtsp://[::1]:{dead}/{SECRET}",
        f"http://127.0.0.1:{dead}?{SECRET}",
        f"rtsp:///{SECRET}",
        f"rtsp://127.0.0.1:{dead}/1|rtsp://a:{SECRET}@127.0.0.1:{dead}/2",
        f"concat:http://a:{SECRET}@127.0.0.1:{dead}/1",
        f"rtspsrc location=rtsp://127.0.0.1:{dead}/1 user-pw={SECRET} ! decodebin",
        f"tcp://127.0.0.1:{dead}?listen={SECRET}",
    ]
    return live, gone


class Wall:
    """A wall that is told of one source after the other, and all that it has said."""

    def __init__(self, folder, screen, built):
        self._folder = folder
        self._screen = screen
        self._built = built
        self._port = free_port()
        self._reloads = 0
        self.said = []
        self.running = None

    def write(self, source, more=""):
        (self._folder / "config.yaml").write_text(
            f"camera: {{source: {json.dumps(source)}}}\n"
            f"inference: {{engines: {self._built}, device: cpu, token: {TOKEN}}}\n"
            f"status: {{port: {self._port}, token: {TOKEN}}}\n{more}"
        )

    def start(self, source):
        self.write(source)
        state = self._folder / "state"
        environment = {"STATE_DIRECTORY": str(state)}
        self.running = Running(self._folder, self._screen, environment=environment)

    def reload(self, source):
        self.write(source)
        self._reloads += 1
        self.running.send(signal.SIGHUP)
        self.running.wait_to_log("configuration reloaded", self._reloads)

    def until(self, path, words):
        """Ask until the answer has these words; keep it, and what the wall tells meanwhile."""
        deadline = time.monotonic() + LONG
        while words not in (text := html.unescape(self._ask(path))):
            assert self.running.process.poll() is None, self.running.log.read_text()
            assert time.monotonic() < deadline, (words, text)
            time.sleep(0.1)
        for each in ("/", "/healthz", "/metrics"):
            self.said.append(self._ask(each))

    def _ask(self, path):
        try:
            return ask(self._port, path, authorization=f"Bearer {TOKEN}").text
        except OSError:
            return ""

    @property
    def everything(self):
        process = Path(f"/proc/{self.running.process.pid}")
        title = (process / "cmdline").read_text()
        threads = [(each / "comm").read_text() for each in (process / "task").iterdir()]
        heard = [str(each) for each in self.running.heard]
        return "\n".join([*self.said, self.running.log.read_text(), *heard, title, *threads])


@needs_xvfb
def test_a_wall_that_runs_tells_no_secret(tmp_path, built, camera):
    with x_server() as (_, screen):
        wall = Wall(tmp_path, screen, built)
        live, gone = sources(int(camera.url.rpartition(":")[2].partition("/")[0]), free_port())
        wall.start(live[0])
        try:
            wall.until("/healthz", "works\n")
            for number, source in enumerate((*live[1:], *gone)):
                wall.reload(source)
                wall.until("/", f"{redact_url(source)}, ")
                if source in gone:
                    wall.until("/healthz", f"fault: {redact_url(source)}: ")
                    wall.running.wait_for("no stream")
                else:
                    wall.running.wait_for(f"camera {redact_url(source)}")
                assert SECRET not in wall.everything, (number, source)
            # A file that cannot be used is told in the log and to systemd.
            wall.write(live[0], f"theme: {{colour: 'rtsp://admin:{SECRET}@127.0.0.1/1'}}\n")
            wall.running.send(signal.SIGHUP)
            wall.running.wait_to_log("theme.colour: 'rtsp://127.0.0.1/...#")
            wall.running.wait_for("theme.colour: 'rtsp://127.0.0.1/...#")
            assert wall.running.end() == 0
        finally:
            wall.running.close()
        said = "\n".join([*wall.said, wall.running.log.read_text(), *wall.running.heard])
        assert "rtsp://127.0.0.1:" in said
        assert SECRET not in said
        # The config itself is kept for the next start, for the wall's user alone.
        copy = tmp_path / "state" / "config.last-good.yaml"
        assert SECRET in copy.read_text()
        assert copy.stat().st_mode & 0o777 == 0o600
        for each in tmp_path.glob("record.sqlite*"):
            assert SECRET.encode() not in each.read_bytes()


@needs_xvfb
def test_the_check_tells_no_secret(tmp_path, built, camera):
    with x_server() as (_, screen):
        wall = Wall(tmp_path, screen, built)
        live, gone = sources(int(camera.url.rpartition(":")[2].partition("/")[0]), free_port())
        for source in (live[0], gone[0], gone[5]):
            wall.write(source)
            for json_too in ([], ["--json"]):
                ran = command(tmp_path, "check", *json_too, DISPLAY=screen)
                assert redact_url(source) in ran.stdout
                assert SECRET not in ran.stdout + ran.stderr


# The config, with a secret where one may come to stand by mistake.
MISTAKES = [
    f"camera: {{sorce: 'rtsp://a:{SECRET}@camera/1'}}",
    f"camera: rtsp://a:{SECRET}@camera/1",
    f"camera: {{width: 'rtsp://a:{SECRET}@camera/1'}}",
    f"camera: {{width: 'rtsp://a:{'x' * 70}{SECRET}@camera/1'}}",
    f"camera: {{width: 'rtsp://a: {SECRET}@camera/1'}}",
    f"camera: {{format: 'a:{SECRET}@camera/1'}}",
    f"camera: {{format: 'rtspsrc location=rtsp://camera user-pw={SECRET} ! x'}}",
    f"camera: {{source: ['rtsp://a:{SECRET}@camera/1']}}",
    f"camera: {{source: {{url: 'rtsp://a:{SECRET}@camera/1'}}}}",
    f"camera: {{source: rtsp://a:b,{SECRET}@camera/1}}",
    f"camera: {{source: rtsp://a:b,{SECRET}}}",
    f"camera: {{source: rtsp://a:b: {SECRET}@camera/1}}",
    f"camera:\n  source: rtsp://a:b: {SECRET}@camera/1",
    f"camera:\n  source: @{SECRET}",
    f"camera:\n  source: *{SECRET}",
    f"camera:\n  source: !{SECRET}",
    f"camera:\n  source: !x!{SECRET} y",
    f"camera:\n  source: rtsp://a:b@c\n {SECRET}@camera/1: 1",
    f"camera:\n  source: 'rtsp://a:{SECRET}@camera/1",
    f'camera:\n  source: "rtsp://a:\\{SECRET}@camera/1"',
    f"camera:\n  rtsp://a:{SECRET}@camera/1: 1",
    f"camera:\n  rtsp://a:{SECRET}@camera/1: 1\n  rtsp://a:{SECRET}@camera/1: 1",
    f"rtsp://a:{SECRET}@camera/1",
    f"- rtsp://a:{SECRET}@camera/1",
    *(
        f"camera: {{source: '{source}'}}"
        for source in (
            *(f"rtsp:/a:{SECRET}@camera/1", f"rtsp:a:{SECRET}@camera/1", f"a:{SECRET}@camera/1"),
            *(f"rtsp//a:{SECRET}@camera/1", f"camera/user=a&password={SECRET}", f"//:{SECRET}@c"),
            *(f"192.0.2.7:554/{SECRET}", f"192.0.2.7/{SECRET}", f"http:\\\\a:{SECRET}@camera"),
        )
    ),
    *(
        f"{key}: 'rtsp://a:{SECRET}@camera/{SECRET}'}}"
        for key in (
            *("theme: {colour", "theme: {font", "labels: {policy", "labels: {include"),
            *("hours: {open", "hours: {timezone", "display: {fit", "display: {rotate"),
            *("web: {port", "web: {address", "status: {address", "record: {keep_days"),
            *(
                "inference: {device",
                "inference: {server",
                "inference: {detector",
                "inference: {offload",
            ),
        )
    ),
    f"labels: {{include: ['rtsp://a:{SECRET}@camera/1']}}",
    f"labels: {{exclude: ['rtspsrc location=rtsp://c user-pw={SECRET}']}}",
    f"hours: {{open: ['rtsp://a:{SECRET}@camera/1'], closed: ['a:{SECRET}@camera/1']}}",
    f"hours: {{closed: ['a:{SECRET}@camera/1']}}",
    f"web: {{proxies: ['rtsp://a:{SECRET}@camera/1']}}",
    f"inference: {{server: 'kserve://a:{SECRET}@server:8001'}}",
    f"inference: {{server: 'kserves://server:8001/{SECRET}'}}",
    f"inference: {{device: 'kserves://server:8001/{SECRET}'}}",
    f"inference: {{server: 'kserve://192.0.2.1:8001', token: {TOKEN}}}",
    f"inference: {{token: [{TOKEN}]}}",
    f"inference: {{tokn: {TOKEN}}}",
    f"status: {{token: *{TOKEN}}}",
    f"status: {{token: !{TOKEN}}}",
    f"status: {{token: [a], address: 0.0.0.0, preview: {TOKEN}://x}}",
    f"status: {TOKEN}",
    f"status: {{token: '{TOKEN}\\xfc€'}}",
    f"theme: {{font: 'rtsp:/a:{SECRET}@camera/1'}}",
]


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_the_config_is_told_without_its_secret(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        configuration.load(path)
    assert str(caught.value).startswith(f"{path}:")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["classify", f"rtsp://a:{SECRET}@camera/1"],
        ["classify", "--json", f"http://camera/cgi?password={SECRET}"],
        ["trace", f"rtsp://a:{SECRET}@camera/1"],
        ["trace", "--json", f"http://camera/cgi?password={SECRET}"],
        ["trace", f"rtsp://a:b {SECRET}@camera/1"],
        ["demo", "--headless", "--frames", "1", "--output", f"rtsp://a:{SECRET}@camera/1.png"],
        ["demo", f"rtsp://a:{SECRET}@camera/1"],
        ["demo", "--output", f"rtsp://a:{SECRET}@camera/1"],
        ["labels", "policy", "--config", f"rtsp://a:{SECRET}@camera/1"],
        ["engines", "build", f"rtsp://a:{SECRET}@camera/1"],
        ["record", "summary", "--record", f"rtsp://a:{SECRET}@camera/1"],
        ["cameras", f"rtsp://a:{SECRET}@camera/1"],
        ["bench", f"rtsp://a:{SECRET}@camera/1"],
    ],
)
def test_a_command_that_is_given_a_url_tells_no_secret(tmp_path, built, arguments):
    (tmp_path / "config.yaml").write_text(f"inference: {{engines: {built}, device: cpu}}\n")
    ran = command(tmp_path, *arguments)
    assert ran.returncode in (1, 2)
    assert SECRET not in ran.stdout + ran.stderr
    assert "unexpected" not in ran.stderr


def test_what_nobody_expected_is_told_without_secrets(tmp_path, built):
    """As an exception of a library that quotes what it was given."""
    (tmp_path / "config.yaml").write_text(f"inference: {{engines: {built}}}\n")
    url = f"rtsp://a:{SECRET}@camera/{SECRET}"
    code = (
        "import logging, sys\n"
        "from installation.vision import still_classifier\n"
        "from installation.checks import program\n"
        "from installation.commands.cli import main\n"
        "def fail(*_, **__):\n"
        f"    logging.getLogger('a.library').error('opening %s', {url!r})\n"
        f"    raise RuntimeError('cannot open {url}\\nfor {url}')\n"
        "still_classifier.open_image_classifier = program.check_policy = fail\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    for arguments, said in (
        (["classify", "x.png"], "err"),
        (["check"], "out"),
        (["check", "--json"], "out"),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert ran.returncode == 1
        assert "unexpected RuntimeError at <string>:" in getattr(ran, f"std{said}")
        assert SECRET not in ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
