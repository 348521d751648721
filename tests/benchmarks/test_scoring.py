import numpy as np
import pytest

from tests.benchmarks.crowds import SIZE, MadeUpDetector, Truth, crossings, wanderers
from tests.benchmarks.scoring import Judge

PLACES = np.array([[100.0, 100, 200, 200], [400, 100, 500, 200]])


def judged(*pictures, truths=None):
    """Judge pictures of ids and boxes, ten a second, of two people who stand still."""
    judge = Judge()
    for index, (ids, boxes) in enumerate(pictures):
        visible = truths[index] if truths else (1.0, 1.0)
        truth = Truth(np.array([0, 1]), PLACES, np.array(visible))
        judge.look(truth, np.array(ids, np.intp), np.reshape(boxes, (-1, 4)), index / 10)
    return judge.score


def test_what_is_right_costs_nothing():
    figures = judged(*[((1, 2), PLACES)] * 5).figures()
    assert not any(figures.values())


def test_ids_changed_and_exchanged_are_counted():
    score = judged(((1, 2), PLACES), ((2, 1), PLACES), ((2, 3), PLACES))
    assert (score.switches, score.stolen) == (3, 2)


def test_an_id_lost_out_of_sight_counts_when_it_comes_back():
    pictures = [((1, 2), PLACES), ((1,), PLACES[:1]), ((1, 3), PLACES)]
    hidden = judged(*pictures, truths=[(1, 1), (1, 0.2), (1, 1)])
    assert (hidden.switches, hidden.missed, hidden.fragments) == (1, 0, 0)
    seen = judged(*pictures)
    assert (seen.switches, seen.missed, seen.fragments) == (1, 1, 1)


def test_boxes_where_nobody_is_are_false_and_on_the_hidden_are_not():
    nobody = np.array([[800.0, 100, 900, 200]])
    assert judged(((1, 2, 3), np.concatenate([PLACES, nobody]))).false == 1
    assert judged(((1, 2), PLACES), truths=[(1, 0.0)]).false == 0


def test_jitter_is_in_the_boxes_and_not_in_the_walk():
    steady = judged(*[((1, 2), PLACES + 3)] * 5)
    assert steady.figures()["jitter"] == 0
    assert steady.figures()["error"] > 0
    shaken = judged(*[((1, 2), PLACES + (-1) ** index) for index in range(5)])
    # From -1 to 1 to -1: by 4 pixels of 100.
    assert shaken.figures()["jitter"] == pytest.approx(4.0)


def test_without_truth_jitter_is_what_the_boxes_do():
    judge = Judge()
    for index in range(6):
        # Walks, comes nearer evenly, and trembles by 1.
        grown = np.array([-index, -index, index, index])
        judge.watch(np.array([1, 2]), PLACES + 30 * index + grown + (-1) ** index)
    assert judge.score.figures()["jitter"] == pytest.approx(4.0, rel=0.15)


def test_who_is_new_is_waited_for():
    nothing = ((), np.zeros((0, 4)))
    assert judged(nothing, nothing, ((1, 2), PLACES)).figures()["new_ms"] == pytest.approx(200)


def test_crowds_are_the_same_for_the_same_seed_and_somebody_is_hidden():
    for make in (lambda: wanderers(30, 10.0, 1), lambda: crossings(10.0, 1)):
        rooms = make(), make()
        truths = [[room.truth(at / 4) for at in range(40)] for room in rooms]
        found = [
            [detector.find(truth, at / 4).xyxy for at, truth in enumerate(each)]
            for each, detector in zip(truths, (MadeUpDetector(5), MadeUpDetector(5)), strict=True)
        ]
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)
            assert (one >= 0).all()
            assert (one <= np.tile(SIZE, 2)).all()
        visible = np.concatenate([truth.visible for truth in truths[0]])
        assert (visible < 0.1).any()
        assert (visible > 0.95).mean() > 0.2
