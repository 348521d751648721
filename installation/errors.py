"""The one family of errors a technician may see: each message says what, where and what to do."""

from engines.errors import EngineError
from installation.runtime.redact import redact_text

# Exit statuses: for what a technician has to mend, and for what may mend itself, such as a screen
# that is not there yet (EX_TEMPFAIL of sysexits.h).
FAILURE, TRY_AGAIN = 1, 75


class InstallationError(Exception):
    """Something a technician can act on. Its text is complete: the commands print it as it is.

    Parameters
    ----------
    message
        What, where and what to do. URLs in it are redacted, and characters that would spoil a line
        on a terminal escaped.

    Attributes
    ----------
    status
        With which a command ends.
    """

    status = FAILURE

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(redact_text(str(message))))


def printable(text: str) -> str:
    """Return a text as one line, its unprintable characters escaped as Python writes them."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


# What is raised on purpose here and by `engines`: its text can be printed as it is.
EXPECTED_ERRORS = (InstallationError, EngineError)
