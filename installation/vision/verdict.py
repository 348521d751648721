"""Votes over time to one word that holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Weight of the newest vote in the running average once enough have been cast.
_NEWEST = 0.15
# The word settles when it has led for this many votes in a row, or at the latest after so many.
_SETTLES_AFTER_LEADING = 4
_SETTLES_AT_LATEST = 10
# A settled word yields only to one that has led the average for this many votes in a row.
_YIELDS_AFTER = 12


class Ballot:
    """The votes cast for one face, or for the whole picture while nobody is there.

    Attributes
    ----------
    winner
        Index of the label to show, -1 before the first vote.
    settled
        Whether it has won for good.
    """

    def __init__(self) -> None:
        self.winner = -1
        self.settled = False
        self._average: NDArray[np.float32] | None = None
        self._votes = 0
        self._leader = -1
        self._led = 0

    @property
    def score(self) -> float:
        """Average log-probability of the winner."""
        return float(self._average[self.winner]) if self._average is not None else -np.inf

    def cast(self, scores: NDArray[np.float32]) -> None:
        """Add a vote: float32 (L,), log-probabilities."""
        self._votes += 1
        weight = max(1 / self._votes, _NEWEST)
        if self._average is None:
            self._average = scores.copy()
        else:
            self._average += weight * (scores - self._average)
        leader = int(self._average.argmax())
        self._led = self._led + 1 if leader == self._leader else 1
        self._leader = leader
        if self.settled:
            if leader != self.winner and self._led >= _YIELDS_AFTER:
                self.winner = leader
            return
        self.winner = leader
        self.settled = self._led >= _SETTLES_AFTER_LEADING or self._votes >= _SETTLES_AT_LATEST
