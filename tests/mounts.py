"""Mounts of a process's own: disks that are small, full or read-only, and gone with it."""

import functools
import subprocess

import pytest


@functools.cache
def own_mounts():
    """Return what to put before a command so that it may mount; skips where nothing can be."""
    probe = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]
    for command in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        try:
            ran = subprocess.run([*command, *probe], capture_output=True, timeout=600, check=False)
        except OSError:
            continue
        if ran.returncode == 0:
            return command
    pytest.skip("nothing can be mounted here, even in a name space of its own")
