"""How often systemd has restarted this service."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_CGROUP = Path("/proc/self/cgroup")


def restarts(cgroup: Path = _CGROUP, timeout_s: float = 5.0) -> int | None:
    """Return how often systemd has restarted this service automatically.

    A manual start or restart resets the count. None outside a service, or if systemd does not
    respond. See org.freedesktop.systemd1(5), ``NRestarts``.

    Parameters
    ----------
    cgroup
        File that names this process's control group.
    timeout_s
        How long systemd may take to respond, seconds.
    """
    systemctl = shutil.which("systemctl")
    if systemctl is None or "INVOCATION_ID" not in os.environ:
        return None
    try:
        unit = Path(cgroup.read_text(encoding="utf-8").splitlines()[-1].partition("::")[2]).name
        if not unit.endswith(".service"):
            return None
        result = subprocess.run(
            [systemctl, "show", "--value", "--property=NRestarts", unit],
            capture_output=True,
            check=True,
            text=True,
            timeout=timeout_s,
        )
        return int(result.stdout)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None
