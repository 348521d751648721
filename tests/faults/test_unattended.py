"""The whole program through what happens in months without a hand. Each row of faults a test."""

import random
import signal
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from textwrap import dedent, indent

import cv2
import pytest

from installation.labels.synsets import load_synsets
from tests.mounts import own_mounts
from tests.wall_process import LONG, Running, needs_xvfb, with_timing, x_server

pytestmark = needs_xvfb

STREAMING = "frames per second"
# Notices changes of the config's files soon.
WATCHFUL = with_timing("WallTiming(watch=WatchTiming(0.1, 0.1, 0.5, 60))")
CLOSED = "{open: [mon-sun 00:00-24:00], closed: [01-01..12-31]}"


@pytest.fixture(scope="module")
def screen():
    with x_server() as (_, display):
        yield display


@pytest.fixture
def folder(tmp_path, built):
    write(tmp_path, built)
    return tmp_path


def write(folder, built, **sections):
    sections = {
        "camera": "{source: demo, width: 320, height: 240}",
        "inference": f"{{engines: {built}, device: cpu}}",
        "record": "{file: null}",
    } | sections
    text = "".join(f"{name}: {value}\n" for name, value in sections.items())
    (folder / "config.yaml").write_text(text)


@pytest.fixture
def start(folder, screen):
    started = []

    def begin(patch="", display=screen, under=()):
        started.append(Running(folder, display, dedent(patch), under))
        return started[-1]

    yield begin
    for each in started:
        each.close()
        assert "Traceback" not in each.log.read_text()


def test_its_manager_hears_all_it_needs(start):
    wall = start()
    wall.wait_for("READY=1")
    wall.wait_for("WATCHDOG=1", times=3)
    told = wall.wait_for("camera demo")
    assert STREAMING in told and "CPU" in told and "\n" not in told
    wall.send(signal.SIGTERM)
    wall.wait_for("STOPPING=1", ended=True)
    assert wall.process.wait(LONG) == 0


HANGS = """
    import time
    from {room} import {owner}
    healthy, calls = {owner}.{work}, []
    def hang(*arguments):
        calls.append(None)
        if len(calls) > 20:
            time.sleep(3600)
        return healthy(*arguments)
    {owner}.{work} = hang
"""


@pytest.mark.endurance
@pytest.mark.parametrize(
    ("stage", "room", "owner", "work"),
    [
        ("vision", "installation.vision.pipeline", "VisionPipeline", "observe"),
        ("capture", "installation.capture.demo", "DemoSource", "read"),
    ],
)
def test_a_stage_that_hangs_ends_it_in_one_line(start, stage, room, owner, work):
    wall = start(HANGS.format(room=room, owner=owner, work=work))
    assert wall.process.wait(LONG) == 1
    assert wall.log.read_text().count(f"installation: {stage} has not responded for") == 1


def test_a_stopped_process_feeds_no_watchdog(start):
    wall = start()
    wall.wait_for(STREAMING)
    wall.send(signal.SIGSTOP)
    wall.until_stopped()
    # More than there are between two of its messages.
    time.sleep(2)
    assert wall._told.empty()
    wall.send(signal.SIGCONT)
    wall.wait_for("WATCHDOG=1")


def test_a_good_config_takes_effect_where_it_stands(start, folder, built, hopper):
    wall = start()
    wall.wait_for("camera demo")
    cv2.imwrite(str(folder / "hopper.png"), hopper)
    write(folder, built, camera="{source: hopper.png}", labels="{policy: inoffensive}")
    reload(wall)
    assert "hopper.png" in wall.wait_for("hopper.png")
    wall.wait_for("1 face,")
    assert "configuration reloaded: camera.source, camera.width, camera.height, labels.policy" in (
        wall.log.read_text()
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("theme:\n  colour: green\n", "config.yaml:2: theme.colour: green is not of the form"),
        ("theme: {colour: '#ffffff'", "config.yaml:1: expected"),
        ("", "config.yaml:1: is empty"),
        ("camera:\n  sourse: 0\n", "config.yaml:2: camera.sourse: unknown key; did you mean"),
        (None, "config.yaml:1: cannot be read"),
    ],
)
def test_a_broken_config_changes_nothing_and_says_where(start, folder, text, says):
    wall = start(WATCHFUL)
    wall.wait_for("camera demo")
    config = folder / "config.yaml"
    if text is None:
        config.unlink()
    else:
        config.write_text(text)
    reload(wall)
    wall.wait_for("camera demo")
    assert says in wall.log.read_text()
    assert wall.log.read_text().count("keeping the previous configuration") == 1


