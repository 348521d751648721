"""Messages, errors, progress and questions on standard error; results go to standard output."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress

from installation.runtime.logging_setup import error_line

# File name of standard output in errors.
STANDARD_OUTPUT = "standard output"


class _Output(io.TextIOWrapper):
    """Standard output; its errors name it, which tells them from those of other files."""

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
    """Open standard input, output and error on the null device if they are closed.

    Call it before anything else is opened. The next file to be opened would get the free
    descriptor, and with it everything that is printed to that stream.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # Gets the lowest free descriptor, which is this one.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            stream = open(number, mode, errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may contain bytes that are not valid text.
        encoding, through = sys.stdout.encoding, sys.stdout.write_through
        sys.stdout = _Output(
            sys.stdout.detach(),
            encoding,
            "backslashreplace",
            line_buffering=sys.stdout.line_buffering,
            write_through=through,
        )


def print_message(line: str, end: str = "\n") -> None:
    """Print a line on standard error; drop it if it cannot be written, as to a full disk.

    Parameters
    ----------
    line
        Text without a line break.
    end
        Printed after it.
    """
    with suppress(OSError):
        print(line, end=end, file=sys.stderr, flush=True)


def print_error(error: object) -> None:
    """Print the one line that explains a failure."""
    print_message(error_line(error))


class ProgressBar:
    """Progress in per cent: updated in place on a terminal, otherwise a line per quarter."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._shown: tuple[str, int] | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def print(self, line: str) -> None:
        """Print a line below the progress."""
        self._clear()
        print_message(line)

    def update(self, what: str, done: float) -> bool:
        """Show progress.

        Parameters
        ----------
        what
            What is being done.
        done
            Share that is done, 0 to 1.

        Returns
        -------
        bool
            True: continue.
        """
        step = 1 if self._live else 25
        percent = int(done * 100) // step * step
        if self._shown != (what, percent) and (self._live or percent):
            before, after = ("\r", "") if self._live else ("", "\n")
            print_message(f"{before}{what}: {percent} %", end=after)
            self._shown = what, percent
        return True

    def _clear(self) -> None:
        if self._live and self._shown is not None:
            print_message("")
        self._shown = None


def confirm(question: str) -> bool:
    """Ask a yes-or-no question on the terminal; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        print_message(f"{question} No terminal to ask on; add --yes to accept")
        return False
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
