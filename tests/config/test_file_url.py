from pathlib import Path

import pytest

from installation.config.file_url import local_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///srv/video.mp4", "/srv/video.mp4"),
        ("FILE:///srv/video.mp4", "/srv/video.mp4"),
        ("file:/srv/video.mp4", "/srv/video.mp4"),
        ("file://localhost/srv/video.mp4", "/srv/video.mp4"),
        ("file:///srv/my%20video%2C%20cut.mp4", "/srv/my video, cut.mp4"),
        ("file:///srv/sp%C3%A4t.mp4", "/srv/spät.mp4"),
        ("file:///srv/caf%E9.mp4", "/srv/caf\udce9.mp4"),
        ("file:///srv/take#2.mp4?", "/srv/take#2.mp4?"),
        ("/srv/file:/video.mp4", "/srv/file:/video.mp4"),
        ("file:video.mp4", "file:video.mp4"),
        ("100%25.mp4", "100%25.mp4"),
    ],
)
def test_a_file_url_is_a_path(text, path):
    assert local_path(text) == Path(path)


@pytest.mark.parametrize("text", ["file://server/video.mp4", "file://video.mp4", "file://"])
def test_a_file_url_of_another_machine_is_rejected(text):
    with pytest.raises(ValueError, match="three slashes: file:///"):
        local_path(text)
