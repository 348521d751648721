"""Signals are heard from the first instruction to the last, whatever the program waits for."""

import os
import select
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tests.paths import ROOT
from tests.wall_process import LONG, Running, StallingServer, needs_xvfb, x_server

ENDING = [signal.SIGTERM, signal.SIGINT]
# Have the program send itself signals when it begins to load something.
WHILE_LOADING = """
import os, sys
class Loading:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            for number in {numbers}:
                os.kill(os.getpid(), number)
sys.meta_path.insert(0, Loading())
"""


@pytest.fixture
def folder(built, tmp_path):
    (tmp_path / "config.yaml").write_text(
        "camera: {source: demo, width: 320, height: 240}\n"
        f"inference: {{engines: {built}, device: cpu}}\n"
        "record: {file: null}\nstatus: {port: null}\n"
    )
    return tmp_path


@pytest.fixture(scope="module")
def screen():
    with x_server() as (_, display):
        yield display


@pytest.fixture
def start(folder, screen):
    started = []

    def begin(patch="", display=screen):
        started.append(Running(folder, display, patch))
        return started[-1]

    yield begin
    for each in started:
        each.close()
        assert "Traceback" not in each.log.read_text()


@needs_xvfb
@pytest.mark.parametrize("number", ENDING)
# Of what is sent to open a window: after the greeting, and on and on.
@pytest.mark.endurance
@pytest.mark.parametrize("most_bytes", [0, 300, 2000])
def test_while_a_window_is_opened_on_a_server_that_hangs(start, screen, number, most_bytes):
    with StallingServer(screen, most_bytes) as server:
        wall = start(display=server.display)
        assert server.stalled.wait(LONG)
        wall.send(signal.SIGHUP)
        # The others do no harm.
        for _ in range(3):
            wall.send(number)
            time.sleep(0.2)
        status = wall.process.wait(LONG)
    lines = wall.log.read_text().splitlines()
    # Python waits for the first answer, C code for the others.
    if most_bytes == 0:
        assert (status, lines) == (0, [])
    else:
        assert status == 128 + number
        (line,) = lines
        assert line.startswith(f"installation: {number.name}: ended by force; still busy at ")


@pytest.mark.endurance
@needs_xvfb
@pytest.mark.parametrize("number", ENDING)
def test_while_the_server_hangs_that_draws(start, number):
    with x_server() as (server, display):
        wall = start(display=display)
        wall.wait_for("camera demo")
        server.send_signal(signal.SIGSTOP)
        # Long enough that it waits for the server; were it not so, closing the window would.
        time.sleep(2)
        assert wall.end(number) in (128 + number, 0)
    log = wall.log.read_text()
    assert "ended by force" in log or "the window could not be closed" in log


@pytest.mark.endurance
@needs_xvfb
@pytest.mark.parametrize("number", ENDING)
def test_while_the_server_hangs_that_is_to_close_the_window(start, number):
    with x_server() as (server, display):
        wall = start(
            f"""
import os, signal
from installation.supervision.systemd_notify import Notifier
Notifier.stopping = lambda _: os.kill({server.pid}, signal.SIGSTOP)
""",
            display,
        )
        wall.wait_for("camera demo")
        # All else has ended in order.
        assert wall.end(number) == 0
    assert "installation: the window could not be closed within " in wall.log.read_text()


@needs_xvfb
def test_asked_again_and_again_it_ends_in_order(start):
    wall = start()
    wall.wait_for("camera demo")
    while wall.process.poll() is None:
        wall.send(signal.SIGTERM)
        time.sleep(0.01)
    assert wall.process.returncode == 0


@needs_xvfb
@pytest.mark.parametrize(
    "module", ["installation.commands.cli", "installation.wall", "pyglet.window"]
)
def test_to_read_the_config_again_ends_nothing_that_is_being_loaded(start, module):
    wall = start(WHILE_LOADING.format(module=module, numbers=[int(signal.SIGHUP)] * 2))
    wall.wait_for("camera demo")
    assert wall.end() == 0


@needs_xvfb
@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize(
    ("module", "statuses"),
    [
        ("installation.commands.cli", {"SIGTERM": -15, "SIGINT": -2}),
        ("installation.capture.make_source", {"SIGTERM": 143, "SIGINT": 130}),
        ("installation.wall", {"SIGTERM": 143, "SIGINT": 130}),
        ("pyglet.window", {"SIGTERM": 0, "SIGINT": 0}),
    ],
)
def test_while_it_is_being_loaded(start, number, module, statuses):
    wall = start(WHILE_LOADING.format(module=module, numbers=[int(number)] * 2))
    assert wall.process.wait(LONG) == statuses[number.name]
    assert wall.log.read_text() == ""


def performed(code, **options):
    """Run something as a command's work."""
    begin = """
        import os, signal, sys, time
        from installation.commands.exit_status import run_command
        def again():
            os.kill(os.getpid(), {number})
            time.sleep(0)
    """
    end = "status = run_command(work)\nagain()\nprint('over', file=sys.stderr)\nsys.exit(status)"
    code = textwrap.dedent(begin) + textwrap.dedent(code) + "\n" + end
    number = int(signal.SIGTERM)
    return subprocess.run(
        [sys.executable, "-c", code.replace("{number}", str(number))],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        check=False,
        timeout=LONG,
        **({"capture_output": True} | options),
    )


@pytest.mark.parametrize(
    "turned",
    [
        "raise ImportError('numpy failed to import')",
        "raise OSError(4, 'interrupted')",
        "again(); raise",
    ],
)
def test_what_a_library_makes_of_it_is_not_told(turned):
    ran = performed(f"""
        def work():
            print("before")
            try:
                again()
            except BaseException:
                {turned}
    """)
    assert (ran.returncode, ran.stdout, ran.stderr) == (143, "before\n", "over\n")


def test_work_that_hangs_in_c_code_is_ended():
    ran = performed("""
        import ctypes
        def work():
            print("before", flush=True)
            # It waits for that to end, whatever signals come meanwhile.
            ctypes.CDLL(None).system(b"kill -TERM $PPID; exec sleep 100 >&- 2>&-")
    """)
    assert (ran.returncode, ran.stdout) == (143, "before\n")
    assert ran.stderr.startswith("installation: SIGTERM: ended by force; still busy at ")


def test_work_that_swallows_it_is_ended():
    ran = performed("""
        from installation.runtime.signals import set_forced_end
        set_forced_end(0.5)
        def work():
            try:
                again()
            except BaseException:
                time.sleep(3600)
    """)
    assert ran.returncode == 143
    assert ran.stderr.startswith("installation: SIGTERM: ended by force; still busy at ")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_hangs_keeps_nobody(tmp_path, unbuffered):
    # More than a pipe takes.
    (tmp_path / "config.yaml").write_text("labels: {policy: full}\n")
    read, write = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "installation", "labels", "list"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        stdout=write,
        stderr=subprocess.PIPE,
    ) as ran:
        until = time.monotonic() + LONG
        while select.select([], [write], [], 0)[1]:
            assert ran.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        ran.send_signal(signal.SIGTERM)
        assert ran.stderr.read() == b""
        assert ran.wait(LONG) == 143
    os.close(read)
    os.close(write)
