"""Looking at something in a process of its own: drivers hang, crash, and write on the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from installation.checks.finding import Finding, trouble
from installation.errors import EXPECTED_ERRORS
from installation.runtime.redact import redact_text

Look = Callable[[], Iterable[Finding]]


def run_isolated(
    about: str, look: Look, seconds: float, user: str | None = None
) -> Iterator[Finding]:
    """Look at something in a forked process, and tell also what becomes of that.

    Call it while no other thread may hold a lock: the child would wait for it for ever.

    Parameters
    ----------
    about
        What is looked at.
    look
        Does so.
    seconds
        Time it has; then it is killed and left alone, even if it cannot die.
    user
        As whom; None: as who asks.

    Yields
    ------
    Finding
        Those of ``look``, as they come.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _answer(about, look, user, write)
    os.close(write)
    try:
        with open(read, "rb", buffering=0) as answers:  # noqa: PTH123  # no path
            yield from _read_findings(about, answers.fileno(), time.monotonic() + seconds, seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        ended, status = _wait(child)
    how = os.waitstatus_to_exitcode(status) if ended else 0
    # Killed is what it was here, if it was not gone already.
    if how not in (0, -signal.SIGKILL):
        said = signal.Signals(-how).name if how < 0 else f"status {how}"
        yield trouble(
            about, f"looking at it crashed ({said})", "is its driver installed and sound?"
        )


def _read_findings(about: str, answers: int, deadline: float, seconds: float) -> Iterator[Finding]:
    rest = b""
    while True:
        ready, _, _ = select.select([answers], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            yield trouble(
                about, f"does not answer within {seconds:g} seconds", "restart the machine"
            )
            return
        heard = os.read(answers, 65536)
        if not heard:
            return
        *lines, rest = (rest + heard).split(b"\n")
        yield from (Finding(**json.loads(line)) for line in lines)


def _wait(child: int) -> tuple[int, int]:
    """Wait a moment for a process to be gone; one in the grip of a driver may take for ever."""
    for _ in range(50):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return ended, status
        time.sleep(0.01)
    return 0, 0


def _answer(about: str, look: Look, user: str | None, to: int) -> NoReturn:
    """Be the other process."""
    status = 1
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nothing, standard)
        if user is not None:
            _drop_privileges_to(user)
        for finding in collect_findings(about, look):
            os.write(to, json.dumps(finding.as_json()).encode() + b"\n")
        status = 0
    finally:
        os._exit(status)


def collect_findings(about: str, look: Look) -> Iterator[Finding]:
    """Look at something, and tell also what is raised meanwhile."""
    try:
        yield from look()
    except EXPECTED_ERRORS as error:
        yield trouble(about, str(error))
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        said = redact_text(f"unexpected {type(error).__name__} at {where}: {error}")
        yield trouble(about, said, "please report this")


def _drop_privileges_to(user: str) -> None:
    known = pwd.getpwnam(user)
    os.initgroups(user, known.pw_gid)
    os.setgid(known.pw_gid)
    os.setuid(known.pw_uid)
    os.environ |= {"HOME": known.pw_dir, "USER": user, "LOGNAME": user}
    os.chdir("/")
