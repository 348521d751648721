"""The commands, each run as a process as its users run it."""

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
# Longer than anything here takes on the slowest of machines.
TIMEOUT_S = 300.0


def installation(*arguments, cwd=ROOT):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


def is_one_error_line(stderr):
    return stderr.count("\n") == 1 and stderr.startswith("installation: ")


@pytest.fixture
def images(built, tmp_path, hopper, collins):
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
    def test_wrong_usage_exits_with_2_and_prints_the_usage(self, arguments):
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
    def test_a_typo_in_the_config_is_one_line_in_every_command(self, tmp_path, arguments):
        config = tmp_path / "config.yaml"
        config.write_text("camera:\n  sorce: 0\n")
        ran = installation(*arguments, "--config", config)
        assert ran.returncode == 1
        line = f"installation: {config}:2: camera.sorce: unknown key; did you mean source?\n"
        assert ran.stderr.endswith(line)

    def test_without_a_config_the_error_names_the_places_searched(self, tmp_path):
        ran = installation("engines", "list", cwd=tmp_path)
        assert ran.returncode == 1
        assert is_one_error_line(ran.stderr)

    @pytest.mark.parametrize("moment", [0, 0.05, 0.1, 0.2, 0.4, 0.8])
    def test_ctrl_c_never_prints_a_traceback(self, built, moment):
        # Python itself would print one until the command has set its signal handler.
        code = (
            "import signal, sys\n"
            "from installation.__main__ import start\n"
            "original = signal.signal\n"
            "def once(*arguments):\n"
            "    signal.signal = original\n"
            "    original(*arguments)\n"
            "    print('begun', flush=True)\n"
            "signal.signal = once\n"
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
        assert "Traceback" not in running.communicate(timeout=TIMEOUT_S)[1]

    def test_a_reader_that_closes_the_pipe_early_causes_no_error(self, images):
        running = subprocess.Popen(
            [*COMMAND, "classify", *[str(images / "hopper.png")] * 20, "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
        running.stderr.close()
        running.wait(TIMEOUT_S)


class TestClassify:
    def test_json_is_complete(self, images):
        ran = installation("classify", "--json", "--top", 3, images / "both.jpg")
        assert ran.returncode == 0
        assert ran.stderr == ""
        found = json.loads(ran.stdout)
        assert list(found) == ["image", "width", "height", "faces", "scene"]
        assert found["image"] == str(images / "both.jpg")
        assert (found["width"], found["height"]) == (1024, 512)
        boxes = np.array([face["box"] for face in found["faces"]], np.float32)
        truth = np.array([COLLINS_FACE, np.add(HOPPER_FACE, (512, 0, 512, 0))], np.float32)
        assert (np.diag(iou(boxes, truth)) > 0.6).all()
        for labelled in (*found["faces"], found["scene"]):
            scores = [label["score"] for label in labelled["labels"]]
            assert len(scores) == 3
            assert scores == sorted(scores, reverse=True)
            assert all(set(label) == {"wnid", "words", "score"} for label in labelled["labels"])

    def test_as_many_labels_as_the_policy_allows(self, images):
        config = images / "full.yaml"
        config.write_text(f"labels: {{policy: full}}\ninference: {{engines: {ROOT}/engines/built}}")
        for arguments, count in ([], 1239), (["--config", config], 2832):
            ran = installation(
                "classify", "--json", "--top", 9999, images / "hopper.png", *arguments
            )
            (face,) = json.loads(ran.stdout)["faces"]
            assert len(face["labels"]) == count
            assert sum(label["score"] for label in face["labels"]) == pytest.approx(1, abs=1e-3)

    def test_each_bad_file_is_one_line_and_the_others_are_classified(self, images):
        whole = (images / "both.jpg").read_bytes()
        (images / "half.jpg").write_bytes(whole[: len(whole) // 2])
        (images / "text.jpg").write_text("hello")
        (images / "empty.jpg").touch()
        os.mkfifo(images / "fifo.jpg")
        Image.new("L", (20000, 20000)).save(images / "huge.png")
        Image.new("RGB", (1, 1)).save(images / "dot.png")
        bad = ["missing.jpg", "half.jpg", "text.jpg", "empty.jpg", "huge.png", "fifo.jpg"]
        good = ["dot.png", "both.jpg"]
        names = [bad[0], good[0], *bad[1:], good[1]]
        copies = images / "copies"
        ran = installation(
            "classify", "--json", *[images / name for name in names], "--output", copies
        )
        assert ran.returncode == 1
        errors = ran.stderr.splitlines()
        assert len(errors) == len(bad)
        for name, line in zip(bad, errors, strict=True):
            assert line.startswith(f"installation: {images / name}: ")
        read = [json.loads(line) for line in ran.stdout.splitlines()]
        assert [Path(each["image"]).name for each in read] == good
        assert [len(each["faces"]) for each in read] == [0, 2]
        assert sorted(path.name for path in copies.iterdir()) == sorted(good)

    def test_copies_have_boxes_and_replace_nothing(self, images, hopper):
        (images / "other").mkdir()
        shutil.copy(images / "hopper.png", images / "other" / "hopper.png")
        both = [images / "hopper.png", images / "other" / "hopper.png"]
        (images / "hopper-2.png").write_text("another's")
        assert installation("classify", *both, "--output", images).returncode == 0
        assert np.array_equal(cv2.imread(str(both[0])), hopper)
        assert (images / "hopper-2.png").read_text() == "another's"
        for name in ("hopper-3.png", "hopper-4.png"):
            drawn = cv2.imread(str(images / name))
            assert drawn.shape == hopper.shape
            assert (drawn == [0x14, 0xFF, 0x39]).all(-1).sum() > 500
        assert len(list(images.glob("*.png"))) == 4

    def test_text_output(self, images):
        ran = installation("classify", "--top", 1, images / "both.jpg")
        lines = ran.stdout.splitlines()
        assert lines[0] == f"{images / 'both.jpg'}: 2 faces"
        assert [line.split(":")[0].strip() for line in lines[1:]] == ["face 1", "face 2", "whole"]

    def test_a_file_name_that_is_not_valid_text(self, images):
        odd = os.fsencode(images) + b"/\xff.png"
        shutil.copy(images / "hopper.png", odd)
        for arguments in ([], ["--json"]):
            ran = subprocess.run(
                [*COMMAND, "classify", *arguments, odd], cwd=ROOT, capture_output=True, check=False
            )
            assert (ran.returncode, ran.stderr) == (0, b"")


class TestOutput:
    @pytest.mark.parametrize("arguments", [["engines", "list"], ["classify", "both.jpg"]])
    def test_a_closed_pipe_and_a_full_disk(self, images, arguments):
        arguments = [str(images / each) if each == "both.jpg" else each for each in arguments]
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
    def test_no_network_no_process_no_file(self, images, tmp_path):
        """It opens no socket, starts no process and writes no file in the home folder."""
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
            [sys.executable, "-c", script, "classify", "--json", str(images / "both.jpg")],
            cwd=ROOT,
            env={**os.environ, "HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        assert list(home.iterdir()) == []


class TestTrace:
    def test_one_object_per_frame(self, crowd, crowd_film):
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

    def test_text_output_has_a_line_per_change(self, crowd_film):
        lines = installation("trace", crowd_film).stdout.splitlines()
        assert 2 < len(lines) < 45
        assert "nobody" in lines[0]

    def test_times_are_those_of_the_file(self, tmp_path):
        times_s = [0.0, 0.04, 0.08, 1.0, 3.0]
        path = write_video(tmp_path / "a.mkv", times_s, audio_s=4)
        ran = installation("trace", path.as_uri(), "--json")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert [json.loads(line)["time"] for line in ran.stdout.splitlines()] == times_s

    def test_a_truncated_video(self, crowd_film, tmp_path):
        whole = crowd_film.read_bytes()
        (tmp_path / "half.avi").write_bytes(whole[: len(whole) // 3])
        ran = installation("trace", tmp_path / "half.avi", "--json")
        assert ran.returncode == 1
        assert is_one_error_line(ran.stderr)
        assert "ends prematurely after" in ran.stderr
        assert len(ran.stdout.splitlines()) > 10

    @pytest.mark.parametrize("content", [None, b"", b"hello"])
    def test_a_file_that_is_not_a_video(self, tmp_path, content):
        if content is not None:
            (tmp_path / "a.mp4").write_bytes(content)
        ran = installation("trace", tmp_path / "a.mp4")
        assert (ran.returncode, ran.stdout) == (1, "")
        assert is_one_error_line(ran.stderr)


class TestEngines:
    def test_built_engines_are_ready(self, built):
        for options in ([], ["--check"]):
            ran = installation("engines", "list", *options)
            assert ran.returncode == 0
            lines = [line.split() for line in ran.stdout.splitlines()]
            assert {line[1] for line in lines} == {"ready"}
            names = {"demo-visitors", "face-centerface", "person-semantic", "device"}
            assert names <= {line[0] for line in lines}

    def test_missing_engines_are_listed_as_not_built(self, tmp_path):
        (tmp_path / "config.yaml").write_text("inference: {engines: nowhere}")
        assert installation("engines", "list", cwd=tmp_path).returncode == 0
        ran = installation("engines", "list", "--check", cwd=tmp_path)
        assert ran.returncode == 1
        assert ran.stdout.count("not built") == 4

    def test_a_folder_that_cannot_be_created(self, tmp_path):
        (tmp_path / "file").touch()
        (tmp_path / "config.yaml").write_text("inference: {engines: file/engines}")
        ran = installation("engines", "build", cwd=tmp_path)
        assert ran.returncode == 1
        assert ran.stderr == f"installation: {tmp_path}/file/engines: Not a directory\n"

    def test_without_engines_the_other_commands_name_the_command_to_run(self, tmp_path, images):
        (tmp_path / "config.yaml").write_text("inference: {engines: nowhere}")
        for arguments in (["classify", "hopper.png"], ["demo", "--headless"]):
            ran = installation(*arguments, cwd=tmp_path)
            assert ran.returncode == 1
            assert "run `installation engines build`" in ran.stderr.splitlines()[-1]
            assert "Traceback" not in ran.stderr


class TestDemo:
    def test_without_a_screen_it_says_so_and_saves_a_frame(self, built, tmp_path):
        shutil.copy(ROOT / "config.yaml", tmp_path)
        config = tmp_path / "config.yaml"
        config.write_text(config.read_text().replace("engines/built", str(built), 1))
        ran = installation("demo", "--frames", 45, cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert "no screen here" in ran.stderr
        assert cv2.imread(str(tmp_path / "demo.png")).shape == (720, 1280, 3)

    def test_it_saves_a_video(self, built, tmp_path):
        video = tmp_path / "x.mp4"
        ran = installation("demo", "--headless", "--frames", 20, "--output", video)
        assert ran.returncode == 0, ran.stderr
        assert int(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT)) == 20

    def test_when_interrupted_it_still_saves_its_frame(self, built, tmp_path):
        image = tmp_path / "x.png"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            manager.settimeout(TIMEOUT_S)
            running = subprocess.Popen(
                [*COMMAND, "demo", "--headless", "--seconds", "5000", "--output", str(image)],
                cwd=ROOT,
                env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify")},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert any("inference on" in line for line in iter(running.stderr.readline, ""))
            # Some have been shown by then.
            while not re.search(rb"[1-9]\d*\.\d frames per second", manager.recv(4096)):
                pass
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=TIMEOUT_S)
        # On a slow machine one detection may take longer than the time allowed for shutdown.
        assert err in ("", "WARNING vision did not stop in time\n")
        assert running.returncode == 0
        assert f"see {image}" in out
        assert cv2.imread(str(image)).shape == (720, 1280, 3)

    @pytest.mark.parametrize("output", ["/nowhere/x.png", "/proc/x.png"])
    def test_an_output_that_cannot_be_written(self, built, output):
        ran = installation("demo", "--headless", "--frames", 2, "--output", output)
        assert ran.returncode == 1
        assert ran.stderr.splitlines()[-1].startswith(f"installation: {output}: ")
        assert "Traceback" not in ran.stderr


class TestRun:
    @needs_xvfb
    @pytest.mark.parametrize("source", ["film.mp4", "nothing.png"])
    def test_a_source_that_does_not_exist(self, built, tmp_path, monkeypatch, source):
        (tmp_path / "config.yaml").write_text(
            f"camera: {{source: {source}}}\ninference: {{engines: {built}}}"
        )
        with x_server() as (_, display):
            monkeypatch.setenv("DISPLAY", display)
            ran = installation("run", cwd=tmp_path)
        assert ran.returncode == 1
        assert is_one_error_line(ran.stderr.splitlines(keepends=True)[-1])
        assert "Traceback" not in ran.stderr

    def test_without_a_screen(self, built, tmp_path):
        (tmp_path / "config.yaml").write_text(
            f"camera: {{source: demo}}\ninference: {{engines: {built}}}"
        )
        ran = installation("run", cwd=tmp_path)
        # A temporary failure: the screen may come up later.
        assert ran.returncode == 75
        assert is_one_error_line(ran.stderr)
        assert "no screen" in ran.stderr

    @pytest.mark.skipif(not shutil.which("xvfb-run"), reason="no xvfb-run here")
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_it_runs_on_a_screen_until_it_is_stopped(self, built, crowd_film, tmp_path, number):
        (tmp_path / "config.yaml").write_text(
            f"camera: {{source: {crowd_film}}}\ninference: {{engines: {built}}}"
        )
        # A server of its own, which writes its display number.
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
            deadline = time.monotonic() + TIMEOUT_S
            while "running:" not in log.read_text():
                assert running.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            time.sleep(1)
            running.send_signal(number)
            assert running.wait(TIMEOUT_S) == 0
            assert "800 x 600" in log.read_text()
            assert "Traceback" not in log.read_text()
        finally:
            running.kill()
            server.terminate()
            server.wait()

    @pytest.mark.skipif(not shutil.which("xvfb-run"), reason="no xvfb-run here")
    def test_a_video_that_does_not_loop_ends_the_run(self, built, crowd_film, tmp_path):
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


def test_options_of_the_pipeline_benchmark_are_rejected_for_inference(built):
    ran = installation("bench", "inference", "--faces", "3")
    assert ran.returncode == 1
    assert is_one_error_line(ran.stderr)
    assert "--faces belongs to the pipeline benchmark" in ran.stderr
