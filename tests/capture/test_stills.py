import threading
import time

import numpy as np
import pytest
from PIL import Image

from installation.capture.capture import Capture
from installation.capture.source import CaptureError
from installation.capture.stills import Stills, is_image_file, read_image
from installation.runtime.latest import Latest
from tests import odd_pictures


@pytest.fixture
def image(hopper):
    return Image.fromarray(hopper[..., ::-1])


def close(a, b, tolerance=3):
    return a.shape == b.shape and np.abs(a.astype(int) - b.astype(int)).mean() < tolerance


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr"])
def test_colour_images_of_all_formats_are_read_alike(tmp_path, image, hopper, mode):
    suffix = {"P": "gif", "CMYK": "jpg", "YCbCr": "jpg"}.get(mode, "png")
    made = image.quantize(256) if mode == "P" else image.convert(mode)
    made.save(tmp_path / f"a.{suffix}", quality=95)
    assert close(read_image(tmp_path / f"a.{suffix}"), hopper, 6 if mode == "P" else 3)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16", "I", "F", "1"])
def test_grey_images_of_all_depths_are_read_alike(tmp_path, image, mode):
    grey = np.asarray(image.convert("L"))
    if mode == "I;16":
        made = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "I":
        made = Image.fromarray(grey.astype(np.int32) * 257)
    elif mode == "F":
        made = Image.fromarray(grey.astype(np.float32) / 255)
    else:
        made = image.convert(mode)
    made.save(tmp_path / "a.tif")
    expected = np.dstack([grey] * 3)
    read = read_image(tmp_path / "a.tif")
    if mode == "1":
        assert abs(float(read.mean()) - float(expected.mean())) < 5
    else:
        assert close(read, expected)


def test_sixteen_bits_of_colour(tmp_path, hopper):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), hopper.astype(np.uint16) * 257)
    assert close(read_image(tmp_path / "a.png"), hopper)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_rotated_according_to_exif(tmp_path, hopper, orientation):
    stored = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.rot90(np.fliplr(a), 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(np.fliplr(a), -1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](hopper)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored[..., ::-1]).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert close(read_image(tmp_path / "a.jpg"), hopper)


def test_transparency_is_blended_over_white(tmp_path):
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 255).all()


def test_a_single_pixel_is_an_image(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[3, 2, 1]]]


def test_unusable_images_say_why(tmp_path, image):
    image.save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    Image.new("L", (20000, 20000)).save(tmp_path / "huge.png")
    for name, says in {
        "half.jpg": "cannot be read: .*truncated",
        "text.jpg": "not an image",
        "empty.jpg": "the file is empty",
        "folder.jpg": "a folder",
        "missing.jpg": "no such file",
        "huge.png": "20000 x 20000 pixels are too many",
    }.items():
        with pytest.raises(CaptureError, match=f"{name}: {says}"):
            read_image(tmp_path / name)


def test_damaged_pngs_are_rejected_or_read_but_never_crash(tmp_path, image):
    image.resize((64, 75)).save(tmp_path / "a.png")
    good = (tmp_path / "a.png").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(good)
        for place in random.integers(0, len(data), 4):
            data[place] = random.integers(0, 256)
        (tmp_path / "b.png").write_bytes(data)
        try:
            assert read_image(tmp_path / "b.png").ndim == 3
        except CaptureError as error:
            assert "b.png" in str(error)


def test_a_folder_is_shown_in_order_and_ends(tmp_path):
    for name, grey in (("b.png", 20), ("a.png", 10), ("note.txt", 0)):
        if name.endswith("png"):
            Image.new("L", (8, 8), grey).save(tmp_path / name)
        else:
            (tmp_path / name).touch()
    stills = Stills(tmp_path, fps=1, loop=False)
    stills.open()
    shown = []
    while (picture := stills.read()) is not None:
        shown.append(int(picture[0, 0, 0]))
    assert shown == [10] * 6 + [20] * 6


def test_a_damaged_image_in_a_folder_is_skipped(tmp_path, caplog):
    for name, grey in (("a.png", 10), ("c.png", 30)):
        Image.new("L", (8, 8), grey).save(tmp_path / name)
    (tmp_path / "b.png").write_text("hello")
    stills = Stills(tmp_path, fps=0.1, loop=True)
    stills.open()
    assert [int(stills.read()[0, 0, 0]) for _ in range(4)] == [10, 30, 10, 30]
    assert "b.png: not an image" in caplog.text
    (tmp_path / "a.png").unlink()
    (tmp_path / "c.png").unlink()
    with pytest.raises(CaptureError, match="no readable images in this folder"):
        stills.open()


