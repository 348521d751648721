import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from installation.capture.source import CaptureError
from installation.capture.stream import Stream
from installation.runtime.redact import redact_url
from tests.videos import write_video


def test_a_missing_stream_does_not_reveal_the_password(capfd):
    stream = Stream("http://user:secret@127.0.0.1:9/video?key=secret")
    with pytest.raises(CaptureError, match=r"http://127.0.0.1:9/\.\.\.#\w+: no stream") as caught:
        stream.open()
    assert "secret" not in str(caught.value) + capfd.readouterr().err


@pytest.mark.parametrize("odd", ["\0", "\udcff", "\n", "\x1b"])
def test_unprintable_characters_in_a_url_are_rejected(odd):
    """OpenCV crashes at some of it."""
    stream = Stream(f"http://127.0.0.1:9/{odd}secret")
    with pytest.raises(CaptureError, match=r"http://\.\.\.: not a URL") as caught:
        stream.open()
    assert "secret" not in str(caught.value)


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


def test_a_stream_is_read_over_the_network_and_its_end_is_an_error(tmp_path, served):
    write_video(tmp_path / "live.avi", [index / 25 for index in range(8)], "mjpeg")
    stream = Stream(f"{served}/live.avi")
    assert stream.name == redact_url(f"{served}/live.avi")
    for _ in range(2):
        stream.open()
        for _ in range(8):
            assert stream.read().shape == (240, 320, 3)
        with pytest.raises(CaptureError, match="broke off"):
            stream.read()
        stream.close()
