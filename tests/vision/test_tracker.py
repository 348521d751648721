import numpy as np
import pytest

from installation.scene import Faces
from installation.vision.tracker import Tracker

FPS = 15


def faces(*boxes, scores=None):
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    certainty = np.array(scores or [0.9] * len(boxes), np.float32)
    return Faces(xyxy, certainty, np.zeros((len(boxes), 5, 2), np.float32))


def walk(tracker, *frames, start=0):
    """Feed frames; return what was seen in each: id to box."""
    return [
        {track.id: track.box for track in tracker.update(found, (start + index) / FPS)}
        for index, found in enumerate(frames)
    ]


def test_a_face_is_believed_when_seen_twice():
    seen = walk(Tracker(), faces((0, 0, 100, 100)), faces((0, 0, 100, 100)))
    assert [list(each) for each in seen] == [[], [1]]


def test_a_walker_keeps_one_id_and_the_box_keeps_up():
    path = [(20 * i, 50, 20 * i + 100, 170) for i in range(30)]
    seen = walk(Tracker(), *[faces(box) for box in path])
    assert all(list(each) == [1] for each in seen[1:])
    assert np.abs(np.subtract(seen[-1][1], path[-1])).max() < 10


def test_prediction_is_ahead_of_the_last_box():
    tracker = Tracker()
    for index in range(30):
        tracks = tracker.update(faces((20 * index, 0, 20 * index + 100, 100)), index / FPS)
    ahead = tracks[0].box_at(tracks[0].at + 2 / FPS)
    assert ahead[0] == pytest.approx(20 * 31, abs=8)
    # Nobody walks on for ever because the detector has stopped looking.
    assert tracks[0].box_at(1e6) == tracks[0].box_at(tracks[0].at + 0.3)


def test_two_people_crossing_keep_their_own():
    frames = []
    for index in range(40):
        left, right = 20 * index, 800 - 20 * index
        frames.append(faces((left, 0, left + 100, 100), (right, 60, right + 100, 160)))
    seen = walk(Tracker(), *frames)
    start, end = seen[1], seen[-1]
    assert set(start) == set(end) == {1, 2}
    assert start[1][0] < start[2][0]
    assert end[1][0] > end[2][0]


def test_a_moment_unseen_changes_nothing_and_a_long_one_forgets():
    box = (0, 0, 100, 100)
    tracker = Tracker()
    walk(tracker, *[faces(box)] * 5)
    walk(tracker, *[faces()] * 4, start=5)
    assert list(walk(tracker, faces(box), start=9)[0]) == [1]
    assert walk(tracker, *[faces()] * 12, start=10)[-1] == {}
    assert list(walk(tracker, *[faces(box)] * 2, start=60)[-1]) == [2]


def test_an_unsure_detection_continues_a_track_but_begins_none():
    tracker = Tracker()
    box = (0, 0, 100, 100)
    assert not any(walk(tracker, *[faces(box, scores=[0.4])] * 5))
    walk(tracker, *[faces(box)] * 2, start=5)
    seen = walk(tracker, *[faces(box, scores=[0.4])] * 20, start=7)
    assert all(list(each) == [1] for each in seen)


def test_a_slow_detector_still_follows():
    tracker = Tracker()
    seen = [tracker.update(faces((0, 0, 100, 100)), 2.5 * index) for index in range(4)]
    assert [[track.id for track in each] for each in seen] == [[], [1], [1], [1]]
    # But after a long pause it may be anybody.
    assert tracker.update(faces((0, 0, 100, 100)), 60.0) == ()


def test_jitter_is_smoothed():
    noise = np.random.default_rng(0).normal(0, 4, (60, 4))
    boxes = np.array([100, 100, 220, 240]) + noise
    seen = walk(Tracker(), *[faces(box) for box in boxes])
    smoothed = np.array([each[1] for each in seen[10:]])
    assert smoothed.std(0).mean() < noise.std() * 0.85


def test_thirty_faces_at_once():
    boxes = [(40 * i, 0, 40 * i + 30, 30) for i in range(30)]
    seen = walk(Tracker(), faces(*boxes), faces(*reversed(boxes)))
    assert len(seen[-1]) == 30
