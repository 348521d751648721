import cv2
import numpy as np
import pytest

from installation.capture.film import Film
from installation.capture.source import CaptureError


def write(path, codec, count):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 12, (320, 240))
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    for index in range(count):
        writer.write(np.roll(noise, index, axis=1))
    writer.release()
    return path


def count(film):
    film.open()
    pictures = 0
    while film.read() is not None:
        pictures += 1
    film.close()
    return pictures


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mp4v"), ("a.avi", "MJPG")])
def test_every_picture_is_read_once_and_the_pace_is_known(tmp_path, name, codec):
    film = Film(write(tmp_path / name, codec, 30), loop=False)
    assert count(film) == 30
    assert film.pace == 12


def test_a_loop_begins_again(tmp_path):
    film = Film(write(tmp_path / "a.avi", "MJPG", 5), loop=True)
    film.open()
    pictures = [film.read() for _ in range(12)]
    assert np.array_equal(pictures[0], pictures[5])
    assert np.array_equal(pictures[1], pictures[11])


def test_a_film_that_breaks_off_says_where(tmp_path):
    path = write(tmp_path / "a.avi", "MJPG", 60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CaptureError, match=r"a\.avi: breaks off after \d+ of 60 pictures"):
        count(Film(path, loop=False))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 1000])
def test_a_file_that_is_no_film(tmp_path, content, capfd):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(CaptureError, match=r"a\.mp4: .* video"):
        count(Film(tmp_path / "a.mp4", loop=False))
    assert capfd.readouterr().err == ""


def test_a_film_that_is_not_there(tmp_path):
    with pytest.raises(CaptureError, match="no such file"):
        Film(tmp_path / "a.mp4", loop=False).open()
