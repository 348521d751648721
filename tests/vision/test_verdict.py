from itertools import pairwise

import numpy as np
import pytest

from installation.vision.verdict import VoteAccumulator

SOON, LATER = 0.2, 2.0


def vote(*probabilities):
    return np.log(np.array(probabilities, np.float32))


A, B, C = vote(0.8, 0.1, 0.1), vote(0.1, 0.8, 0.1), vote(0.1, 0.1, 0.8)
SURE_B = vote(0.09, 0.85, 0.06)


class Booth:
    """Casts votes as often as the observer would; tells what was shown when."""

    def __init__(self):
        self.ballot = VoteAccumulator()
        self.at = 0.0
        self.shown = []

    def cast(self, scores, times=1):
        for _ in range(times):
            self.ballot.cast(scores, self.at)
            self.shown.append((self.at, self.ballot.winner, self.ballot.settled))
            self.at += LATER if self.ballot.settled else SOON
        return self


def test_there_is_no_winner_before_the_first_vote():
    ballot = VoteAccumulator()
    assert (ballot.winner, ballot.settled, ballot.candidates, ballot.share(0)) == (-1, False, (), 0)


def test_agreement_settles_soon():
    booth = Booth().cast(A, 4)
    assert [settled for *_, settled in booth.shown] == [False, False, False, True]
    assert booth.ballot.winner == 0
    assert booth.ballot.share(0) == pytest.approx(1)


def test_a_close_vote_is_decided_within_a_second_and_a_vote():
    booth = Booth()
    for scores in (A, SURE_B) * 4:
        booth.cast(scores)
    settled_at = next(at for at, _, settled in booth.shown if settled)
    assert 4 * SOON < settled_at <= 1 + SOON
    assert booth.ballot.winner == 1


def test_few_votes_decide_where_classification_is_slow():
    ballot = VoteAccumulator()
    ballot.cast(A, 10.0)
    ballot.cast(A, 11.5)
    assert (ballot.winner, ballot.settled) == (0, True)


def test_the_first_label_stays_until_one_settles():
    booth = Booth().cast(A).cast(B).cast(A).cast(C)
    assert {winner for _, winner, settled in booth.shown if not settled} == {0}


def test_a_settled_label_survives_contrary_votes_for_a_while():
    booth = Booth().cast(A, 8).cast(B, 6)
    assert booth.ballot.winner == 0
    assert booth.ballot.candidates[0] == 1


def test_a_settled_label_yields_once_to_lasting_evidence():
    booth = Booth().cast(A, 8).cast(B, 60)
    settled = [winner for _, winner, settled in booth.shown if settled]
    assert booth.ballot.winner == 1
    assert sum(a != b for a, b in pairwise(settled)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_labels_never_flicker(seed):
    random = np.random.default_rng(seed)
    booth = Booth()
    for _ in range(300):
        booth.cast(np.log(random.dirichlet(np.full(6, 0.3)) + 1e-6).astype(np.float32))
    turns = booth.shown[:1]
    for look in booth.shown:
        if look[1] != turns[-1][1]:
            turns.append(look)
    for first, second, third in zip(turns, turns[1:], turns[2:], strict=False):
        assert first[1] != third[1] or third[0] - second[0] >= 1
    settled_changes = [at for at, _, settled in turns[1:] if settled]
    assert len(settled_changes) - 1 <= booth.at / 20


def test_candidates_are_the_best_averages_in_order():
    booth = Booth().cast(vote(0.1, 0.2, 0.3, 0.25, 0.05, 0.06, 0.04))
    assert booth.ballot.candidates == (2, 3, 1, 0, 5)
    assert Booth().cast(A).ballot.candidates == (0, 1, 2)


def test_a_single_label_settles():
    assert Booth().cast(vote(1.0), 4).ballot.settled


def test_the_share_counts_votes():
    ballot = Booth().cast(A, 2).cast(B).cast(A).ballot
    assert ballot.share(0) == pytest.approx(0.75)
    assert ballot.share(1) == pytest.approx(0.25)


def test_scores_are_not_modified():
    scores = A.copy()
    Booth().cast(scores).cast(B)
    assert np.array_equal(scores, A)
