"""Votes over time to one stable label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Minimum weight of the newest vote in the running average.
_EMA_WEIGHT = 0.15
# A label settles after this many votes if it has this share of them and its average log-probability
# leads by this much; after the timeout the leading label settles in any case.
_MIN_VOTES = 4
_MIN_SHARE = 0.5
_MIN_LEAD = 0.5
_SETTLE_TIMEOUT_S = 1.0
# A settled label is kept for at least _MIN_HOLD_S, and then until another one has led without
# interruption for _SWITCH_AFTER_S: the person's appearance changed, not just the pose.
_MIN_HOLD_S = 20.0
_SWITCH_AFTER_S = 6.0
_MAX_CANDIDATES = 5


class VoteAccumulator:
    """Accumulates the votes for one face, or for the whole frame.

    Attributes
    ----------
    winner
        Index of the label to show: that of the first vote until one settles; -1 before any vote.
    settled
        Whether the winner has settled.
    """

    def __init__(self) -> None:
        self.winner = -1
        self.settled = False
        self._average: NDArray[np.float32] | None = None
        self._shares: NDArray[np.float32] | None = None
        self._votes = 0
        self._first_vote_at = 0.0
        self._settled_at = 0.0
        self._leader = -1
        self._leader_since = 0.0

    def share(self, index: int) -> float:
        """Return a label's share of the votes, 0 to 1; recent votes weigh more."""
        return float(self._shares[index]) if self._shares is not None else 0.0

    @property
    def candidates(self) -> tuple[int, ...]:
        """Indices of the leading labels, at most five, best first."""
        if self._average is None:
            return ()
        count = min(_MAX_CANDIDATES, len(self._average))
        best = np.argpartition(-self._average, count - 1)[:count]
        # Ties are broken by index, so that the same votes always give the same order.
        return tuple(int(index) for index in best[np.lexsort((best, -self._average[best]))])

    def cast(self, scores: NDArray[np.float32], at: float) -> None:
        """Add a vote.

        Parameters
        ----------
        scores
            float32 (L,), log-probabilities.
        at
            When the frame was captured, seconds; not before that of the last vote.
        """
        if self._average is None or self._shares is None:
            self._average = np.zeros_like(scores)
            self._shares = np.zeros_like(scores)
            self._first_vote_at = at
            self.winner = int(scores.argmax())
        self._votes += 1
        weight = max(1 / self._votes, _EMA_WEIGHT)
        self._average += weight * (scores - self._average)
        self._shares *= 1 - weight
        self._shares[scores.argmax()] += weight
        leader = int(self._average.argmax())
        if not self.settled:
            self._settle(leader, at)
        else:
            self._reconsider(leader, at)

    def _settle(self, leader: int, at: float) -> None:
        assert self._average is not None and self._shares is not None
        others = np.delete(self._average, leader)
        lead = self._average[leader] - others.max(initial=-np.inf)
        clear = (
            self._votes >= _MIN_VOTES and self._shares[leader] >= _MIN_SHARE and lead >= _MIN_LEAD
        )
        if clear or at - self._first_vote_at >= _SETTLE_TIMEOUT_S:
            self.winner, self.settled = leader, True
            self._settled_at = at

    def _reconsider(self, leader: int, at: float) -> None:
        if leader != self._leader:
            self._leader, self._leader_since = leader, at
        may_switch = at - self._settled_at >= _MIN_HOLD_S
        if leader != self.winner and may_switch and at - self._leader_since >= _SWITCH_AFTER_S:
            self.winner = leader
            self._settled_at = at
