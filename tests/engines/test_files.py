"""Root writes into another user's folder as that user."""

import contextlib
import os
import shutil
import stat
import subprocess
import sys

import pytest

from engines.build import RECIPES, build, stale_reason
from engines.files import as_owner, write_atomic
from installation.inference.circuit_breaker import CircuitBreaker
from installation.record.backup import back_up
from installation.record.entry import Entry
from installation.record.errors import RecordError
from installation.record.store import Store
from tests.paths import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root writes as somebody else")

# Nobody's, on any machine.
SOMEBODY = 54321


@pytest.fixture
def theirs(tmp_path):
    """A folder of somebody else's, whom the folders above let through."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder.name.startswith(("pytest-", "test_", "popen-")):
            folder.chmod(folder.stat().st_mode | 0o055)
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, SOMEBODY, SOMEBODY)
    return folder


def owners(folder):
    paths = (folder, *folder.rglob("*"))
    return {(each.lstat().st_uid, each.lstat().st_gid) for each in paths}


def as_somebody(code, folder):
    """Run Python as the folder's owner would; root has imported what it imports."""
    # The owner may not be allowed to read this repository.
    program = folder.parent / "program"
    if not program.exists():
        ignored = shutil.ignore_patterns("built", "__pycache__")
        shutil.copytree(ROOT / "engines", program / "engines", ignore=ignored)
    before = (
        "import os, shutil, sys, encodings.cp437; from pathlib import Path\n"
        "from engines.build import *\n"
        f"os.setgroups([]); os.setgid({SOMEBODY}); os.setuid({SOMEBODY})\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", before + code, str(folder)],
        cwd=program,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_roots_copy_of_a_record_is_written_by_the_folders_owner(theirs, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    record = closed / "record.sqlite"
    with contextlib.closing(Store(record)) as store:
        store.add([Entry(472222, "n10104064", 0.5, 3, "wall", "safe", "person-semantic")] * 7)
        assert back_up(record, theirs / "west.sqlite") == 7
    assert back_up(record, theirs / "later.sqlite") == 7
    assert owners(theirs) == {(SOMEBODY, SOMEBODY)}
    # Root could.
    theirs.chmod(0o500)
    with pytest.raises(RecordError, match="Permission denied"):
        back_up(record, theirs / "more.sqlite")
    assert sorted(each.name for each in theirs.iterdir()) == ["later.sqlite", "west.sqlite"]


def test_what_root_builds_belongs_to_the_folders_owner_who_can_build_it_again(built, theirs):
    shutil.copytree(built / "wheels", theirs / "engines" / "wheels")
    for path in (theirs / "engines", *(theirs / "engines").rglob("*")):
        os.chown(path, SOMEBODY, SOMEBODY)
    build(theirs / "engines", print)
    CircuitBreaker(theirs / "engines/plans/gpu.json").fail("for a test")
    Store(theirs / "said.sqlite").close()
    assert owners(theirs) == {(SOMEBODY, SOMEBODY)}
    assert os.geteuid() == 0 and os.getegid() == 0
    as_somebody(
        "(Path(sys.argv[1]) / 'person-glosses/glosses.tsv').unlink()\n"
        "build(Path(sys.argv[1]), print)",
        theirs / "engines",
    )
    assert not any(stale_reason(recipe, theirs / "engines") for recipe in RECIPES)


def test_leftovers_of_root_are_no_obstacle(built, theirs):
    shutil.copytree(built / "wheels", theirs / "wheels")
    for path in (theirs / "wheels", *(theirs / "wheels").iterdir()):
        os.chown(path, SOMEBODY, SOMEBODY)
    # As an older version left it.
    shutil.copytree(built / "person-glosses", theirs / "person-glosses")
    (theirs / "person-glosses/glosses.tsv").write_text("damaged")
    (theirs / ".making-left").mkdir(mode=0o700)
    (theirs / ".making-left/model.onnx").touch()
    assert owners(theirs / ".making-left") == {(0, 0)}
    as_somebody("build(Path(sys.argv[1]), print)", theirs)
    assert not any(stale_reason(recipe, theirs) for recipe in RECIPES)
    # Once root comes by, it is gone.
    os.chown(theirs / ".making-left", SOMEBODY, SOMEBODY)
    (theirs / "person-glosses/glosses.tsv").write_text("damaged")
    build(theirs, print)
    assert not (theirs / ".making-left").exists()


def test_root_follows_no_link_to_where_the_owner_may_not_write(tmp_path, theirs):
    secret = tmp_path / "roots"
    secret.mkdir(mode=0o700)
    (theirs / "plans").symlink_to(secret)
    with as_owner(theirs), pytest.raises(PermissionError):
        write_atomic(theirs / "plans" / "gpu.json", b"x")
    (theirs / "said.sqlite").symlink_to(secret / "said.sqlite")
    with as_owner(theirs), pytest.raises(PermissionError):
        (theirs / "said.sqlite").touch()
    assert list(secret.iterdir()) == []


def test_in_roots_own_folder_root_stays_root(tmp_path):
    write_atomic(tmp_path / "new" / "file", b"x")
    assert owners(tmp_path / "new") == {(0, os.getegid())}
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == 0o644
