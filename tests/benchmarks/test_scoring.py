import numpy as np
import pytest

from tests.benchmarks.crowds import SIZE, SimulatedDetector, Truth, crossings, wanderers
from tests.benchmarks.scoring import Scorer

PLACES = np.array([[100.0, 100, 200, 200], [400, 100, 500, 200]])


def score_of(*frames, truths=None):
    """Score frames of ids and boxes, at 10 fps, of two people who stand still."""
    scorer = Scorer()
    for index, (ids, boxes) in enumerate(frames):
        visible = truths[index] if truths else (1.0, 1.0)
        truth = Truth(np.array([0, 1]), PLACES, np.array(visible))
        scorer.add_frame(truth, np.array(ids, np.intp), np.reshape(boxes, (-1, 4)), index / 10)
    return scorer.score


def test_correct_boxes_have_no_errors():
    figures = score_of(*[((1, 2), PLACES)] * 5).figures()
    assert not any(figures.values())


def test_id_switches_are_counted():
    score = score_of(((1, 2), PLACES), ((2, 1), PLACES), ((2, 3), PLACES))
    assert (score.switches, score.stolen) == (3, 2)


def test_an_id_lost_while_hidden_counts_when_the_face_returns():
    frames = [((1, 2), PLACES), ((1,), PLACES[:1]), ((1, 3), PLACES)]
    hidden = score_of(*frames, truths=[(1, 1), (1, 0.2), (1, 1)])
    assert (hidden.switches, hidden.missed, hidden.fragments) == (1, 0, 0)
    seen = score_of(*frames)
    assert (seen.switches, seen.missed, seen.fragments) == (1, 1, 1)


def test_boxes_without_a_face_are_false_but_not_boxes_on_hidden_faces():
    nobody = np.array([[800.0, 100, 900, 200]])
    assert score_of(((1, 2, 3), np.concatenate([PLACES, nobody]))).false == 1
    assert score_of(((1, 2), PLACES), truths=[(1, 0.0)]).false == 0


def test_jitter_excludes_the_motion_of_faces():
    steady = score_of(*[((1, 2), PLACES + 3)] * 5)
    assert steady.figures()["jitter"] == 0
    assert steady.figures()["error"] > 0
    shaken = score_of(*[((1, 2), PLACES + (-1) ** index) for index in range(5)])
    # From -1 to 1 to -1: by 4 pixels of 100.
    assert shaken.figures()["jitter"] == pytest.approx(4.0)


def test_without_ground_truth_jitter_is_that_of_the_boxes():
    scorer = Scorer()
    for index in range(6):
        # They move and grow steadily, and shake by 1.
        grown = np.array([-index, -index, index, index])
        scorer.add_unlabelled_frame(np.array([1, 2]), PLACES + 30 * index + grown + (-1) ** index)
    assert scorer.score.figures()["jitter"] == pytest.approx(4.0, rel=0.15)


def test_the_wait_of_new_people_is_measured():
    nothing = ((), np.zeros((0, 4)))
    assert score_of(nothing, nothing, ((1, 2), PLACES)).figures()["new_ms"] == pytest.approx(200)


def test_crowds_are_reproducible_and_contain_hidden_faces():
    for make in (lambda: wanderers(30, 10.0, 1), lambda: crossings(10.0, 1)):
        rooms = make(), make()
        truths = [[room.truth(at / 4) for at in range(40)] for room in rooms]
        found = [
            [detector.find(truth, at / 4).xyxy for at, truth in enumerate(each)]
            for each, detector in zip(
                truths, (SimulatedDetector(5), SimulatedDetector(5)), strict=True
            )
        ]
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)
            assert (one >= 0).all()
            assert (one <= np.tile(SIZE, 2)).all()
        visible = np.concatenate([truth.visible for truth in truths[0]])
        assert (visible < 0.1).any()
        assert (visible > 0.95).mean() > 0.2
