"""The commands as their users run them: a process each."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from installation.vision.boxes import iou
from tests.paths import ROOT
from tests.portraits import COLLINS_FACE, HOPPER_FACE
from tests.videos import write_video
from tests.wall_process import needs_xvfb, x_server

COMMAND = [sys.executable, "-m", "installation"]
# Seconds; far beyond what anything here takes, on the slowest of machines.
LONG = 300.0


def installation(*arguments, cwd=ROOT):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


def is_one_complaint(stderr):
    return stderr.count("\n") == 1 and stderr.startswith("installation: ")


@pytest.fixture
def pictures(built, tmp_path, hopper, collins):
    cv2.imwrite(str(tmp_path / "hopper.png"), hopper)
    cv2.imwrite(str(tmp_path / "both.jpg"), np.hstack([collins, hopper[:512]]))
    return tmp_path


class TestUse:
    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["fly"],
            ["classify"],
            ["classify", "--top", "0", "x"],
            ["demo", "--frames", "-1"],
            ["demo", "--seconds", "nan"],
            ["demo", "--frames", "1", "--seconds", "1"],
            ["demo", "--output", "x.gif"],
            ["engines"],
            ["engines", "burn"],
            ["trace"],
            ["bench", "everything"],
            ["bench", "--size", "1280"],
            ["bench", "--size", "16x9"],
        ],
    )
    def test_wrong_use_is_status_2_and_tells_the_right_one(self, arguments):
        ran = installation(*arguments)
        assert ran.returncode == 2
        assert "usage: installation" in ran.stderr
        assert ran.stdout == ""

    @pytest.mark.parametrize(
        "command",
        ["", "run", "demo", "classify", "trace", "engines", "bench", "check", "cameras", "record"],
    )
    def test_help(self, command):
        ran = installation(*command.split(), "--help")
        assert ran.returncode == 0
        assert len(ran.stdout.splitlines()) > 5

    @pytest.mark.parametrize(
        "arguments",
        [["run"], ["demo"], ["classify", "x.png"], ["trace", "x.mp4"], ["engines", "list"]],
    )
    def test_a_config_with_a_typo_is_one_line_for_every_command(self, tmp_path, arguments):
        config = tmp_path / "config.yaml"
        config.write_text("camera:\n  sorce: 0\n")
        ran = installation(*arguments, "--config", config)
        assert ran.returncode == 1
        line = f"installation: {config}:2: camera.sorce: unknown key; did you mean source?\n"
        assert ran.stderr.endswith(line)

    def test_without_a_config_it_says_where_it_looked(self, tmp_path):
        ran = installation("engines", "list", cwd=tmp_path)
        assert ran.returncode == 1
        assert is_one_complaint(ran.stderr)

    @pytest.mark.parametrize("moment", [0, 0.05, 0.1, 0.2, 0.4, 0.8])
    def test_ctrl_c_at_any_moment_is_no_traceback(self, built, moment):
        # Until the command has told Python what Ctrl-C means, Python would show a traceback.
        code = (
            "import signal, sys\n"
            "from installation.__main__ import start\n"
            "honest = signal.signal\n"
            "def told(*arguments):\n"
            "    signal.signal = honest\n"
            "    honest(*arguments)\n"
            "    print('begun', flush=True)\n"
            "signal.signal = told\n"
            "sys.exit(start())"
        )
        running = subprocess.Popen(
            [sys.executable, "-c", code, "demo", "--headless"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert running.stdout.readline() == "begun\n"
        time.sleep(moment)
        running.send_signal(signal.SIGINT)
        assert "Traceback" not in running.communicate(timeout=LONG)[1]

    def test_a_reader_that_leaves_early_is_no_trouble(self, pictures):
        running = subprocess.Popen(
            [*COMMAND, "classify", *[str(pictures / "hopper.png")] * 20, "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
        running.stderr.close()
        running.wait(LONG)


class TestClassify:
    def test_json_is_complete(self, pictures):
        ran = installation("classify", "--json", "--top", 3, pictures / "both.jpg")
        assert ran.returncode == 0
        assert ran.stderr == ""
        found = json.loads(ran.stdout)
        assert list(found) == ["image", "width", "height", "faces", "scene"]
        assert found["image"] == str(pictures / "both.jpg")
        assert (found["width"], found["height"]) == (1024, 512)
        boxes = np.array([face["box"] for face in found["faces"]], np.float32)
        truth = np.array([COLLINS_FACE, np.add(HOPPER_FACE, (512, 0, 512, 0))], np.float32)
        assert (np.diag(iou(boxes, truth)) > 0.6).all()
        for labelled in (*found["faces"], found["scene"]):
            scores = [label["score"] for label in labelled["labels"]]
            assert len(scores) == 3
            assert scores == sorted(scores, reverse=True)
            assert all(set(label) == {"wnid", "words", "score"} for label in labelled["labels"])

    def test_as_many_labels_as_the_policy_allows(self, pictures):
        config = pictures / "full.yaml"
        config.write_text(f"labels: {{policy: full}}\ninference: {{engines: {ROOT}/engines/built}}")
        for arguments, count in ([], 1239), (["--config", config], 2832):
            ran = installation(
                "classify", "--json", "--top", 9999, pictures / "hopper.png", *arguments
            )
            (face,) = json.loads(ran.stdout)["faces"]
            assert len(face["labels"]) == count
            assert sum(label["score"] for label in face["labels"]) == pytest.approx(1, abs=1e-3)

    def test_bad_files_are_a_line_each_and_the_others_are_still_read(self, pictures):
        whole = (pictures / "both.jpg").read_bytes()
        (pictures / "half.jpg").write_bytes(whole[: len(whole) // 2])
        (pictures / "text.jpg").write_text("hello")
        (pictures / "empty.jpg").touch()
        os.mkfifo(pictures / "fifo.jpg")
        Image.new("L", (20000, 20000)).save(pictures / "huge.png")
        Image.new("RGB", (1, 1)).save(pictures / "dot.png")
        bad = ["missing.jpg", "half.jpg", "text.jpg", "empty.jpg", "huge.png", "fifo.jpg"]
        good = ["dot.png", "both.jpg"]
        names = [bad[0], good[0], *bad[1:], good[1]]
        copies = pictures / "copies"
        ran = installation(
            "classify", "--json", *[pictures / name for name in names], "--output", copies
        )
        assert ran.returncode == 1
        complaints = ran.stderr.splitlines()
        assert len(complaints) == len(bad)
        for name, line in zip(bad, complaints, strict=True):
            assert line.startswith(f"installation: {pictures / name}: ")
        read = [json.loads(line) for line in ran.stdout.splitlines()]
        assert [Path(each["image"]).name for each in read] == good
        assert [len(each["faces"]) for each in read] == [0, 2]
        assert sorted(path.name for path in copies.iterdir()) == sorted(good)

    def test_copies_are_drawn_on_and_nothing_is_lost(self, pictures, hopper):
        (pictures / "other").mkdir()
        shutil.copy(pictures / "hopper.png", pictures / "other" / "hopper.png")
        both = [pictures / "hopper.png", pictures / "other" / "hopper.png"]
        (pictures / "hopper-2.png").write_text("another's")
        assert installation("classify", *both, "--output", pictures).returncode == 0
        assert np.array_equal(cv2.imread(str(both[0])), hopper)
        assert (pictures / "hopper-2.png").read_text() == "another's"
        for name in ("hopper-3.png", "hopper-4.png"):
            drawn = cv2.imread(str(pictures / name))
            assert drawn.shape == hopper.shape
            assert (drawn == [0x14, 0xFF, 0x39]).all(-1).sum() > 500
        assert len(list(pictures.glob("*.png"))) == 4

    def test_text_for_people(self, pictures):
        ran = installation("classify", "--top", 1, pictures / "both.jpg")
        lines = ran.stdout.splitlines()
        assert lines[0] == f"{pictures / 'both.jpg'}: 2 faces"
        assert [line.split(":")[0].strip() for line in lines[1:]] == ["face 1", "face 2", "whole"]

    def test_a_name_that_is_no_text(self, pictures):
        odd = os.fsencode(pictures) + b"/\xff.png"
        shutil.copy(pictures / "hopper.png", odd)
        for arguments in ([], ["--json"]):
            ran = subprocess.run(
                [*COMMAND, "classify", *arguments, odd], cwd=ROOT, capture_output=True, check=False
            )
            assert (ran.returncode, ran.stderr) == (0, b"")


class TestOutput:
    @pytest.mark.parametrize("arguments", [["engines", "list"], ["classify", "both.jpg"]])
    def test_nobody_reading_and_a_full_disk(self, pictures, arguments):
        arguments = [str(pictures / each) if each == "both.jpg" else each for each in arguments]
        read, write = os.pipe()
        os.close(read)
        ran = subprocess.run(
            [*COMMAND, *arguments], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False
        )
        os.close(write)
        assert (ran.returncode, ran.stderr) == (1, b"")
        with Path("/dev/full").open("w") as full:
            ran = subprocess.run(
                [*COMMAND, *arguments], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False
            )
        assert ran.returncode == 1
        assert ran.stderr == b"installation: standard output: No space left on device\n"


class TestPrivacy:
    def test_nobody_is_called_and_nothing_is_left_behind(self, pictures, tmp_path):
        """Neither a socket nor a process is opened, nor a file written at home."""
        home = tmp_path / "home"
        home.mkdir()
        script = (
            "import os, sys\n"
            "def hook(event, arguments):\n"
            "    if event.startswith(('socket.', 'os.fork', 'os.posix_spawn', 'subprocess.')):\n"
            "        os.write(2, f'{event} {arguments}\\n'.encode())\n"
            "sys.addaudithook(hook)\n"
            "from installation.commands.cli import main\n"
            "sys.exit(main(sys.argv[1:]))\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", script, "classify", "--json", str(pictures / "both.jpg")],
            cwd=ROOT,
            env={**os.environ, "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        assert list(home.iterdir()) == []


class TestTrace:
    def test_one_object_a_picture(self, crowd, crowd_film):
        ran = installation("trace", crowd_film, "--json")
        assert ran.returncode == 0
        assert ran.stderr == ""
        scenes = [json.loads(line) for line in ran.stdout.splitlines()]
        assert [scene["frame"] for scene in scenes] == list(range(90))
        last = scenes[-1]["tracks"]
        assert len(last) == 2
        truth = np.array([each.box for each in crowd.truth(89 / 15)], np.float32)
        boxes = np.array([track["box"] for track in last], np.float32)
        assert (iou(boxes, truth).max(1) > 0.6).all()
        for track in last:
            assert set(track) == {"id", "box", "words", "wnid", "score", "settled"}
            assert track["settled"]
        assert installation("trace", crowd_film, "--json").stdout == ran.stdout

    def test_text_for_people_says_what_changes(self, crowd_film):
        lines = installation("trace", crowd_film).stdout.splitlines()
        assert 2 < len(lines) < 45
        assert "nobody" in lines[0]

    def test_times_are_those_of_the_file(self, tmp_path):
        times_s = [0.0, 0.04, 0.08, 1.0, 3.0]
        path = write_video(tmp_path / "a.mkv", times_s, audio_s=4)
        ran = installation("trace", path.as_uri(), "--json")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert [json.loads(line)["time"] for line in ran.stdout.splitlines()] == times_s

    def test_a_film_that_breaks_off(self, crowd_film, tmp_path):
        whole = crowd_film.read_bytes()
        (tmp_path / "half.avi").write_bytes(whole[: len(whole) // 3])
        ran = installation("trace", tmp_path / "half.avi", "--json")
        assert ran.returncode == 1
        assert is_one_complaint(ran.stderr)
        assert "ends prematurely after" in ran.stderr
        assert len(ran.stdout.splitlines()) > 10

    @pytest.mark.parametrize("content", [None, b"", b"hello"])
    def test_what_is_no_film(self, tmp_path, content):
        if content is not None:
            (tmp_path / "a.mp4").write_bytes(content)
        ran = installation("trace", tmp_path / "a.mp4")
        assert (ran.returncode, ran.stdout) == (1, "")
        assert is_one_complaint(ran.stderr)


class TestEngines:
    def test_what_is_built_is_ready(self, built):
        for action in ("list", "verify"):
            ran = installation("engines", action)
            assert ran.returncode == 0
            lines = [line.split() for line in ran.stdout.splitlines()]
            assert {line[1] for line in lines} == {"ready"}
            names = {"demo-visitors", "face-centerface", "person-semantic", "device"}
            assert names <= {line[0] for line in lines}

    def test_what_is_not_built_is_said(self, tmp_path):
        (tmp_path / "config.yaml").write_text("inference: {engines: nowhere}")
        assert installation("engines", "list", cwd=tmp_path).returncode == 0
        ran = installation("engines", "verify", cwd=tmp_path)
        assert ran.returncode == 1
        assert ran.stdout.count("not built") == 4

    def test_a_place_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").touch()
        (tmp_path / "config.yaml").write_text("inference: {engines: file/engines}")
        ran = installation("engines", "build", cwd=tmp_path)
        assert ran.returncode == 1
        assert ran.stderr == f"installation: {tmp_path}/file/engines: Not a directory\n"

    def test_without_engines_the_others_say_what_to_run(self, tmp_path, pictures):
        (tmp_path / "config.yaml").write_text("inference: {engines: nowhere}")
        for arguments in (["classify", "hopper.png"], ["demo", "--headless"]):
            ran = installation(*arguments, cwd=tmp_path)
            assert ran.returncode == 1
            assert "run `installation engines build`" in ran.stderr.splitlines()[-1]
            assert "Traceback" not in ran.stderr


class TestDemo:
    def test_without_a_screen_it_says_so_and_leaves_a_picture(self, built, tmp_path):
        shutil.copy(ROOT / "config.yaml", tmp_path)
        config = tmp_path / "config.yaml"
        config.write_text(config.read_text().replace("engines/built", str(built), 1))
        ran = installation("demo", "--frames", 45, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert "no screen here" in ran.stderr
        assert cv2.imread(str(tmp_path / "demo.png")).shape == (720, 1280, 3)

    def test_a_film_of_it(self, built, tmp_path):
        film = tmp_path / "x.mp4"
        ran = installation("demo", "--headless", "--frames", 20, "--output", film)
        assert ran.returncode == 0, ran.stderr
        assert int(cv2.VideoCapture(str(film)).get(cv2.CAP_PROP_FRAME_COUNT)) == 20

    def test_interrupted_it_still_leaves_its_picture(self, built, tmp_path):
        picture = tmp_path / "x.png"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            manager.settimeout(LONG)
            running = subprocess.Popen(
                [*COMMAND, "demo", "--headless", "--seconds", "5000", "--output", str(picture)],
                cwd=ROOT,
                env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert any("inference on" in line for line in iter(running.stderr.readline, ""))
            # Some have been shown by then.
            while not re.search(rb"[1-9]\d*\.\d pictures a second", manager.recv(4096)):
                pass
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=LONG)
        # On a slow machine a look may take longer than the time there is for the end.
        assert err in ("", "WARNING vision did not stop in time\n")
        assert running.returncode == 0
        assert f"see {picture}" in out
        assert cv2.imread(str(picture)).shape == (720, 1280, 3)

    @pytest.mark.parametrize("output", ["/nowhere/x.png", "/proc/x.png"])
    def test_a_picture_that_cannot_be_kept(self, built, output):
        ran = installation("demo", "--headless", "--frames", 2, "--output", output)
        assert ran.returncode == 1
        assert ran.stderr.splitlines()[-1].startswith(f"installation: {output}: ")
        assert "Traceback" not in ran.stderr


class TestRun:
    @needs_xvfb
    @pytest.mark.parametrize("source", ["film.mp4", "nothing.png"])
    def test_a_film_that_is_not_there(self, built, tmp_path, monkeypatch, source):
        (tmp_path / "config.yaml").write_text(
            f"camera: {{source: {source}}}\ninference: {{engines: {built}}}"
        )
        with x_server() as (_, display):
            monkeypatch.setenv("DISPLAY", display)
            ran = installation("run", cwd=tmp_path)
        assert ran.returncode == 1
        assert is_one_complaint(ran.stderr.splitlines(keepends=True)[-1])
        assert "Traceback" not in ran.stderr

    def test_without_a_screen(self, built, tmp_path):
        (tmp_path / "config.yaml").write_text(
            f"camera: {{source: demo}}\ninference: {{engines: {built}}}"
        )
        ran = installation("run", cwd=tmp_path)
        # systemd may try again: the screen may be late.
        assert ran.returncode == 75
        assert is_one_complaint(ran.stderr)
        assert "no screen" in ran.stderr

    @pytest.mark.skipif(not shutil.which("xvfb-run"), reason="no xvfb-run here")
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_on_a_screen_until_it_is_told_to_stop(self, built, crowd_film, tmp_path, number):
        (tmp_path / "config.yaml").write_text(
            f"camera: {{source: {crowd_film}}}\ninference: {{engines: {built}}}"
        )
        # A server of its own, found by the number it writes.
        read, write = os.pipe()
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24"],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
        display = f":{os.read(read, 16).decode().strip()}"
        log = tmp_path / "log"
        with log.open("w") as stderr:
            running = subprocess.Popen(
                [*COMMAND, "run"],
                cwd=tmp_path,
                env={**os.environ, "DISPLAY": display},
                stderr=stderr,
            )
        try:
            deadline = time.monotonic() + LONG
            while "running:" not in log.read_text():
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            time.sleep(1)
            running.send_signal(number)
            assert running.wait(LONG) == 0
            assert "800 x 600" in log.read_text()
            assert "Traceback" not in log.read_text()
        finally:
            running.kill()
            server.terminate()
            server.wait()

    @pytest.mark.skipif(not shutil.which("xvfb-run"), reason="no xvfb-run here")
    def test_a_film_shown_once_ends_by_itself(self, built, crowd_film, tmp_path):
        (tmp_path / "config.yaml").write_text(
            f"camera: {{source: {crowd_film}, loop: false}}\ninference: {{engines: {built}}}"
        )
        ran = subprocess.run(
            ["xvfb-run", "-a", *COMMAND, "run"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr


def test_what_belongs_to_the_chain_is_not_asked_of_the_networks_alone(built):
    ran = installation("bench", "inference", "--faces", "3")
    assert ran.returncode == 1
    assert is_one_complaint(ran.stderr)
    assert "--faces belongs to the chain" in ran.stderr