def test_a_config_that_is_linked_elsewhere_is_noticed(start, folder, built):
    path, shared = folder / "config.yaml", folder / "shared"
    shared.mkdir()
    path.rename(shared / "config.yaml")
    path.symlink_to(shared / "config.yaml")
    wall = start(WATCHFUL)
    wall.wait_for(STREAMING)
    # Another folder in its place, as a file server does it.
    other = folder / "other"
    other.mkdir()
    text = path.read_text()
    (other / "config.yaml").write_text(text + "theme: {text_scale: 2}\n")
    shared.rename(folder / "before")
    other.rename(shared)
    wall.wait_to_log("configuration reloaded: theme.text_scale")
    shared.rename(folder / "away")
    wall.wait_to_log("config.yaml:1: cannot be read: No such file or directory")
    (folder / "away").rename(shared)
    (shared / "config.yaml").write_text(text + "theme: {text_scale: 3}\n")
    wall.wait_to_log("configuration reloaded: theme.text_scale", times=2)
    assert "RELOADING=1" not in "".join(wall.heard)
    wall.wait_for(STREAMING)
    assert wall.end() == 0


def test_what_takes_a_restart_says_so(start, folder, built):
    wall = start()
    wall.wait_for("camera demo")
    write(folder, built, display="{rotate: 90, mirror: false}")
    reload(wall)
    log = wall.log.read_text()
    assert "WARNING display.rotate: takes effect at the next start; restart" in log
    assert "configuration reloaded: display.mirror" in log


@pytest.mark.endurance
def test_a_hundred_times_broken_closed_and_opened_it_is_as_before(start, folder, built):
    wall = start()
    wall.wait_for("camera demo")
    for times in range(100):
        (folder / "config.yaml").write_text("theme: {colour: green}")
        reload(wall)
        write(folder, built, hours=CLOSED)
        reload(wall)
        write(folder, built, theme=f"{{colour: '#00ff{times:02x}', gloss: {times % 2 == 1}}}")
        reload(wall)
        if times == 20:
            wall.wait_for("camera demo")
            before = wall.threads, wall.descriptors
    wall.wait_for("camera demo")
    # A scribe that has nothing to write yet has no thread.
    assert wall.threads <= before[0] + 1 and wall.descriptors <= before[1]
    assert wall.log.read_text().count("keeping the previous configuration") == 100


def reload(wall):
    wall.send(signal.SIGHUP)
    wall.wait_for("RELOADING=1")
    wall.wait_for("READY=1")


@pytest.mark.endurance
def test_it_can_be_told_to_stop_at_any_moment(start):
    generator = random.Random(6)
    for _ in range(15):
        wall = start()
        # Through the interpreter's start, the loading of engines, and a while of pictures.
        time.sleep(generator.uniform(0, 4))
        assert wall.end() in (0, 143, -signal.SIGTERM)
        wall.close()


def test_a_broken_config_does_not_outlast_a_restart(start, folder, built, monkeypatch):
    state = folder / "state"
    state.mkdir()
    monkeypatch.setenv("STATE_DIRECTORY", str(state))
    for text in ("camera: {sourse: 0}", ""):
        write(folder, built)
        wall = start()
        wall.wait_for("camera demo")
        assert wall.end() == 0
        (folder / "config.yaml").write_text(text)
        wall = start()
        assert f"{folder}/config.yaml:1: " in wall.wait_for("camera demo")
        assert "starting with the last good config" in wall.log.read_text()
        assert wall.end() == 0


