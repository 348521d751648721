import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from videos import write_video

from installation.capture.source import CaptureError
from installation.capture.stream import Stream


def test_a_stream_that_is_not_there_keeps_the_password_to_itself(capfd):
    stream = Stream("http://user:secret@127.0.0.1:9/video")
    with pytest.raises(CaptureError, match=r"127.0.0.1:9/video: no stream there") as caught:
        stream.open()
    assert "secret" not in str(caught.value) + capfd.readouterr().err


@pytest.fixture
def served(tmp_path):
    """A folder served over HTTP; its address."""
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_stream_is_read_over_the_network_and_its_end_is_a_loss(tmp_path, served):
    write_video(tmp_path / "live.avi", [index / 25 for index in range(8)], "mjpeg")
    stream = Stream(f"{served}/live.avi")
    for _ in range(2):
        stream.open()
        for _ in range(8):
            assert stream.read().shape == (240, 320, 3)
        with pytest.raises(CaptureError, match="has broken off"):
            stream.read()
        stream.close()
