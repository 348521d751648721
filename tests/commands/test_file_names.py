"""File names that the locale's encoding cannot decode, in every command that takes one."""

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

# Latin 1, which is not valid UTF-8, and UTF-8, which is not valid ASCII.
NAMES = [b"caf\xe9", "café".encode()]
LOCALES = {
    "UTF-8": {"LC_ALL": "C.UTF-8"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.parametrize("name", NAMES, ids=["latin-1", "utf-8"]),
    pytest.mark.parametrize("locale", LOCALES),
]


@pytest.fixture
def folder(built, tmp_path, name):
    """A folder with such a name."""
    path = tmp_path / os.fsdecode(name)
    path.mkdir()
    (path / "config.yaml").write_text(
        f"inference: {{engines: {built}, device: cpu}}\nrecord: {{file: said.sqlite}}\n"
        "camera: {source: film.avi}\n"
    )
    return path


def installation(folder, locale, *arguments):
    """Run a command in a folder; return its exit status, standard output and standard error."""
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


def is_image(path):
    """Return whether OpenCV can decode a file whose name it may not accept."""
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), 1) is not None


def test_a_video_is_traced(folder, name, locale, crowd_film):
    video = folder / os.fsdecode(name + b".avi")
    video.write_bytes(crowd_film.read_bytes())
    status, out, err = installation(folder, locale, "trace", "--json", video)
    assert (status, err) == (0, b"")
    assert [json.loads(line)["frame"] for line in out.splitlines()] == list(range(90))
    status, out, err = installation(folder, locale, "trace", name + b"-2.avi")
    assert (status, out) == (1, b"")
    assert err.startswith(b"installation: caf") and err.endswith(b"-2.avi: no such file\n")


def test_an_image_is_classified_and_the_output_preserves_its_name(folder, name, locale, hopper):
    image = name + b".png"
    (folder / os.fsdecode(image)).write_bytes(cv2.imencode(".png", hopper)[1].tobytes())
    arguments = ("classify", "--json", image, "--output", name)
    status, out, err = installation(folder, locale, *arguments)
    assert (status, err) == (0, b"")
    assert os.fsencode(json.loads(out)["image"]) == image
    assert is_image(folder / os.fsdecode(name) / os.fsdecode(image))
    assert installation(folder, locale, "classify", image)[0] == 0


@pytest.mark.parametrize("kind", [b".png", b".mp4"])
def test_the_demonstration_is_saved(folder, name, locale, kind):
    output = folder / os.fsdecode(name + kind)
    arguments = ("demo", "--headless", "--frames", "3", "--output", name + kind)
    status, out, err = installation(folder, locale, *arguments)
    assert status == 0, err
    assert b"see caf" in out
    if kind == b".png":
        assert is_image(output)
    else:
        # OpenCV does not accept such names.
        plain = folder.parent / "plain.mp4"
        output.rename(plain)
        assert int(cv2.VideoCapture(str(plain)).get(cv2.CAP_PROP_FRAME_COUNT)) == 3


def test_a_config_is_found(folder, name, locale):
    config = folder / os.fsdecode(name + b".yaml")
    (folder / "config.yaml").rename(config)
    status, _, err = installation(folder, locale, "labels", "policy", "--config", config)
    assert (status, err) == (0, b"")
    status, out, _ = installation(folder, locale, "check", "--json", "--config", config)
    (found,) = [each for each in json.loads(out)["findings"] if each["check"] == "config"]
    assert os.fsencode(found["message"]) == os.fsencode(config)
    config.write_text("camera:\n  sorce: 0\n")
    status, _, err = installation(folder, locale, "labels", "policy", "--config", config)
    assert status == 1
    assert b".yaml:2: camera.sorce: unknown key" in err


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
    assert is_image(folder / os.fsdecode(name + b".png"))
    assert len((folder / os.fsdecode(name + b".csv")).read_text().splitlines()) == 2
    status, out, _ = installation(folder, locale, "record", "merge", name + b"-2.sqlite", record)
    assert status == 0
    assert out.endswith(b"-2.sqlite: 1 words\n")


def status_of(url):
    """Return the HTTP status once it is no longer 503: a slow machine takes long to start."""
    until = time.monotonic() + LONG
    while True:
        try:
            with urllib.request.urlopen(url, timeout=LONG) as got:
                return got.status
        except urllib.error.HTTPError as error:
            assert error.code == 503 and time.monotonic() < until
            time.sleep(0.2)


@needs_xvfb
def test_the_wall_in_such_a_folder_serves_its_status(folder, name, locale, built, crowd_film):
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
            while b"film.avi" not in (status := manager.recv(4096)):
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
        text = log.read()
    assert b"/caf" in status and b"unexpected" not in text and b"Traceback" not in text
    assert (folder / "said.sqlite").exists()


def test_a_name_that_cannot_be_encoded_is_an_error(folder, name, locale):
    (folder / "config.yaml").write_text("record: {file: é.sqlite}\n", encoding="utf-8")
    status, _, err = installation(folder, locale, "record", "summary")
    assert status == 1
    if locale == "ASCII":
        assert err == (
            b"installation: '\\xe9' cannot be in a file name: the locale's encoding is ascii; "
            b"set LC_ALL=C.UTF-8\n"
        )
    else:
        assert b"no such file" in err
