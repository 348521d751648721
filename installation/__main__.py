"""The front door."""

import os
import signal
import sys
import threading


def start() -> int:
    """Run the command line; Ctrl-C ends it without a word even while it is still being loaded."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] in (["run"], ["web"]):
        # It asks these to read the config again; they may not have read it yet.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from installation.commands.terminal import open_standard_streams

    open_standard_streams()
    from installation.commands.cli import main
    from installation.commands.outcome import settle
    from installation.runtime.signals import stop_requested

    status = main()
    if stop_requested():
        # Whatever the interpreter waits for at its end would no longer hear a signal.
        os._exit(status)
    settle()
    if threading.active_count() > 1:
        # A stage that is deep inside a library would be torn down in its middle, which aborts.
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(start())
