"""What a visitor can be told: one plain sentence, and the HTTP status that goes with it."""

from __future__ import annotations


class RequestError(Exception):  # most of it is nobody's error
    """A picture gets no answer; the text is a sentence for whoever sent it.

    Attributes
    ----------
    status
        Of HTTP.
    retry_after
        Seconds after which it is worth another try; None where it is not.
    """

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.retry_after = retry_after
