"""Whatever is in the place of a record: said in one line, at once, and left as it is."""

import subprocess
import sys
from contextlib import closing

import pytest

from installation.record.entry import Entry
from installation.record.errors import RecordError
from installation.record.reader import open_readonly
from installation.record.store import Store, count_rows
from installation.record.writer import RecordWriter
from tests.record.odd_places import ODD_PLACES, make_odd_places
from tests.record.test_writer import wait

ENTRY = Entry(472222, "n10104064", 0.5, 3, "wall", "safe", "person-semantic")


@pytest.fixture
def folder(tmp_path):
    make_odd_places(tmp_path)
    return tmp_path


def read(path):
    with open_readonly(path):
        pass


@pytest.mark.parametrize("place", ODD_PLACES)
@pytest.mark.parametrize("use", [Store, count_rows, read])
def test_anything_but_a_file_is_reported(folder, place, use):
    before = sorted(folder.iterdir())
    with pytest.raises(RecordError) as caught:
        use(folder / place)
    assert str(caught.value).startswith(ODD_PLACES[place].format(folder))
    assert "\n" not in str(caught.value)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("place", ODD_PLACES)
def test_recording_pauses_without_blocking_anybody(folder, place):
    writer = RecordWriter(folder / place)
    writer.submit([ENTRY])
    wait(lambda: writer.error)
    assert writer.error.startswith(f"recording paused: {ODD_PLACES[place].format(folder)}")
    assert writer.pending == 1
    writer.close()


def test_recording_resumes_when_the_obstacle_is_gone(folder):
    writer = RecordWriter(folder / "fifo")
    writer.submit([ENTRY])
    wait(lambda: writer.error)
    (folder / "fifo").unlink()
    wait(lambda: writer.error is None and not writer.pending)
    writer.close()
    assert count_rows(folder / "fifo") == 1


@pytest.mark.parametrize("place", ODD_PLACES)
@pytest.mark.parametrize("action", ["summary", "export", "plot", "merge", "merged into"])
def test_commands_report_anything_but_a_file(folder, place, action):
    Store(folder / "sound.sqlite").close()
    odd = str(folder / place)
    command = {
        "summary": ["summary", "--record", odd],
        "export": ["export", "--record", odd],
        "plot": ["plot", "x.png", "--record", odd],
        "merge": ["merge", "sum.sqlite", odd],
        "merged into": ["merge", odd, "sound.sqlite"],
    }[action]
    (folder / "config.yaml").write_text("# all as it is\n")
    ran = subprocess.run(
        [sys.executable, "-m", "installation", "record", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"installation: {ODD_PLACES[place].format(folder)}")
    assert ran.stderr.count("\n") == 1


def test_a_link_is_followed_and_its_target_created(folder):
    (folder / "disk").mkdir()
    link = folder / "link"
    link.symlink_to("disk/record.sqlite")
    with pytest.raises(RecordError, match=r"link: a link to disk/record\.sqlite: no such file"):
        read(link)
    with closing(Store(link)) as store:
        store.add([ENTRY])
        assert count_rows(link) == 1
        read(link)
    assert link.is_symlink() and count_rows(folder / "disk" / "record.sqlite") == 1


def test_a_damaged_record_behind_a_link_is_set_aside_where_it_is(folder):
    (folder / "disk").mkdir()
    damaged = b"no database" * 1000
    (folder / "disk" / "record.sqlite").write_bytes(damaged)
    link = folder / "link"
    link.symlink_to("disk/record.sqlite")
    with closing(Store(link)) as store:
        store.add([ENTRY])
    assert link.is_symlink() and count_rows(link) == 1
    (aside,) = (folder / "disk").glob("record.sqlite.damaged-*")
    assert aside.read_bytes() == damaged


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RecordError, match="create the folder") as caught:
        Store(tmp_path / "nowhere" / "record.sqlite")
    assert f"create the folder {tmp_path}/nowhere" in str(caught.value)
