import numpy as np
import pytest

from installation.vision.verdict import Ballot


def vote(*probabilities):
    return np.log(np.array(probabilities, np.float32))


A, B = vote(0.6, 0.3, 0.1), vote(0.3, 0.6, 0.1)


def test_agreement_settles_soon():
    ballot = Ballot()
    assert (ballot.winner, ballot.settled) == (-1, False)
    settled = []
    for _ in range(4):
        ballot.cast(A)
        settled.append(ballot.settled)
    assert settled == [False, False, False, True]
    assert ballot.winner == 0
    assert np.exp(ballot.score) == pytest.approx(0.6, abs=1e-5)


def test_a_contest_settles_in_the_end():
    ballot = Ballot()
    scores = [A, B, B, A, B, A, A, B, B, A, A, B]
    for index, each in enumerate(scores):
        ballot.cast(each)
        assert ballot.settled or index < 9
    assert ballot.settled


def test_a_settled_word_holds_against_a_few_other_votes():
    ballot = Ballot()
    for _ in range(8):
        ballot.cast(A)
    for _ in range(10):
        ballot.cast(B)
        assert ballot.winner == 0


def test_a_settled_word_yields_to_lasting_evidence():
    ballot = Ballot()
    for _ in range(8):
        ballot.cast(A)
    for _ in range(60):
        ballot.cast(B)
    assert ballot.winner == 1


def test_alternating_votes_never_flicker_once_settled():
    ballot = Ballot()
    winners = set()
    for index in range(200):
        ballot.cast((A, B)[index % 2])
        if ballot.settled:
            winners.add(ballot.winner)
    assert len(winners) == 1


def test_votes_are_not_altered():
    scores = A.copy()
    ballot = Ballot()
    ballot.cast(scores)
    ballot.cast(B)
    assert np.array_equal(scores, A)
