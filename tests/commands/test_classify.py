"""``installation classify`` and what people give it: no file may end the batch."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from installation.capture.source import CaptureError
from installation.commands.classify import FileResult, OutputFolder
from installation.config.model import Theme
from installation.errors import printable
from installation.scene import Scene
from tests import odd_pictures
from tests.mounts import own_mounts
from tests.paths import ROOT

COMMAND = [sys.executable, "-m", "installation", "classify", "--top", "1"]
NOT_FOR_TECHNICIANS = ("unexpected", "report", "Traceback", "site-packages", "0x", "<")


@pytest.fixture
def classify(built, tmp_path):
    (tmp_path / "config.yaml").write_text(f"inference: {{engines: {built}, device: cpu}}\n")

    def run(*arguments, before=(), **options):
        return subprocess.run(
            [*before, *COMMAND, "--config", str(tmp_path / "config.yaml"), *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=900,
            **options,
        )

    return run


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    return odd_pictures.make(tmp_path_factory.mktemp("odd"))


def told_of(stderr, paths):
    """Return which of the paths are told of, a line each and in their order."""
    lines = stderr.decode().splitlines()
    said = [line.partition(": ")[2] for line in lines]
    assert all(line.startswith("installation: ") for line in lines)
    assert all(line.isprintable() for line in lines)
    found, rest = [], iter(paths)
    for line in said:
        path = next((each for each in rest if line.startswith(f"{printable(str(each))}: ")), None)
        assert path is not None, line
        reason = line.removeprefix(f"{printable(str(path))}: ")
        assert reason and not any(each in reason for each in NOT_FOR_TECHNICIANS), line
        found.append(path)
    return found


def test_whatever_the_files_each_is_read_or_told_of_in_a_line(classify, odd, tmp_path):
    ran = classify("--json", *odd, "--output", "copies")
    assert ran.returncode == 1
    refused = told_of(ran.stderr, odd)
    read = [Path(json.loads(line)["image"]) for line in ran.stdout.splitlines()]
    assert read == [path for path in odd if path not in refused]
    assert [each.name for each in refused if each.name.startswith("good")] == []
    assert [each.name for each in read if each.name.startswith("bad")] == []
    assert len(read) > 200 < len(refused)
    # One whose format cannot hold what is in it is kept in another.
    copies = list((tmp_path / "copies").iterdir())
    assert len(copies) == len(read)
    shapes = {}
    for each in copies:
        with Image.open(each) as image:
            image.load()
            shapes[each.name] = image.size
    assert shapes["good wide in a png.png"] == (70_000, 2)
    assert shapes["good wide in a png-2.png"] == (70_000, 16)
    assert shapes["good high in a png.png"] == (2, 70_000)
    assert shapes["good wide in a png.tiff"] == (70_000, 2)


def test_what_is_no_file_or_cannot_be_reached_is_told_of(classify, tmp_path):
    (tmp_path / "specials").mkdir()
    specials = odd_pictures.make_specials(tmp_path / "specials")
    good = tmp_path / "good.png"
    odd_pictures.picture().save(good)
    ran = classify(*(each for special in specials for each in (special, good)))
    assert ran.returncode == 1
    assert told_of(ran.stderr, specials) == specials
    assert ran.stdout.decode().count(f"{good}: 0 faces\n") == len(specials)


@pytest.fixture
def open_folder():
    """One that every user can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_what_may_not_be_read_is_told_of(open_folder):
    """As somebody who is not root."""
    tmp_path = open_folder
    (tmp_path / "closed").mkdir()
    (tmp_path / "unlisted").mkdir()
    for name in ("a.png", "closed/b.png", "unlisted/c.png", "private.png"):
        odd_pictures.picture().save(tmp_path / name)
    (tmp_path / "closed").chmod(0)
    (tmp_path / "unlisted").chmod(0o711)
    (tmp_path / "private.png").chmod(0)
    code = f"""
import os
from pathlib import Path
from installation.capture.make_source import make_source
from installation.capture.stills import read_image
from installation.config.model import Camera, Config
from installation.errors import InstallationError
folder = Path({str(tmp_path)!r})
read_image(folder / "a.png")
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
def attempt(what):
    try:
        what()
    except InstallationError as error:
        print(error)
    else:
        print("read")
for name in ("closed/b.png", "closed", "private.png", "unlisted", "unlisted/c.png"):
    attempt(lambda: read_image(folder / name))
for name in ("closed/b.png", "closed", "private.png", "unlisted"):
    attempt(lambda: make_source(Config(camera=Camera(source=str(folder / name)))).open())
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    (tmp_path / "closed").chmod(0o755)
    denied, folder = "cannot be read: Permission denied", "a folder, not an image"
    assert (ran.stdout.splitlines(), ran.stderr) == (
        [
            f"{tmp_path}/closed/b.png: {denied}",
            f"{tmp_path}/closed: {folder}",
            f"{tmp_path}/private.png: {denied}",
            f"{tmp_path}/unlisted: {folder}",
            "read",
            f"{tmp_path}/closed/b.png: {denied}",
            f"{tmp_path}/closed: {denied}",
            f"{tmp_path}/private.png: {denied}",
            f"{tmp_path}/unlisted: {denied}",
        ],
        "",
    )


def test_a_name_is_one_line_of_text(classify, tmp_path):
    name = "a\nb\x1b[31m.png"
    odd_pictures.picture().save(tmp_path / name)
    ran = classify(name)
    assert ran.stdout.decode().splitlines()[0] == r"a\nb\x1b[31m.png: 0 faces"
    assert len(ran.stdout.splitlines()) == 2


def test_no_copy_takes_the_place_of_another_however_long_the_name(classify, tmp_path):
    long = "x" * 251
    (tmp_path / "other").mkdir()
    for name in (f"{long}.png", f"other/{long}.png", "a.png", "a", "a.PNG", "other/a.png"):
        odd_pictures.picture().save(tmp_path / name, "PNG")
    (tmp_path / "copies").mkdir()
    # Nor does it go where a link leads.
    (tmp_path / "copies" / "a.PNG").symlink_to(tmp_path / "nowhere")
    names = [f"{long}.png", f"other/{long}.png", "a.png", "a", "a.PNG", "other/a.png"]
    ran = classify(*names, "--output", "copies")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert sorted(each.name for each in (tmp_path / "copies").iterdir()) == sorted(
        [f"{long}.png", f"{'x' * 249}-2.png", "a.png", "a-2.png", "a.PNG", "a-2.PNG", "a-3.png"]
    )
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("a.png", "a.png: a file, not a folder for copies"),
        ("a.png/copies", "a.png/copies: cannot be written to: Not a directory"),
        ("/proc/copies", "/proc/copies: cannot be written to: No such file or directory"),
        ("x" * 300, f"{'x' * 300}: cannot be written to: File name too long"),
    ],
)
def test_a_folder_that_takes_no_copies_is_told_before_anything_else(
    classify, tmp_path, folder, says
):
    odd_pictures.picture().save(tmp_path / "a.png")
    ran = classify("a.png", "a.png", "--output", folder)
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert ran.stderr.decode() == f"installation: {says}\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [("size=64k", "No space left on device"), ("ro", "Read-only file system")],
)
def test_a_disk_that_takes_nothing_ends_at_once_and_has_no_half_a_picture(
    classify, tmp_path, options, says
):
    odd_pictures.picture().save(tmp_path / "small.png")
    odd_pictures.picture(400, 300).save(tmp_path / "large.png")
    (tmp_path / "copies").mkdir()
    mounted = f'mount -t tmpfs -o {options} none copies && "$@"; status=$?; ls copies; exit $status'
    ran = classify(
        *("small.png", "large.png", "small.png", "--output", "copies"),
        before=[*own_mounts(), "sh", "-c", mounted, "sh"],
    )
    assert ran.returncode == 1
    (line,) = ran.stderr.decode().splitlines()
    assert line.startswith("installation: copies") and line.endswith(says)
    seen = ran.stdout.decode()
    if options == "ro":
        assert seen == ""
    else:
        assert seen.count("small.png: 0 faces") == seen.count("large.png: 0 faces") == 1
        assert seen.endswith("\nsmall.png\n")


def test_without_engines_it_ends_at_once(tmp_path):
    (tmp_path / "config.yaml").write_text("inference: {engines: nowhere}\n")
    odd_pictures.picture().save(tmp_path / "a.png")
    ran = subprocess.run(
        [*COMMAND, "a.png", "a.png"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert len(ran.stderr.splitlines()) == 1


# What decoders and encoders of all kinds have been seen to raise.
RAISED = [
    *(MemoryError(), RecursionError("maximum recursion depth exceeded"), OverflowError("int")),
    *(struct.error("unpack requires a buffer of 4 bytes"), SyntaxError("not a TIFF"), KeyError(3)),
    *(zlib.error("Error -3"), TypeError("object of type 'NoneType' has no len()"), IndexError()),
    *(AttributeError("'NoneType' object has no attribute 'x'"), EOFError(), AssertionError()),
    *(ZeroDivisionError("division by zero"), ValueError("a\nb\x1b[31m"), OSError("odd"), OSError()),
    *(OSError(5, "Input/output error", "/usr/lib/x"), LookupError(), BufferError("x")),
    *(Image.DecompressionBombError("x"), ImportError("in /x/site-packages/PIL"), StopIteration()),
    *(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"), RuntimeError("<object at 0x7f>")),
]


@pytest.mark.parametrize("raised", RAISED, ids=repr)
@pytest.mark.parametrize("edge", ["open", "load"])
def test_whatever_a_decoder_raises_is_that_files_line(tmp_path, monkeypatch, raised, edge):
    from PIL.PngImagePlugin import PngImageFile

    from installation.capture.stills import read_image

    def fail(*_):
        raise raised

    path = tmp_path / "a\n.png"
    odd_pictures.picture().save(path)
    monkeypatch.setattr(PngImageFile, {"open": "_open", "load": "load"}[edge], fail)
    with pytest.raises(CaptureError) as caught:
        read_image(path)
    assert told_of(f"installation: {caught.value}".encode(), [path]) == [path]


@pytest.mark.parametrize("raised", RAISED, ids=repr)
def test_a_picture_that_cannot_be_encoded_is_kept_as_png_or_told_of(tmp_path, monkeypatch, raised):
    picture = np.zeros((30, 40, 3), np.uint8)
    theme = Theme()
    folder = OutputFolder(tmp_path / "copies", theme)
    reading = FileResult(picture, (), (), Path("a.webp"))
    # Nothing was found in it, so nothing can be drawn.
    with pytest.raises(CaptureError, match=r"a\.webp: cannot be drawn: "):
        folder.save(reading)
    monkeypatch.setattr(FileResult, "scene", lambda _self: Scene(0, 0.0, 40, 30, (), None))
    save, refused = Image.Image.save, ["WEBP"]

    def fail(image, file, form, **options):
        if form in refused:
            raise raised
        save(image, file, form, **options)

    monkeypatch.setattr(Image.Image, "save", fail)
    assert folder.save(reading).name == "a.png"
    refused.append("PNG")
    with pytest.raises(CaptureError) as caught:
        folder.save(reading)
    assert str(caught.value).startswith("a.webp: cannot be saved: ")
    assert [each.name for each in (tmp_path / "copies").iterdir()] == ["a.png"]
