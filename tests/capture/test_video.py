import logging
import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from installation.capture.capture import Capture
from installation.capture.source import CaptureError
from installation.capture.video import TruncatedError, VideoFile, decode
from installation.runtime.latest import Closed, Latest
from tests.videos import HEIGHT, WIDTH, cut, turn, write_song, write_video

EVEN = [index / 25 for index in range(50)]
FILES = Path("/proc/self/fd")
# Two seconds at 25 frames per second, then a frame every 0.4 s.
VARIABLE = EVEN + [2 + 0.4 * index for index in range(10)]
FORMATS = {
    "a.mp4": "mpeg4",
    "a.mkv": "mpeg4",
    "a.avi": "mpeg4",
    "a.ts": "mpeg2video",
    "a.webm": "libvpx",
    "a.mov": "mjpeg",
    "b.avi": "mjpeg",
    "b.mkv": "mjpeg",
    "a.flv": "flv1",
}


def times_of(path):
    return [time_s for time_s, _ in decode(path)]


@pytest.mark.parametrize(("name", "codec"), FORMATS.items())
@pytest.mark.parametrize("times_s", [EVEN, VARIABLE], ids=["even", "variable"])
def test_every_frame_is_decoded_once_at_its_own_time(tmp_path, name, codec, times_s):
    path = write_video(tmp_path / name, times_s, codec)
    assert times_of(path) == pytest.approx(times_s, abs=0.002)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_frames_before_an_edit_list_are_skipped(tmp_path, name):
    path = write_video(tmp_path / name, [index / 25 for index in range(100)], start_s=1.6)
    assert times_of(path) == pytest.approx([index / 25 for index in range(60)], abs=0.002)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.webm", "libvpx")])
def test_sound_that_lasts_longer_than_the_video_is_no_damage(tmp_path, name, codec):
    assert len(times_of(write_video(tmp_path / name, EVEN, codec, audio_s=6))) == 50


def test_the_frame_count_of_the_header_is_ignored(tmp_path):
    path = write_video(tmp_path / "a.avi", EVEN, "mjpeg")
    data = bytearray(path.read_bytes())
    # Of the file (avih), and of the stream (strh): ten times as many.
    for chunk, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        at = data.index(chunk) + offset
        assert int.from_bytes(data[at : at + 4], "little") == 50
        data[at : at + 4] = (500).to_bytes(4, "little")
    path.write_bytes(data)
    assert len(times_of(path)) == 50


def test_a_sound_file_shows_its_cover_art(tmp_path):
    cover = np.full((60, 80, 3), 200, np.uint8)
    song = write_song(tmp_path / "a.mp3", cv2.imencode(".jpg", cover)[1].tobytes())
    ((_, pixels),) = decode(song)
    assert pixels.shape == (60, 80, 3)
    assert abs(int(pixels.mean()) - 200) < 3
    # Looped, it stays.
    source = VideoFile(song, loop=True)
    source.open()
    assert all(np.array_equal(source.read(), pixels) for _ in range(5))
    source.close()


# Where half of a file is gone, and where the last few frames are.
@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "mpeg4", {"movflags": "faststart"}),
        ("a.mp4", "mpeg4", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mkv", "mpeg4", {}),
        ("a.webm", "libvpx", {}),
        ("b.avi", "mjpeg", {}),
        ("b.mkv", "mjpeg", {}),
    ],
)
def test_a_truncated_file_is_reported_after_its_last_frame(tmp_path, name, codec, options, share):
    path = cut(write_video(tmp_path / name, EVEN, codec, options=options), share)
    times_s = []
    with pytest.raises(TruncatedError, match=r": ends prematurely after \d+ frames \(\d\.\d s\); "):
        for time_s, _ in decode(path):
            times_s.append(time_s)
    assert 0 < len(times_s) < len(EVEN)


def test_an_mp4_without_its_index_cannot_be_read(tmp_path):
    path = cut(write_video(tmp_path / "a.mp4", EVEN), 0.9)
    with pytest.raises(CaptureError, match=r"a\.mp4: cannot be read as a video; is it one, and"):
        times_of(path)


def test_damage_in_the_middle_skips_only_those_frames(tmp_path, caplog):
    path = write_video(tmp_path / "a.mkv", EVEN, "libvpx")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = os.urandom(400)
    path.write_bytes(data)
    assert 40 <= len(times_of(path)) <= 50


