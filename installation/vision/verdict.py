"""Votes over time to one word that holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Weight of the newest vote in the running average once enough have been cast.
_EMA_WEIGHT = 0.15
# A word settles as soon as this many votes are in, half of them name it and its average leads by
# this much (natural logarithm); a contest is decided after this many seconds all the same.
_ENOUGH = 4
_AGREEMENT = 0.5
_LEAD = 0.5
_DECIDED_AFTER = 1.0
# A settled word holds for at least this long, and then until another has led it without a break for
# so long: evidence of a changed appearance, not of a turned head. Seconds.
_MIN_HOLD_S = 20.0
_SWITCH_AFTER_S = 6.0
_CANDIDATES = 5


class VoteAccumulator:
    """The votes cast for one face, or for the whole picture while nobody is there.

    Attributes
    ----------
    winner
        Index of the label to show, -1 before the first vote: the first vote's until one settles.
    settled
        Whether it has won.
    """

    def __init__(self) -> None:
        self.winner = -1
        self.settled = False
        self._average: NDArray[np.float32] | None = None
        self._named: NDArray[np.float32] | None = None
        self._votes = 0
        self._began = 0.0
        self._settled_at = 0.0
        self._rival = -1
        self._rival_since = 0.0

    def share(self, index: int) -> float:
        """Share of the votes that named a label, 0 to 1; recent ones count more."""
        return float(self._named[index]) if self._named is not None else 0.0

    @property
    def candidates(self) -> tuple[int, ...]:
        """Indices of the labels that stand best, at most five, best first."""
        if self._average is None:
            return ()
        count = min(_CANDIDATES, len(self._average))
        best = np.argpartition(-self._average, count - 1)[:count]
        # By index where two stand alike: the same votes always give the same order.
        return tuple(int(index) for index in best[np.lexsort((best, -self._average[best]))])

    def cast(self, scores: NDArray[np.float32], at: float) -> None:
        """Add a vote.

        Parameters
        ----------
        scores
            float32 (L,), log-probabilities.
        at
            When the face looked like that, seconds; not before the last vote.
        """
        if self._average is None or self._named is None:
            self._average = np.zeros_like(scores)
            self._named = np.zeros_like(scores)
            self._began = at
            self.winner = int(scores.argmax())
        self._votes += 1
        weight = max(1 / self._votes, _EMA_WEIGHT)
        self._average += weight * (scores - self._average)
        self._named *= 1 - weight
        self._named[scores.argmax()] += weight
        leader = int(self._average.argmax())
        if not self.settled:
            self._settle(leader, at)
        else:
            self._reconsider(leader, at)

    def _settle(self, leader: int, at: float) -> None:
        assert self._average is not None and self._named is not None
        others = np.delete(self._average, leader)
        lead = self._average[leader] - others.max(initial=-np.inf)
        clear = self._votes >= _ENOUGH and self._named[leader] >= _AGREEMENT and lead >= _LEAD
        if clear or at - self._began >= _DECIDED_AFTER:
            self.winner, self.settled = leader, True
            self._settled_at = at

    def _reconsider(self, leader: int, at: float) -> None:
        if leader != self._rival:
            self._rival, self._rival_since = leader, at
        held_long = at - self._settled_at >= _MIN_HOLD_S
        if leader != self.winner and held_long and at - self._rival_since >= _SWITCH_AFTER_S:
            self.winner = leader
            self._settled_at = at
