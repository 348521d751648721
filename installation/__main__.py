"""The front door."""

import signal
import sys


def start() -> int:
    """Run the command line; Ctrl-C ends it without a word even while it is still being loaded."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from installation.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(start())
