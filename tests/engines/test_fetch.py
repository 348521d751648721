"""pip is real; the package index is a folder of wheels made here."""

import hashlib
import zipfile

import pytest

from engines import fetch as fetching
from engines.fetch import FetchError, fetch, read_member


def make_wheel(folder, content):
    """A wheel called `pictures`, holding one file."""
    folder.mkdir(exist_ok=True)
    path = folder / "pictures-1.0-py3-none-any.whl"
    info = "pictures-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("pictures/one.txt", content)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pictures\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index with one good wheel, pinned; returns its folder."""
    wheel = make_wheel(tmp_path / "index", "good")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pins = tmp_path / "weights.txt"
    pins.write_text(f"# a comment\n\npictures==1.0 --hash=sha256:{digest}\n")
    monkeypatch.setattr(fetching, "read_pins", lambda read=fetching.read_pins: read(pins))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return wheel.parent


def test_a_pinned_wheel_is_downloaded_once(index, tmp_path):
    said = []
    fetch(tmp_path / "wheels", said.append)
    assert said == ["downloading pictures==1.0"]
    assert read_member("pictures", "pictures/one.txt", tmp_path / "wheels") == b"good"
    fetch(tmp_path / "wheels", said.append)
    assert len(said) == 1


def test_a_tampered_download_is_rejected_by_its_hash(index, tmp_path):
    make_wheel(index, "evil")
    with pytest.raises(FetchError, match=r"pictures==1.0: rejected, .* is not the pinned sha256"):
        fetch(tmp_path / "wheels", print)
    assert list((tmp_path / "wheels").iterdir()) == []


def test_a_truncated_download_is_rejected(index, tmp_path):
    wheel = index / "pictures-1.0-py3-none-any.whl"
    wheel.write_bytes(wheel.read_bytes()[:100])
    with pytest.raises(FetchError, match="rejected"):
        fetch(tmp_path / "wheels", print)


def test_a_failed_download_says_how_to_copy_the_wheel_by_hand(index, tmp_path):
    (index / "pictures-1.0-py3-none-any.whl").unlink()
    with pytest.raises(FetchError, match=r"download failed .* by hand"):
        fetch(tmp_path / "wheels", print)


def test_a_wheel_copied_by_hand_may_have_any_name(index, tmp_path):
    (tmp_path / "wheels").mkdir()
    (index / "pictures-1.0-py3-none-any.whl").rename(tmp_path / "wheels" / "usb.whl")
    fetch(tmp_path / "wheels", pytest.fail)
    assert read_member("pictures", "pictures/one.txt", tmp_path / "wheels") == b"good"


def test_a_wheel_altered_on_disk_is_not_read(index, tmp_path):
    fetch(tmp_path / "wheels", print)
    make_wheel(tmp_path / "wheels", "evil")
    with pytest.raises(FetchError, match=r"no wheel of pictures==1\.0 with the pinned"):
        read_member("pictures", "pictures/one.txt", tmp_path / "wheels")
