"""The webcam, with OpenCV's capture played by one whose answers are chosen."""

import cv2
import numpy as np
import pytest

from installation import config
from installation.capture.camera import Camera
from installation.capture.source import CaptureError
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


def opened(monkeypatch, tmp_path, format_, webcam):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: webcam)
    device = tmp_path / "video0"
    device.touch()
    camera = Camera(device, config.Camera(width=WIDTH, height=HEIGHT, format=format_))
    camera.open()
    return camera


@pytest.mark.parametrize(("format_", "shape"), SHAPES)
@pytest.mark.parametrize("flat", [False, True])
def test_raw_pixels_are_handed_on_as_they_are(monkeypatch, tmp_path, format_, shape, flat):
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
def test_a_camera_that_gives_nothing_raw_gives_bgr(monkeypatch, tmp_path, caplog, format_, webcam):
    assert opened(monkeypatch, tmp_path, format_, webcam).read() is DECODED
    # Known beforehand, not found out by a picture that cannot be read.
    assert "pads its rows" not in caplog.text


def test_what_is_compressed_is_decoded(monkeypatch, tmp_path):
    assert opened(monkeypatch, tmp_path, "mjpg", Webcam()).read() is DECODED


@pytest.mark.parametrize(("format_", "shape"), SHAPES)
def test_padded_rows_are_left_to_opencv(monkeypatch, tmp_path, caplog, format_, shape):
    webcam = Webcam(form=(1, int(np.prod(shape)) + 64 * HEIGHT))
    camera = opened(monkeypatch, tmp_path, format_, webcam)
    assert camera.read() is DECODED
    assert camera.read() is DECODED
    assert len([record for record in caplog.records if "pads its rows" in record.message]) == 1


def test_a_camera_that_goes_silent_is_an_error(monkeypatch, tmp_path):
    webcam = Webcam()
    camera = opened(monkeypatch, tmp_path, "yuyv", webcam)
    webcam.read = lambda: (False, None)
    with pytest.raises(CaptureError, match="was it unplugged"):
        camera.read()
