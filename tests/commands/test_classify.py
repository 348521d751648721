"""``installation classify`` on odd files: no file may end the batch."""

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
from installation.capture.stills import read_image
from installation.commands.output_folder import FileResult, OutputFolder
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


def rejected(stderr, paths):
    """Return which of the paths have an error line; the lines must be in their order."""
    lines = stderr.decode().splitlines()
    messages = [line.partition(": ")[2] for line in lines]
    assert all(line.startswith("installation: ") for line in lines)
    assert all(line.isprintable() for line in lines)
    found, rest = [], iter(paths)
    for line in messages:
        path = next((each for each in rest if line.startswith(f"{printable(str(each))}: ")), None)
        assert path is not None, line
        reason = line.removeprefix(f"{printable(str(path))}: ")
        assert reason and not any(each in reason for each in NOT_FOR_TECHNICIANS), line
        found.append(path)
    return found


def test_each_file_is_classified_or_rejected_in_one_line(classify, odd, tmp_path):
    ran = classify("--json", *odd, "--output", "copies")
    assert ran.returncode == 1
    bad = rejected(ran.stderr, odd)
    read = [Path(json.loads(line)["image"]) for line in ran.stdout.splitlines()]
    assert read == [path for path in odd if path not in bad]
    assert [each.name for each in bad if each.name.startswith("good")] == []
    assert [each.name for each in read if each.name.startswith("bad")] == []
    assert len(read) > 200 < len(bad)
    # An image that its format cannot hold is saved in another format.
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


def test_special_and_unreachable_files_are_rejected(classify, tmp_path):
    (tmp_path / "specials").mkdir()
    specials = odd_pictures.make_specials(tmp_path / "specials")
    good = tmp_path / "good.png"
    odd_pictures.picture().save(good)
    ran = classify(*(each for special in specials for each in (special, good)))
    assert ran.returncode == 1
    assert rejected(ran.stderr, specials) == specials
    assert ran.stdout.decode().count(f"{good}: 0 faces\n") == len(specials)


@pytest.fixture
def open_folder():
    """A folder that every user can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_files_without_read_permission_are_rejected(open_folder):
    """As a user other than root."""
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


def test_a_file_name_is_printed_on_one_line(classify, tmp_path):
    name = "a\nb\x1b[31m.png"
    odd_pictures.picture().save(tmp_path / name)
    ran = classify(name)
    assert ran.stdout.decode().splitlines()[0] == r"a\nb\x1b[31m.png: 0 faces"
    assert len(ran.stdout.splitlines()) == 2


def test_no_copy_replaces_another_however_long_its_name(classify, tmp_path):
    long = "x" * 251
    (tmp_path / "other").mkdir()
    for name in (f"{long}.png", f"other/{long}.png", "a.png", "a", "a.PNG", "other/a.png"):
        odd_pictures.picture().save(tmp_path / name, "PNG")
    (tmp_path / "copies").mkdir()
    # Nor is a link followed.
    (tmp_path / "copies" / "a.PNG").symlink_to(tmp_path / "nowhere")
    names = [f"{long}.png", f"other/{long}.png", "a.png", "a", "a.PNG", "other/a.png"]
    ran = classify(*names, "--output", "copies")
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert sorted(each.name for each in (tmp_path / "copies").iterdir()) == sorted(
        [f"{long}.png", f"{'x' * 249}-2.png", "a.png", "a-2.png", "a.PNG", "a-2.PNG", "a-3.png"]
    )
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("a.png", "a.png: a file, not a folder for copies"),
        ("a.png/copies", "a.png/copies: cannot be written to: Not a directory"),
        ("/proc/copies", "/proc/copies: cannot be written to: No such file or directory"),
        ("x" * 300, f"{'x' * 300}: cannot be written to: File name too long"),
    ],
)
def test_an_unusable_output_folder_is_the_first_and_only_error(classify, tmp_path, folder, message):
    odd_pictures.picture().save(tmp_path / "a.png")
    ran = classify("a.png", "a.png", "--output", folder)
    assert (ran.returncode, ran.stdout) == (1, b"")
    assert ran.stderr.decode() == f"installation: {message}\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [("size=64k", "No space left on device"), ("ro", "Read-only file system")],
)
def test_a_full_or_read_only_disk_ends_the_batch_without_partial_files(
    classify, tmp_path, options, message
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
    assert line.startswith("installation: copies") and line.endswith(message)
    seen = ran.stdout.decode()
    if options == "ro":
        assert seen == ""
    else:
        assert seen.count("small.png: 0 faces") == seen.count("large.png: 0 faces") == 1
        assert seen.endswith("\nsmall.png\n")


def test_without_engines_it_fails_at_once(tmp_path):
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


# Exceptions that decoders and encoders have been seen to raise.
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
def test_whatever_a_decoder_raises_is_an_error_of_its_file(tmp_path, monkeypatch, raised, edge):
    from PIL.PngImagePlugin import PngImageFile

    def fail(*_):
        raise raised

    path = tmp_path / "a\n.png"
    odd_pictures.picture().save(path)
    monkeypatch.setattr(PngImageFile, {"open": "_open", "load": "load"}[edge], fail)
    with pytest.raises(CaptureError) as caught:
        read_image(path)
    assert rejected(f"installation: {caught.value}".encode(), [path]) == [path]


@pytest.mark.parametrize("raised", RAISED, ids=repr)
def test_an_image_that_cannot_be_encoded_is_saved_as_png_or_rejected(tmp_path, monkeypatch, raised):
    image = np.zeros((30, 40, 3), np.uint8)
    theme = Theme()
    folder = OutputFolder(tmp_path / "copies", theme)
    result = FileResult(image, (), (), Path("a.webp"))
    # Nothing was found in it, so nothing can be drawn.
    with pytest.raises(CaptureError, match=r"a\.webp: cannot be drawn: "):
        folder.save(result)
    monkeypatch.setattr(FileResult, "scene", lambda _self: Scene(0, 0.0, 40, 30, (), None))
    save, failing = Image.Image.save, ["WEBP"]

    def fail(image, file, form, **options):
        if form in failing:
            raise raised
        save(image, file, form, **options)

    monkeypatch.setattr(Image.Image, "save", fail)
    assert folder.save(result).name == "a.png"
    failing.append("PNG")
    with pytest.raises(CaptureError) as caught:
        folder.save(result)
    assert str(caught.value).startswith("a.webp: cannot be saved: ")
    assert [each.name for each in (tmp_path / "copies").iterdir()] == ["a.png"]
