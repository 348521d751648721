"""What is shown of URLs: every notation in which cameras have been seen, a secret in each part."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from installation.errors import InstallationError
from installation.runtime import redact
from installation.runtime.redact import is_address, lacks_scheme, redact_text, redact_url
from tests.paths import ROOT

# What stands for the rest: the tag, of which only the form is known here.
TAG = "/...#"

URLS = [
    # The secret in each part of a URL that is as it should be.
    ("rtsp://admin:SECRET@192.0.2.7:554/h264", f"rtsp://192.0.2.7:554{TAG}"),
    ("rtsp://SECRET@192.0.2.7/h264", f"rtsp://192.0.2.7{TAG}"),
    ("rtsp://:SECRET@camera.example/h264", f"rtsp://camera.example{TAG}"),
    ("rtsp://admin:SECRET@camera", "rtsp://camera"),
    ("rtsp://admin:SECRET@camera/", "rtsp://camera/"),
    ("rtsp://admin:SE%40CRET@camera:554/1", f"rtsp://camera:554{TAG}"),
    ("http://camera/cgi?user=admin&password=SECRET", f"http://camera{TAG}"),
    ("http://camera?password=SECRET", f"http://camera{TAG}"),
    ("http://camera:8080#SECRET", f"http://camera:8080{TAG}"),
    ("rtsp://camera/user=admin&password=SECRET_channel=1.sdp", f"rtsp://camera{TAG}"),
    ("https://camera/live/SECRET/index.m3u8", f"https://camera{TAG}"),
    ("rtsp://camera;SECRET/1", "rtsp://..."),
    ("srt://192.0.2.7:9000?passphrase=SECRET&mode=caller", f"srt://192.0.2.7:9000{TAG}"),
    ("srt://:9000?passphrase=SECRET", f"srt://:9000{TAG}"),
    ("rtmp://camera/live/SECRET", f"rtmp://camera{TAG}"),
    ("RTSP://admin:SECRET@Camera.Example/1", f"rtsp://Camera.Example{TAG}"),
    ("  rtsp://admin:SECRET@camera/1 ", f"rtsp://camera{TAG}"),
    ("rtsp://admin:SECRET@[2001:db8::7]:8554/1", f"rtsp://[2001:db8::7]:8554{TAG}"),
    ("rtsp://[::1]:8554/SECRET", f"rtsp://[::1]:8554{TAG}"),
    ("rtsp://admin:SECRET@[fe80::1%25eth0]/1", f"rtsp://[fe80::1%25eth0]{TAG}"),
    ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
    ("udp://@239.0.0.1:1234?localaddr=SECRET", f"udp://239.0.0.1:1234{TAG}"),
    # What should have been escaped and was not, as long as the host is certain.
    ("rtsp://admin:p@SECRET@camera/1", f"rtsp://camera{TAG}"),
    ("rtsp://admin:it'sSECRET@camera/1", f"rtsp://camera{TAG}"),
    ("rtsp://camera/path@SECRET", f"rtsp://camera{TAG}"),
    ("rtsp://192.0.2.7:554/path@SECRET", f"rtsp://192.0.2.7:554{TAG}"),
    ("rtsp://[::1]:554/a:b@SECRET", f"rtsp://[::1]:554{TAG}"),
    ("rtsp://admin:SECRET@192.0.2.7/path@2", f"rtsp://192.0.2.7{TAG}"),
    # And where it is not.
    ("rtsp://admin:SECRET/x@camera/1", "rtsp://..."),
    ("rtsp://admin:SECRET?x@camera/1", "rtsp://..."),
    ("rtsp://admin:SECRET#x@camera/1", "rtsp://..."),
    ("rtsp://admin:12/SECRET@camera/1", "rtsp://..."),
    ("rtsp://SECRET:12/34@camera/1", "rtsp://..."),
    ("rtsp://SECRET?34@camera/1", "rtsp://..."),
    ("rtsp://SECRET/x:34@camera/1", "rtsp://..."),
    ("rtsp://admin:p@SECRET/x@camera/1", "rtsp://..."),
    ("rtsp://admin:12#34@SECRET/1", "rtsp://..."),
    ("rtsp://admin:a SECRET@camera/1", "rtsp://..."),
    ("rtsp:// admin:SECRET@camera/1", "rtsp://..."),
    ("rtsp://admin:SECRET@camera:port/1", "rtsp://..."),
    ("rtsp://admin:SECRET@camera:99999/1", "rtsp://..."),
    ("rtsp://admin:SECRET@camera:554:1/1", "rtsp://..."),
    ("rtsp://admin:SECRET@/1", "rtsp://..."),
    ("rtsp://admin:SECRET", "rtsp://..."),
    ("rtsp:///SECRET", "rtsp://..."),
    ("rtsp://[SECRET]/1", "rtsp://..."),
    ("rtsp://[::1]SECRET/1", "rtsp://..."),
    ("rtsp://300.1.1.1SECRET@1.2.3.4.5/1", "rtsp://..."),
    ("rtsp://camera\\SECRET@x/1", "rtsp://..."),
    ("rtsp://admin:SECRET@c\u00e4mera/1", "rtsp://..."),
    ("rtsp://admin:SECRET\n@camera/1", "rtsp://..."),
    ("rtsp://admin:SECRET\udcff@camera/1", "rtsp://..."),
    # As pathlib leaves it, and other slips.
    ("rtsp:/admin:SECRET@camera/1", "rtsp://..."),
    ("http:/SECRET", "http://..."),
    ("://SECRET", "unreadable URL"),
    ("SECRET", "unreadable URL"),
    ("admin:SECRET@rtsp://camera/1", "unreadable URL"),
    # What FFmpeg and GStreamer take beside URLs.
    ("rtsp://camera/1|rtsp://admin:SECRET@other/1", "rtsp://..."),
    ("concat:http://admin:SECRET@camera/1", "unreadable URL"),
    ("rtspsrc location=rtsp://a:b@camera user-pw=SECRET ! decodebin", "unreadable URL"),
    ("file:///films/SECRET?x", "file://..."),
]
PLAIN = [
    "http://127.0.0.1:8090/",
    "http://[::1]:8090/",
    "kserve://192.0.2.5:8001",
    "kserve://HOST:PORT",
    "rtsp://camera",
    "rtsp://",
    "file:///films/night and day.mp4",
]


@pytest.mark.parametrize(("url", "shown"), URLS)
def test_of_a_url_scheme_host_and_port_are_shown(url, shown):
    found = redact_url(url)
    if shown.endswith(TAG):
        assert re.fullmatch(rf"{re.escape(shown)}[0-9a-f]{{3}}", found)
    else:
        assert found == shown
    assert "SECRET" not in found


@pytest.mark.parametrize("url", PLAIN)
def test_what_has_no_secret_is_shown_as_it_is(url):
    assert redact_url(url) == url


@pytest.mark.parametrize("url", [url for url, shown in URLS if shown[0] != "u"] + PLAIN)
def test_redacted_once_more_nothing_changes(url):
    once = redact_url(url)
    assert redact_url(once) == once
    text = f"running: {once}, 640 x 360; {once}: lost ({once})"
    assert redact_text(text) == text


@pytest.mark.parametrize("url", [url for url, _ in URLS if re.match(r"\s*[a-zA-Z]+:/", url)])
@pytest.mark.parametrize(
    "text",
    [
        "URL",
        "config.yaml:3: theme.font: /etc/installation/URL is no font",
        "[Errno 2] No such file: 'URL'",
        'cannot open "URL", nor another',
        "camera (URL): gone",
        "a=URL",
    ],
)
def test_in_a_text_every_url_is_redacted(url, text):
    found = redact_text(text.replace("URL", url.strip()))
    assert "SECRET" not in found
    before, after = text.split("URL")
    assert found.startswith(before)
    if not re.search(r"['\"\s]", url):
        assert found.endswith(after)


def test_in_a_text_several_are():
    found = redact_text("from http://a:SECRET@one/SECRET to 'rtsp://two/SECRET', or rtsp://three")
    assert re.fullmatch(r"from http://one/...#\w+ to 'rtsp://two/...#\w+', or rtsp://three", found)


@pytest.mark.parametrize(
    "text",
    [
        "config.yaml:3: camera.source: no such file",
        "/dev/v4l/by-id/usb-a:1.0-index0: gone",
        "let inference.device begin kserves://",
        "auto, gpu, cpu or kserve://HOST:PORT",
        "status at http://127.0.0.1:8090/",
        "see /srv/http/films, or me@example.com",
    ],
)
def test_any_other_text_stays_as_it_is(text):
    assert redact_text(text) == text


def test_two_cameras_of_one_host_are_told_apart_whoever_asks():
    tags = {redact_url(f"rtsp://camera/live/{number}") for number in range(8)}
    assert len(tags) > 1
    # The user and the password do not count: nothing can be tried against a tag.
    users = {redact_url(f"rtsp://{user}@camera/live/1") for user in ("", "me:a", "me:b", "me")}
    assert len(users) == 1


@pytest.mark.skipif(
    not re.fullmatch(r"[0-9a-f]{32}\n?", Path("/etc/machine-id").read_text())
    if Path("/etc/machine-id").is_file()
    else True,
    reason="this machine has no id",
)
def test_a_tag_is_the_same_in_every_process_of_a_machine(tmp_path, monkeypatch):
    url = "rtsp://camera/live/1"
    code = f"from installation.runtime.redact import redact_url; print(redact_url({url!r}))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == f"{redact_url(url)}\n"


@pytest.fixture
def tags_with(monkeypatch, tmp_path):
    """Tags of many URLs as a machine with this id gives them."""

    def tags(machine_id):
        (tmp_path / "id").write_text(machine_id)
        monkeypatch.setattr(redact, "_MACHINE_ID", tmp_path / "id")
        redact._key.cache_clear()
        return [redact_url(f"rtsp://camera/{number}") for number in range(8)]

    yield tags
    redact._key.cache_clear()


def test_without_the_machines_id_nobody_can_make_its_tags(tags_with):
    one, other = tags_with(f"{'a' * 32}\n"), tags_with(f"{'b' * 32}\n")
    assert one != other
    assert tags_with("a" * 32) == one
    # One that every machine may have is none.
    assert tags_with("uninitialized\n") != tags_with("uninitialized\n")
    assert tags_with("") != tags_with("")


@pytest.mark.parametrize(
    "text",
    [
        *("rtsp:/a:SECRET@camera/1", "rtsp:a:SECRET@camera", "rtsp//a:SECRET@camera/1"),
        *("a:SECRET@camera/1", "a:SECRET@192.0.2.7", "//a:SECRET@camera/1", "HTTP:\\\\a@b"),
        *("camera/user=a&password=SECRET", "camera/cgi?pwd=SECRET", "x?token=SECRET", "user-pw=x"),
        *("camera:554/live/SECRET", "192.0.2.7/live/SECRET", "rtspsrc user-pw=SECRET ! x"),
    ],
)
def test_an_address_without_its_scheme_is_known(text):
    assert lacks_scheme(text) and is_address(text)
    assert "SECRET" not in redact_url(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "0",
            "demo",
            "film.mp4",
            "a film: part 2.mp4",
            "me@home.mp4",
            "http.mp4",
            "rtsp/film.mp4",
        ),
        *("./rtsp:/film.mp4", "./a:b@c.mp4", "../a?token=b.mp4", "/films/key=c.mp4", "a=b.mp4"),
        *(
            "/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0",
            "10.0.0.0/8",
            "10:00-18:00",
        ),
    ],
)
def test_what_is_no_address_is_not_taken_for_one(text):
    assert not lacks_scheme(text)


def test_an_error_for_technicians_is_one_line_without_secrets():
    error = InstallationError("a\nb\x1b[31m\udcff: rtsp://a:SECRET@camera/1: gone")
    assert str(error).isprintable()
    assert "SECRET" not in str(error) and r"a\nb\x1b[31m\udcff: rtsp://camera/" in str(error)
