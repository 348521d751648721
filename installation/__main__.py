"""The entry point of the ``installation`` command."""

import os
import signal
import sys
import threading


def start() -> int:
    """Run the command line; Ctrl-C ends it silently even while it is still loading."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] in (["run"], ["web"]):
        # Requests a reload of the config, which may not be loaded yet.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from installation.commands.terminal import open_standard_streams

    open_standard_streams()
    from installation.commands.cli import main
    from installation.commands.exit_status import flush_standard_streams
    from installation.runtime.signals import stop_requested

    status = main()
    if stop_requested():
        # The interpreter might wait at exit for something that no signal can interrupt any more.
        os._exit(status)
    flush_standard_streams()
    if threading.active_count() > 1:
        # Interpreter shutdown would abort a thread that is still inside a library.
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(start())
