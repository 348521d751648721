"""The webcam, with OpenCV's capture played by one whose answers are chosen."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from installation.capture import camera as module
from installation.capture import v4l2
from installation.capture.camera import Camera
from installation.capture.source import READ_TIMEOUT_S, CaptureError, FrameTimeoutError
from installation.config import model as config
from installation.scene import Frame

WIDTH, HEIGHT = 320, 240
BYTES = np.random.default_rng(0).integers(0, 256, HEIGHT * WIDTH * 2, np.uint8)
RAW = {"YUYV": (HEIGHT, WIDTH, 2), "NV12": (HEIGHT * 3 // 2, WIDTH)}
SHAPES = [("yuyv", RAW["YUYV"]), ("nv12", RAW["NV12"])]
DECODED = np.full((HEIGHT, WIDTH, 3), 7, np.uint8)


class Webcam:
    """Behaves as OpenCV does over V4L2; what it sends unconverted is all bytes it has."""

    def __init__(self, formats=("MJPG", "YUYV", "NV12"), obeys=True, form=None):
        self.formats = [cv2.VideoWriter.fourcc(*name) for name in formats]
        self.obeys = obeys
        self.form = form
        self.properties = {cv2.CAP_PROP_FOURCC: self.formats[0], cv2.CAP_PROP_CONVERT_RGB: 1.0}

    def isOpened(self):  # noqa: N802  # OpenCV's name
        return True

    def set(self, name, value):
        if name == cv2.CAP_PROP_FOURCC and value not in self.formats:
            return False
        if name == cv2.CAP_PROP_CONVERT_RGB and not self.obeys:
            return self.obeys is None
        self.properties[name] = value
        return True

    def get(self, name):
        return float(self.properties[name])

    def read(self):
        if self.properties[cv2.CAP_PROP_CONVERT_RGB]:
            return True, DECODED
        code = int(self.properties[cv2.CAP_PROP_FOURCC])
        name = code.to_bytes(4, "little").decode()
        # What is compressed comes as one row of as many bytes as it takes.
        shape = self.form or RAW.get(name, (1, 1000))
        return True, np.resize(BYTES, shape)

    def release(self):
        pass


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Reads take no time but what is said of them."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def opened(monkeypatch, tmp_path, format_, webcam):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: webcam)
    monkeypatch.setattr(v4l2, "is_capture_node", lambda _: True)
    device = tmp_path / "video0"
    device.touch()
    camera = Camera(device, config.Camera(width=WIDTH, height=HEIGHT, format=format_))
    camera.open()
    return camera


@pytest.mark.parametrize(("format_", "shape"), SHAPES)
@pytest.mark.parametrize("flat", [False, True])
def test_raw_pixels_are_returned_unchanged(monkeypatch, tmp_path, format_, shape, flat):
    form = (1, int(np.prod(shape))) if flat else shape
    camera = opened(monkeypatch, tmp_path, format_, Webcam(form=form))
    picture = camera.read()
    assert np.array_equal(picture, np.resize(BYTES, shape))
    frame = Frame(0, 0.0, picture)
    assert (frame.layout, frame.width, frame.height) == (format_.upper(), WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "webcam",
    [
        Webcam(formats=("MJPG",)),  # has no other format
        Webcam(obeys=False),  # refuses to leave pixels as they are
        Webcam(obeys=None),  # agrees, and converts them nevertheless
    ],
)
@pytest.mark.parametrize("format_", ["yuyv", "nv12"])
def test_a_camera_without_raw_formats_delivers_bgr(monkeypatch, tmp_path, caplog, format_, webcam):
    assert opened(monkeypatch, tmp_path, format_, webcam).read() is DECODED
    # Known beforehand, not found out by a picture that cannot be read.
    assert "its rows are padded" not in caplog.text


def test_compressed_frames_are_decoded(monkeypatch, tmp_path):
    assert opened(monkeypatch, tmp_path, "mjpg", Webcam()).read() is DECODED


@pytest.mark.parametrize(("format_", "shape"), SHAPES)
def test_padded_rows_are_converted_by_opencv(monkeypatch, tmp_path, caplog, format_, shape):
    webcam = Webcam(form=(1, int(np.prod(shape)) + 64 * HEIGHT))
    camera = opened(monkeypatch, tmp_path, format_, webcam)
    assert camera.read() is DECODED
    assert camera.read() is DECODED
    assert (
        len([record for record in caplog.records if "its rows are padded" in record.message]) == 1
    )


def answering(monkeypatch, tmp_path, *answers):
    """A camera that gives these answers to reads, the last of them for ever."""
    webcam = Webcam()
    answers = list(answers)

    def read():
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    webcam.read = read
    return opened(monkeypatch, tmp_path, "mjpg", webcam)


NO_FRAMES = [
    (False, None),
    (True, None),
    (True, np.zeros((0, 0, 3), np.uint8)),
    (True, DECODED.astype(np.float32)),
    cv2.error("assertion failed"),
]


@pytest.mark.parametrize("answer", NO_FRAMES)
def test_a_broken_frame_now_and_then_is_ignored(monkeypatch, tmp_path, answer):
    camera = answering(monkeypatch, tmp_path, answer, answer, (True, DECODED))
    assert np.array_equal(camera.read(), DECODED)


@pytest.mark.parametrize("answer", [*NO_FRAMES, (True, np.zeros((4, 4), np.uint8))])
def test_a_camera_that_delivers_no_frames_is_closed(monkeypatch, tmp_path, answer):
    camera = answering(monkeypatch, tmp_path, answer)
    with pytest.raises(CaptureError, match=r"video0: ") as caught:
        camera.read()
    assert not isinstance(caught.value, FrameTimeoutError)
    with pytest.raises(CaptureError, match="not open"):
        camera.read()


def test_a_camera_that_times_out_may_be_read_again(monkeypatch, tmp_path, clock):
    camera = answering(monkeypatch, tmp_path, (True, DECODED))
    read = camera._capture.read

    def time_out():
        clock.now += READ_TIMEOUT_S
        return False, None

    camera._capture.read = time_out
    with pytest.raises(FrameTimeoutError, match="has stopped sending frames"):
        camera.read()
    camera._capture.read = read
    assert np.array_equal(camera.read(), DECODED)


def test_a_mode_is_logged_only_once(monkeypatch, tmp_path, caplog):
    caplog.set_level("INFO")
    webcam = Webcam()
    camera = opened(monkeypatch, tmp_path, "mjpg", webcam)
    for _ in range(3):
        camera.open()
    assert len(caplog.records) == 1
