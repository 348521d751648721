"""How often the service manager had to start this again."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

# Seconds that asking may take.
_PATIENCE = 5.0
_CGROUP = Path("/proc/self/cgroup")


def restarts(cgroup: Path = _CGROUP) -> int | None:
    """Return how often systemd started this service again after it had ended by itself.

    It begins anew when the service is started, or restarted, by hand. None where this is no
    service, or systemd does not tell. See org.freedesktop.systemd1(5), ``NRestarts``.
    """
    systemctl = shutil.which("systemctl")
    if systemctl is None or "INVOCATION_ID" not in os.environ:
        return None
    try:
        unit = Path(cgroup.read_text(encoding="utf-8").splitlines()[-1].partition("::")[2]).name
        if not unit.endswith(".service"):
            return None
        asked = subprocess.run(
            [systemctl, "show", "--value", "--property=NRestarts", unit],
            capture_output=True,
            check=True,
            text=True,
            timeout=_PATIENCE,
        )
        return int(asked.stdout)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None
