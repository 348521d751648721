"""What the commands say to whoever sits before them; answers to programs go to standard output."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

from installation.runtime import logging_setup as journal

# The name of that file in errors.
STANDARD_OUTPUT = "standard output"


class _Output(io.TextIOWrapper):
    """Standard output; what keeps it from being written is told from what other files do."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            error.filename = STANDARD_OUTPUT
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            error.filename = STANDARD_OUTPUT
            raise


def open_standard_streams() -> None:
    """Open those of standard input, output and error that are closed, on the null device.

    To be called before anything else is opened: the next file to be opened gets a number that is
    free, and so everything that is printed to the stream of that number.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free: this one.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            stream = open(number, mode, errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name may hold bytes that are no text.
        encoding, through = sys.stdout.encoding, sys.stdout.write_through
        sys.stdout = _Output(
            sys.stdout.detach(),
            encoding,
            "backslashreplace",
            line_buffering=sys.stdout.line_buffering,
            write_through=through,
        )


def say(line: str, end: str = "\n") -> None:
    """Print a line on standard error; what cannot be written, such as to a full disk, is left out.

    Parameters
    ----------
    line
        Without its end.
    end
        What ends it.
    """
    with suppress(OSError):
        print(line, end=end, file=sys.stderr, flush=True)


def complain(error: object) -> None:
    """Print the one line that says why a command ends."""
    say(journal.complaint(error))


class ProgressBar:
    """Shows on a terminal how far something is; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._shown: tuple[str, int] | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def say(self, line: str) -> None:
        """Say a line, below what is shown."""
        self._clear()
        say(line)

    def follow(self, what: str, done: float) -> bool:
        """Show that so much of something is done, 0 to 1; always True: go on."""
        # A terminal shows each per cent, a log each quarter.
        step = 1 if self._live else 25
        percent = int(done * 100) // step * step
        if self._shown != (what, percent) and (self._live or percent):
            before, after = ("\r", "") if self._live else ("", "\n")
            say(f"{before}{what}: {percent} %", end=after)
            self._shown = what, percent
        return True

    def _clear(self) -> None:
        if self._live and self._shown is not None:
            say("")
        self._shown = None


def confirm(question: str) -> bool:
    """Ask whoever is there; nobody means no."""
    if not sys.stdin.isatty():
        say(f"{question} Nobody is here to answer; add --yes to accept")
        return False
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
