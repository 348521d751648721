"""Errors for technicians: each message says what is wrong, where, and what to do."""

from engines.errors import EngineError
from installation.runtime.redact import redact_text

# Exit statuses: an error that needs a technician, and one that may go away by itself, such as a
# missing screen (EX_TEMPFAIL of sysexits.h).
FAILURE, TRY_AGAIN = 1, 75


class InstallationError(Exception):
    """An error that a technician can act on; commands print its text unchanged.

    Parameters
    ----------
    message
        What is wrong, where, and what to do. URLs are redacted and unprintable characters escaped.

    Attributes
    ----------
    status
        Exit status of the command.
    """

    status = FAILURE

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(redact_text(str(message))))


def printable(text: str) -> str:
    """Return a text as one line, with unprintable characters escaped as in Python."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


# Raised on purpose here and in `engines`: their text can be printed unchanged.
EXPECTED_ERRORS = (InstallationError, EngineError)
