"""The one family of errors a technician may see: each message says what, where and what to do."""


class InstallationError(Exception):
    """Something a technician can act on. Its text is complete: the commands print it as it is."""