def test_without_a_good_config_ever_it_does_not_start(start, folder, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(folder))
    (folder / "config.yaml").write_text("camera: {sourse: 0}")
    assert start().process.wait(LONG) == 1


# However slow the machine, all that waits is recorded at the end.
UNHURRIED = "shutdown_timeout_s=300, forced_end_s=900, writer=WriterTiming(close_timeout_s=300)"


def test_what_settles_is_recorded(start, folder, built, crowd_film):
    write(folder, built, camera=f"{{source: {crowd_film}}}", record="{file: said.sqlite}")
    began = time.time()
    wall = start(with_timing(f"WallTiming({UNHURRIED})"))
    wall.wait_for(" 2 faces,", times=2)
    assert wall.end() == 0
    ended = time.time()
    with sqlite3.connect(folder / "said.sqlite") as record:
        rows = record.execute("SELECT * FROM entry").fetchall()
    assert rows
    wnids = {synset.wnid for synset in load_synsets()}
    for hour, wnid, confidence, seconds, *others in rows:
        assert began // 3600 <= hour <= ended // 3600
        assert wnid in wnids
        # To three places; among two thousand words some are given with less than that.
        assert 0 <= confidence <= 1 and confidence == round(confidence, 3)
        assert 0 <= seconds <= ended - began + 1
        assert others[:3] == ["wall", "safe", "person-semantic"]


# So many visitors, and so few seconds between two attempts, that a hundred rounds are soon over.
CROWDED = """
import shutil, subprocess, threading, time
import installation.record.writer as keeping
from installation.record.entry import Entry
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", "disk"], check=True)
timing = keeping.WriterTiming(retry_min_s=0.02, retry_max_s=0.02, close_timeout_s=300.0)
begin, end = keeping.RecordWriter.__init__, keeping.RecordWriter.close
def visited(keeper):
    number = 0
    while True:
        if keeper.pending < 100:
            numbers = range(number, number := number + 10)
            keeper.submit(Entry(1, "n10104064", 0.5, n, "wall", "safe", "crowd") for n in numbers)
        time.sleep(0.01)
def crowded(keeper, path, keep_days, _timing):
    begin(keeper, path, keep_days, timing)
    threading.Thread(target=visited, args=[keeper], daemon=True).start()
def closed(keeper):
    end(keeper)
    # The disk is gone with the process.
    shutil.copytree("disk", "kept")
keeping.RecordWriter.__init__, keeping.RecordWriter.close = crowded, closed
"""


@pytest.mark.endurance
def test_a_hundred_times_full_the_disk_costs_no_row(start, folder, built, crowd_film):
    (folder / "disk").mkdir()
    write(folder, built, camera=f"{{source: {crowd_film}}}", record="{file: disk/said.sqlite}")
    timing = f"WallTiming({UNHURRIED}, status_period_s=0.05, watchdog_period_s=0.05)"
    wall = start(with_timing(timing) + CROWDED, under=own_mounts())
    wall.wait_for(" 2 faces,", times=2)
    disk = Path(f"/proc/{wall.process.pid}/root") / (folder / "disk").relative_to("/")
    while not (disk / "said.sqlite").exists():
        wall.wait_for("STATUS=")
    deadline = time.monotonic() + 1200
    threads, descriptors = [], []
    for _ in range(100):
        with (disk / "ballast").open("wb", buffering=0) as ballast:
            # Again and again: the record is let go of to be opened anew, which makes some room.
            while "recording paused: " not in wall.wait_for("STATUS="):
                assert time.monotonic() < deadline
                with suppress(OSError):
                    while ballast.write(bytes(4096)):
                        pass
        assert "frames per second" in wall.heard[-1]
        (disk / "ballast").unlink()
        while "recording paused: " in wall.wait_for("STATUS="):
            assert time.monotonic() < deadline
        threads.append(wall.threads)
        descriptors.append(wall.descriptors)
    # The record's files are open in some rounds and closed in others: only a leak lifts all rounds.
    assert min(threads[80:]) <= max(threads[:20])
    assert min(descriptors[80:]) <= max(descriptors[:20])
    assert wall.end() == 0
    with closing(sqlite3.connect(folder / "kept" / "said.sqlite")) as record:
        assert record.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        query = "SELECT seconds FROM entry WHERE engine = 'crowd' ORDER BY seconds"
        numbers = [number for (number,) in record.execute(query)]
    assert len(numbers) > 100 and numbers == list(range(len(numbers)))
    assert wall.log.read_text().count("recording") < 10


