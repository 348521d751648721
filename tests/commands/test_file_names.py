"""Files whose names are no text in the locale's encoding, for every command that takes a name."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest

from installation.record.entry import Entry
from installation.record.store import Store
from tests.paths import ROOT
from tests.ports import free_port
from tests.wall_process import LONG, needs_xvfb, x_server

# In Latin 1, which is no UTF-8, and in UTF-8, which is no ASCII.
NAMES = [b"caf\xe9", "café".encode()]
LOCALES = {
    "UTF-8": {"LC_ALL": "C.UTF-8"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}

pytestmark = [
    pytest.mark.parametrize("name", NAMES, ids=["latin-1", "utf-8"]),
    pytest.mark.parametrize("locale", LOCALES),
]


@pytest.fixture
def folder(built, tmp_path, name):
    """A folder of such a name."""
    path = tmp_path / os.fsdecode(name)
    path.mkdir()
    (path / "config.yaml").write_text(
        f"inference: {{engines: {built}, device: cpu}}\nrecord: {{file: said.sqlite}}\n"
        "camera: {source: film.avi}\n"
    )
    return path


def installation(folder, locale, *arguments):
    """Run a command in a folder; return its exit status, its answer and what it said besides."""
    ran = subprocess.run(
        [sys.executable, "-m", "installation", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | LOCALES[locale],
        capture_output=True,
        check=False,
        timeout=5 * LONG,
    )
    assert b"Traceback" not in ran.stderr and b"unexpected" not in ran.stderr
    return ran.returncode, ran.stdout, ran.stderr


def readable(picture):
    """Tell whether a picture file, by a name that OpenCV may not take, holds one."""
    return cv2.imdecode(np.frombuffer(picture.read_bytes(), np.uint8), 1) is not None


def test_a_film_is_traced(folder, name, locale, crowd_film):
    film = folder / os.fsdecode(name + b".avi")
    film.write_bytes(crowd_film.read_bytes())
    status, answer, said = installation(folder, locale, "trace", "--json", film)
    assert (status, said) == (0, b"")
    assert [json.loads(line)["frame"] for line in answer.splitlines()] == list(range(90))
    status, answer, said = installation(folder, locale, "trace", name + b"-2.avi")
    assert (status, answer) == (1, b"")
    assert said.startswith(b"installation: caf") and said.endswith(b"-2.avi: no such file\n")


def test_a_picture_is_classified_and_its_name_can_be_told_from_the_answer(
    folder, name, locale, hopper
):
    picture = name + b".png"
    (folder / os.fsdecode(picture)).write_bytes(cv2.imencode(".png", hopper)[1].tobytes())
    arguments = ("classify", "--json", picture, "--output", name)
    status, answer, said = installation(folder, locale, *arguments)
    assert (status, said) == (0, b"")
    assert os.fsencode(json.loads(answer)["image"]) == picture
    assert readable(folder / os.fsdecode(name) / os.fsdecode(picture))
    assert installation(folder, locale, "classify", picture)[0] == 0


@pytest.mark.parametrize("kind", [b".png", b".mp4"])
def test_the_demonstration_is_kept(folder, name, locale, kind):
    output = folder / os.fsdecode(name + kind)
    arguments = ("demo", "--headless", "--frames", "3", "--output", name + kind)
    status, answer, said = installation(folder, locale, *arguments)
    assert status == 0, said
    assert b"see caf" in answer
    if kind == b".png":
        assert readable(output)
    else:
        # OpenCV takes no such names.
        plain = folder.parent / "plain.mp4"
        output.rename(plain)
        assert int(cv2.VideoCapture(str(plain)).get(cv2.CAP_PROP_FRAME_COUNT)) == 3


def test_a_config_is_found(folder, name, locale):
    config = folder / os.fsdecode(name + b".yaml")
    (folder / "config.yaml").rename(config)
    status, _, said = installation(folder, locale, "labels", "policy", "--config", config)
    assert (status, said) == (0, b"")
    status, answer, _ = installation(folder, locale, "check", "--json", "--config", config)
    (found,) = [each for each in json.loads(answer)["findings"] if each["about"] == "config"]
    assert os.fsencode(found["said"]) == os.fsencode(config)
    config.write_text("camera:\n  sorce: 0\n")
    status, _, said = installation(folder, locale, "labels", "policy", "--config", config)
    assert status == 1
    assert b".yaml:2: camera.sorce: unknown key" in said


def test_a_record_is_read_and_written(folder, name, locale):
    record = folder / os.fsdecode(name + b".sqlite")
    with contextlib.closing(Store(record)) as store:
        store.add((Entry(400_000, "n10104064", 0.5, 3, "wall", "safe", "test"),))
    for arguments in (
        ("summary", "--json"),
        ("export", "--csv", name + b".csv"),
        ("plot", name + b".png"),
        ("plot", name + b".html"),
    ):
        ran = installation(folder, locale, "record", *arguments, "--record", record)
        assert (ran[0], ran[2]) == (0, b""), arguments
    assert readable(folder / os.fsdecode(name + b".png"))
    assert len((folder / os.fsdecode(name + b".csv")).read_text().splitlines()) == 2
    status, answer, _ = installation(folder, locale, "record", "merge", name + b"-2.sqlite", record)
    assert status == 0
    assert answer.endswith(b"-2.sqlite: 1 words\n")


def status_of(url):
    """Ask until the wall works: a slow machine takes its time to get there."""
    until = time.monotonic() + LONG
    while True:
        try:
            with urllib.request.urlopen(url, timeout=LONG) as got:
                return got.status
        except urllib.error.HTTPError as error:
            assert error.code == 503 and time.monotonic() < until
            time.sleep(0.2)


@needs_xvfb
def test_a_wall_in_such_a_folder_tells_how_it_is(folder, name, locale, built, crowd_film):
    (folder / "film.avi").write_bytes(crowd_film.read_bytes())
    port = free_port()
    with (folder / "config.yaml").open("a") as config:
        config.write(f"status: {{port: {port}}}\n")
    address = str(folder.parent / "notify")
    with (
        x_server() as (_, display),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        (folder / "log").open("w+b") as log,
    ):
        manager.bind(address)
        manager.settimeout(LONG)
        variables = {"PYTHONPATH": str(ROOT), "DISPLAY": display, "NOTIFY_SOCKET": address}
        process = subprocess.Popen(
            [sys.executable, "-m", "installation", "run"],
            cwd=folder,
            env=os.environ | variables | LOCALES[locale],
            stderr=log,
        )
        killer = threading.Timer(2 * LONG, process.kill)
        killer.start()
        try:
            while b"film.avi" not in (told := manager.recv(4096)):
                assert process.poll() is None
            for page in ("", "healthz", "metrics"):
                assert status_of(f"http://127.0.0.1:{port}/{page}") == 200
            process.terminate()
            assert process.wait(LONG) == 0
        finally:
            killer.cancel()
            process.kill()
            process.wait()
        log.seek(0)
        said = log.read()
    assert b"/caf" in told and b"unexpected" not in said and b"Traceback" not in said
    assert (folder / "said.sqlite").exists()


def test_a_name_that_the_encoding_has_not_is_told(folder, name, locale):
    (folder / "config.yaml").write_text("record: {file: é.sqlite}\n", encoding="utf-8")
    status, _, said = installation(folder, locale, "record", "summary")
    assert status == 1
    if locale == "ASCII":
        assert said == (
            b"installation: '\\xe9' cannot be in a file's name while the locale's encoding is "
            b"ascii; set LC_ALL=C.UTF-8\n"
        )
    else:
        assert b"no such file" in said
