import json
import subprocess
import sys

from tests.paths import ROOT


def test_a_thousand_kills_cost_no_row_that_was_written(tmp_path):
    command = [sys.executable, "-m", "tests.record.kills", str(tmp_path)]
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["kills"] == 1000
    # Both kinds of moment were met: while it opens, and while it writes.
    assert 0 < report["before the first row"] < 1000
    assert report["rows"] > 1000
    assert (report["missing"], report["checks"], report["set aside"]) == (0, ["ok"], 0)
