"""The one family of errors that this package raises on purpose."""


class EngineError(Exception):
    """Something a technician can act on. Its text says what, where and what to do."""