def test_damaged_exif_is_ignored(tmp_path, image, hopper, capfd):
    """As a TIFF header whose entries lead nowhere; seen in real files."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x0110] = "camera"
    whole = exif.tobytes()
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for place in random.integers(6, len(damaged), 3):
            damaged[place] = random.integers(0, 256)
        image.resize((64, 75)).save(tmp_path / "a.jpg", exif=bytes(damaged))
        assert read_image(tmp_path / "a.jpg").size == 64 * 75 * 3
    assert capfd.readouterr().err == ""


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(CaptureError, match="no readable images in this folder"):
        Stills(tmp_path, fps=1, loop=True).open()


def test_all_readable_images_of_a_folder_are_shown(tmp_path, caplog, capfd):
    made = odd_pictures.make(tmp_path)
    odd_pictures.make_specials(tmp_path)
    stills = Stills(tmp_path, fps=0.1, loop=False)
    stills.open()
    shown = 0
    while (picture := stills.read()) is not None:
        assert picture.dtype == np.uint8 and picture.ndim == 3 and min(picture.shape) > 0
        # More is not for graphics cards.
        assert max(picture.shape) <= 8192
        shown += 1
    good = [each for each in made if each.name.startswith("good") and is_image_file(each)]
    left_out = [each.message for each in caplog.records]
    assert len(good) < shown
    assert shown + len(left_out) == sum(map(is_image_file, tmp_path.iterdir()))
    assert not any("/good" in each for each in left_out)
    # libtiff has more to say, and does not say it.
    assert capfd.readouterr().err == ""


def test_a_skipped_file_is_logged_once_for_each_error(tmp_path, caplog):
    odd_pictures.picture().save(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    stills = Stills(tmp_path, fps=0.1, loop=True)
    stills.open()
    for _ in range(5):
        stills.read()
    (tmp_path / "b.png").write_text("hello")
    for _ in range(5):
        stills.read()
    said = [each.message.partition("b.png: ")[2] for each in caplog.records]
    assert said == [
        "the file is empty; skipped",
        "not an image in a supported format; skipped",
    ]


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_a_file_that_vanishes_is_an_outage(tmp_path, suffix):
    """A folder, or a picture."""
    source = tmp_path / f"stills{suffix}"
    picture = odd_pictures.picture()
    if suffix:
        picture.save(source)
    else:
        source.mkdir()
        picture.save(source / "a.png")
    frames = Latest()
    capture = Capture(Stills(source, fps=10, loop=True), frames)
    thread = threading.Thread(target=capture.run)
    thread.start()
    try:
        until(lambda: frames.get(after=0, timeout=0))
        source.rename(tmp_path / "elsewhere")
        until(lambda: capture.error)
        assert capture.error.startswith(f"{source}: no such file")
        (tmp_path / "elsewhere").rename(source)
        until(lambda: capture.error is None)
        version = frames.get(after=0, timeout=60)[0]
        assert frames.get(after=version, timeout=60)
        assert thread.is_alive() and capture.outages == 1
    finally:
        capture.stop()
        thread.join(60)


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_pixels_are_reported(tmp_path, value):
    pixels = np.zeros((8, 8), np.float32)
    pixels[3, 4] = value
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(CaptureError, match=r"a\.tif: cannot be read: .* NaN or infinite"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("dtype", "brightest"), [(np.float32, 1), (np.float32, 255), (np.int32, 65535), (np.int32, 2e9)]
)
def test_values_are_scaled_to_eight_bits(tmp_path, dtype, brightest):
    ramp = np.linspace(0, brightest, 256).astype(dtype).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    read = read_image(tmp_path / "a.tif")[..., 0].reshape(-1).astype(int)
    assert np.abs(read - np.arange(256)).max() <= 1


def test_a_partly_damaged_image_is_rejected(tmp_path, image):
    for kind in ("png", "tif"):
        options = {"compression": "tiff_deflate"} if kind == "tif" else {}
        image.save(tmp_path / f"a.{kind}", **options)
        data = bytearray((tmp_path / f"a.{kind}").read_bytes())
        middle = len(data) // 2
        data[middle : middle + 400] = bytes(400)
        (tmp_path / f"a.{kind}").write_bytes(data)
        with pytest.raises(CaptureError, match="cannot be read"):
            read_image(tmp_path / f"a.{kind}")


def test_no_program_is_started_for_an_image(tmp_path):
    """Pillow would have Ghostscript draw it."""
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    (tmp_path / "a.jpg").write_bytes(script)
    with pytest.raises(CaptureError, match="not an image in a supported format"):
        read_image(tmp_path / "a.jpg")
