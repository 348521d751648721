"""Runs a check in a process of its own: drivers hang, crash, and write to the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from installation.checks import finding
from installation.checks.finding import Finding
from installation.errors import EXPECTED_ERRORS
from installation.runtime.redact import redact_text
from installation.runtime.tracebacks import error_location

Check = Callable[[], Iterable[Finding]]


def run_isolated(
    name: str, check: Check, timeout_s: float, user: str | None = None
) -> Iterator[Finding]:
    """Run a check in a forked process, and report if that hangs or crashes.

    Call it only while no other thread can hold a lock, which the child would wait for forever.

    Parameters
    ----------
    name
        Of the check.
    check
        Returns its findings.
    timeout_s
        Time it has; then it is killed, and abandoned if it cannot be killed.
    user
        User to run it as; None: the current one.

    Yields
    ------
    Finding
        Those of ``check``, as they arrive.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _run_in_child(name, check, user, write)
    os.close(write)
    try:
        with open(read, "rb", buffering=0) as pipe:  # noqa: PTH123  # not a path
            yield from _read_findings(name, pipe.fileno(), timeout_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        ended, status = _wait(child)
    code = os.waitstatus_to_exitcode(status) if ended else 0
    # SIGKILL is from here, sent in case it was still running.
    if code not in (0, -signal.SIGKILL):
        reason = signal.Signals(-code).name if code < 0 else f"status {code}"
        yield finding.error(
            name, f"the check crashed ({reason})", "check that the driver is installed and works"
        )


def _read_findings(name: str, pipe: int, timeout_s: float) -> Iterator[Finding]:
    deadline = time.monotonic() + timeout_s
    rest = b""
    while True:
        ready, _, _ = select.select([pipe], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            message = f"no response within {timeout_s:g} seconds"
            yield finding.error(name, message, "restart the machine")
            return
        data = os.read(pipe, 65536)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from (Finding(**json.loads(line)) for line in lines)


def _wait(child: int) -> tuple[int, int]:
    """Wait briefly for a process to end; one that is blocked in a driver may never do so."""
    for _ in range(50):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return ended, status
        time.sleep(0.01)
    return 0, 0


def _run_in_child(name: str, check: Check, user: str | None, pipe: int) -> NoReturn:
    status = 1
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        if user is not None:
            _drop_privileges_to(user)
        for each in collect_findings(name, check):
            os.write(pipe, json.dumps(each.as_json()).encode() + b"\n")
        status = 0
    finally:
        os._exit(status)


def collect_findings(name: str, check: Check) -> Iterator[Finding]:
    """Yield the findings of a check; an exception it raises becomes one of them."""
    try:
        yield from check()
    except EXPECTED_ERRORS as error:
        yield finding.error(name, str(error))
    except Exception as error:
        location = error_location(error)
        message = redact_text(f"unexpected {type(error).__name__} at {location}: {error}")
        yield finding.error(name, message, "please report this")


def _drop_privileges_to(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ |= {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user}
    os.chdir("/")
