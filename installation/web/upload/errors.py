"""Errors as their sender sees them: a plain sentence and an HTTP status."""

from __future__ import annotations

# Seconds after which a client is told to try again.
RETRY_AFTER_S = 5
ACCEPTED = "a JPEG, PNG, WebP or HEIC image"
DAMAGED = "This image file is damaged. Please try another one."
TOO_COMPLEX = "This image would take too long to process. Please try another one."
BUSY = "The machine is very busy right now. Please try again in a moment."
INTERNAL_ERROR = "Sorry, something went wrong on our side. Please try another image."


class RequestError(Exception):
    """A request that gets no result; the message is a sentence for whoever sent it.

    Parameters
    ----------
    status
        HTTP status.
    message
        One sentence or two.
    retry_after
        Seconds after which trying again makes sense; None if it does not.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


def everybody_busy() -> RequestError:
    """Return the error for a visitor who finds no room because of all the others."""
    return RequestError(
        503,
        "Many people are sending images right now. Please try again in a moment.",
        RETRY_AFTER_S,
    )
