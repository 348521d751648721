"""The one family of errors a technician may see: each message says what, where and what to do."""

# Exit statuses: for what a technician has to mend, and for what may mend itself, such as a screen
# that is not there yet (EX_TEMPFAIL of sysexits.h).
TROUBLE, TRY_AGAIN = 1, 75


class InstallationError(Exception):
    """Something a technician can act on. Its text is complete: the commands print it as it is.

    Attributes
    ----------
    status
        With which a command ends.
    """

    status = TROUBLE
