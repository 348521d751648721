import os
import subprocess
import sys

import pytest

SAY = """
import logging
from installation.runtime import logging_setup as journal
journal.configure_logging(logging.INFO)
log = logging.getLogger("test")
log.info("the picture is %s", "back")
log.warning("two\\nlines\\n")
log.error("/dev/video0: gone")
log.debug("chatter")
"""


def said(environment):
    ran = subprocess.run(
        [sys.executable, "-c", SAY], capture_output=True, text=True, check=True, env=environment
    )
    return ran.stderr.splitlines()


def test_people_read_words():
    environment = {key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"}
    expected = ["INFO the picture is back", "WARNING two lines", "ERROR /dev/video0: gone"]
    assert said(environment) == expected


def test_somebody_elses_journal_is_not_ours():
    assert said(os.environ | {"JOURNAL_STREAM": "1:2"})[0] == "INFO the picture is back"


def test_journald_reads_priorities(tmp_path):
    with (tmp_path / "stream").open("w+") as stream:
        status = os.fstat(stream.fileno())
        subprocess.run(
            [sys.executable, "-c", SAY],
            stderr=stream,
            check=True,
            env=os.environ | {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"},
        )
        stream.seek(0)
        expected = ["<6>the picture is back", "<4>two lines", "<3>/dev/video0: gone"]
        assert stream.read().splitlines() == expected


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
def test_a_stream_that_takes_nothing_stops_nobody(closed):
    command = f'"{sys.executable}" -c "$SAY" {closed}'
    ran = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        env=os.environ | {"SAY": f"{SAY}\nprint(1)"},
        check=False,
    )
    assert ran.stdout == "1\n"