def test_the_demonstration_is_not_recorded(start, folder, built):
    write(folder, built, record="{file: said.sqlite}")
    wall = start()
    wall.wait_for(" 2 faces,")
    assert wall.end() == 0
    assert not (folder / "said.sqlite").exists()


def test_without_a_screen_it_is_to_be_tried_again(start):
    assert start(display=":987").process.wait(LONG) == 75
    assert start(display="").process.wait(LONG) == 75


def test_when_the_screen_is_lost_it_is_to_be_tried_again(start):
    with x_server() as (server, display):
        wall = start(display=display)
        wall.wait_for("camera demo")
        server.kill()
        assert wall.process.wait(LONG) == 75
    assert wall.log.read_text().count("the X server is gone") == 1
    with x_server() as (_, display):
        start(display=display).wait_for("camera demo")


# Writes down how often the wall turned to its picture in any one second, at the most.
TURNS = """
import time
from collections import deque
from pathlib import Path
from installation.display.presenter import Presenter
turns, most, turn = deque(), [0], Presenter.{work}
def counted(wall):
    turns.append(time.monotonic())
    while turns[0] < turns[-1] - 1:
        turns.popleft()
    if len(turns) > most[0]:
        most[0] = len(turns)
        Path("turns").write_text(str(most[0]))
    turn(wall)
Presenter.{work} = counted
"""


def test_without_a_camera_it_waits_and_hardly_works(start, folder, built):
    write(folder, built, camera="{source: /dev/video987}")
    wall = start(TURNS.format(work="show"))
    # In the words of the status page.
    wall.wait_for("STATUS=does not work: /dev/video987: no camera there", times=3)
    assert wall.end() == 0
    # The benchmark tells how little work that is; this is for what runs away.
    assert 0 < int((folder / "turns").read_text()) <= 25


def test_at_closing_time_nothing_is_seen_and_nothing_sees(start, folder, built):
    read, closed = folder / "read", folder / "closed"
    wall = start(
        f"""
        from pathlib import Path
        from installation.capture.demo import DemoSource
        healthy = DemoSource.read
        def note(source):
            Path({str(read)!r}).touch()
            return healthy(source)
        DemoSource.read = note
        DemoSource.close = lambda source: Path({str(closed)!r}).touch()
        """
        + indent(TURNS.format(work="show_dark"), " " * 8)
    )
    wall.wait_for("camera demo")
    write(folder, built, hours=CLOSED)
    wall.send(signal.SIGHUP)
    while not closed.exists():
        wall.wait_for("STATUS=closed")
    read.unlink()
    wall.wait_for("WATCHDOG=1", times=6)
    assert not read.exists()
    write(folder, built)
    wall.send(signal.SIGHUP)
    wall.wait_for("camera demo")
    assert read.exists()
    assert wall.end() == 0
    assert 0 < int((folder / "turns").read_text()) <= 12


def test_started_at_night_it_opens_no_camera(start, folder, built):
    write(folder, built, camera="{source: /dev/video987}", hours=CLOSED)
    wall = start()
    wall.wait_for("STATUS=closed", times=2)
    assert "video987" not in wall.log.read_text().partition("running: ")[2].partition("\n")[2]
    assert wall.end() == 0
