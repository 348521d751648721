"""What the commands say to whoever sits before them; answers to programs go to standard output."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Say a line."""
    print(line, file=sys.stderr, flush=True)


class Meter:
    """Shows on a terminal how far something is; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._shown: tuple[str, int] | None = None

    def __enter__(self) -> Meter:
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
            print(f"{before}{what}: {percent} %", end=after, file=sys.stderr, flush=True)
            self._shown = what, percent
        return True

    def _clear(self) -> None:
        if self._live and self._shown is not None:
            print(file=sys.stderr)
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