@pytest.mark.parametrize(
    ("aspect", "shape"),
    [
        (Fraction(2), (HEIGHT, 2 * WIDTH, 3)),
        (Fraction(1, 2), (2 * HEIGHT, WIDTH, 3)),
        (Fraction(64, 45), (HEIGHT, 455, 3)),
        (Fraction(1), (HEIGHT, WIDTH, 3)),
        # No camera has such pixels: an error in the file.
        (Fraction(100), (HEIGHT, WIDTH, 3)),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_pixels_are_square(tmp_path, name, aspect, shape):
    path = write_video(tmp_path / name, EVEN[:3], pixel_aspect=aspect)
    assert {pixels.shape for _, pixels in decode(path)} == {shape}


@pytest.mark.parametrize(("degrees", "quarters"), [(90, -1), (180, 2), (270, 1)])
def test_frames_are_upright(tmp_path, degrees, quarters):
    path = write_video(tmp_path / "a.mp4", EVEN[:3], pixel_aspect=Fraction(2))
    lying = [pixels for _, pixels in decode(path)]
    for before, (_, after) in zip(lying, decode(turn(path, degrees)), strict=True):
        assert np.array_equal(np.rot90(before, quarters), after)
        assert after.flags.c_contiguous


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 1000])
def test_a_file_that_is_no_video_is_rejected(tmp_path, content, capfd):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(CaptureError, match=r"a\.mp4: .* video"):
        times_of(tmp_path / "a.mp4")
    assert capfd.readouterr().err == ""


def test_a_file_with_sound_only_is_rejected(tmp_path):
    song = write_song(tmp_path / "a.mp3", b"")
    with pytest.raises(CaptureError, match=r"a\.mp3: (it contains no video|no frame in it)"):
        times_of(song)


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    for name, reason in (
        ("nothing.mp4", "no such file"),
        (".", "not a file"),
        ("pipe.mp4", "not a file"),
        ("loop.mp4", "Too many levels"),
        ("long" * 100, "File name too long"),
        ("nul\0.mp4", "null"),
    ):
        with pytest.raises(CaptureError, match=reason):
            times_of(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["http:a.avi", "a%03d.avi", "späte.avi", os.fsdecode(b"caf\xe9.avi")]
)
def test_a_file_name_is_never_a_protocol(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "plain.avi", EVEN[:3], "mjpeg").rename(name)
    assert len(times_of(tmp_path / name)) == 3
    assert len(times_of(Path(name))) == 3


def test_a_loop_starts_again(tmp_path):
    source = VideoFile(write_video(tmp_path / "a.avi", EVEN[:5], "mjpeg"), loop=True)
    source.open()
    frames = [source.read() for _ in range(12)]
    assert np.array_equal(frames[0], frames[5])
    assert np.array_equal(frames[1], frames[11])
    assert not np.array_equal(frames[0], frames[1])
    source.close()


def test_a_source_keeps_the_times_of_its_file(tmp_path):
    source = VideoFile(write_video(tmp_path / "a.mkv", VARIABLE), loop=False)
    source.open()
    times_s = []
    while source.read() is not None:
        times_s.append(times_s[-1] + source.interval_s if times_s else 0.0)
    assert times_s == pytest.approx(VARIABLE, abs=0.002)
    assert source.read() is None


def test_a_long_frame_is_delivered_repeatedly(tmp_path):
    source = VideoFile(write_video(tmp_path / "a.mkv", [0.0, 0.04, 3.0]), loop=False)
    source.open()
    frames, time_s = [], 0.0
    while (pixels := source.read()) is not None:
        time_s += source.interval_s if frames else 0.0
        frames.append((time_s, pixels.tobytes()))
    assert max(np.diff([time_s for time_s, _ in frames])) <= 0.5
    assert len({pixels for _, pixels in frames}) == 3
    assert [time_s for time_s, pixels in frames if pixels == frames[-1][1]] == pytest.approx([3.0])


def play(path, loop, count):
    """Run the capture loop over a file until it ends or has delivered so many frames."""
    frames = Latest()
    capture = Capture(VideoFile(path, loop), frames)
    delivered = []

    def put(frame):
        delivered.append(frame)
        if len(delivered) == count:
            capture.stop()

    frames.put = put
    capture.run()
    with pytest.raises(Closed):
        frames.get(after=0, timeout=0)
    return capture, delivered


@pytest.mark.parametrize("damaged", [False, True])
def test_the_end_of_a_looped_file_is_no_outage(tmp_path, caplog, damaged):
    path = write_video(tmp_path / "a.mkv", EVEN[:10])
    if damaged:
        cut(path, 0.7)
    with caplog.at_level(logging.INFO):
        capture, delivered = play(path, loop=True, count=40)
    assert len(delivered) == 40
    assert capture.outages == 0 and capture.error is None
    reported = [each.getMessage() for each in caplog.records]
    assert len(reported) == damaged
    assert all("a.mkv: ends prematurely after" in each for each in reported)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_file_that_is_not_looped_ends(tmp_path, damaged):
    path = write_video(tmp_path / "a.mkv", EVEN[:10])
    if damaged:
        cut(path, 0.7)
    capture, delivered = play(path, loop=False, count=1000)
    assert 0 < len(delivered) <= 10
    assert capture.outages == 0


def test_files_are_closed(tmp_path):
    path = write_video(tmp_path / "a.mkv", EVEN[:5])
    source = VideoFile(path, loop=True)
    before = len(list(FILES.iterdir()))
    for _ in range(20):
        source.open()
        for _ in range(8):
            source.read()
    source.close()
    assert len(list(FILES.iterdir())) == before
