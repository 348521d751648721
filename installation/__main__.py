"""The front door."""

import os
import signal
import sys
import threading


def start() -> int:
    """Run the command line; Ctrl-C ends it without a word even while it is still being loaded."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from installation.cli import main

    status = main()
    if threading.active_count() > 1:
        # A stage that is deep inside a library would be torn down in its middle, which aborts.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(start())
