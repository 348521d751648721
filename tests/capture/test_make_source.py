import pytest

from installation.capture.camera import Camera
from installation.capture.demo import DemoSource
from installation.capture.make_source import make_source
from installation.capture.source import CaptureError
from installation.capture.stills import Stills
from installation.capture.stream import Stream
from installation.capture.video import VideoFile
from installation.config.model import Config


@pytest.mark.parametrize(
    ("written", "kind", "name"),
    [
        (0, Camera, "/dev/video0"),
        ("3", Camera, "/dev/video3"),
        ("/dev/v4l/by-id/usb-x-video-index0", Camera, "/dev/v4l/by-id/usb-x-video-index0"),
        ("rtsp://me:pw@camera", Stream, "rtsp://camera"),
        ("film.mp4", VideoFile, "film.mp4"),
        ("file:///srv/my%20film.mp4", VideoFile, "/srv/my film.mp4"),
        ("file:///srv/picture.jpg", Stills, "/srv/picture.jpg"),
        ("picture.JPG", Stills, "picture.JPG"),
        ("/", Stills, "/"),
        ("demo", DemoSource, "demo"),
    ],
)
def test_the_source_depends_on_how_it_is_written(written, kind, name):
    source = make_source(Config.model_validate({"camera": {"source": written}}))
    assert isinstance(source, kind)
    assert source.name == name


def test_a_missing_camera_lists_the_connected_ones():
    source = make_source(Config.model_validate({"camera": {"source": 63}}))
    with pytest.raises(CaptureError, match=r"/dev/video63: no camera there; connected: "):
        source.open()


def test_a_device_that_is_no_camera_is_rejected():
    source = make_source(Config.model_validate({"camera": {"source": "/dev/null"}}))
    with pytest.raises(CaptureError, match=r"/dev/null: not a camera"):
        source.open()
