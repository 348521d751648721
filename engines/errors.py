"""Base class of the errors that this package raises deliberately."""


class EngineError(Exception):
    """An error a technician can act on. The message says what is wrong, where, and what to do."""
