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


def test_a_track_is_confirmed_by_two_detections():
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


def test_a_short_gap_keeps_the_track_and_a_long_one_ends_it():
    box = (0, 0, 100, 100)
    tracker = Tracker()
    walk(tracker, *[faces(box)] * 5)
    walk(tracker, *[faces()] * 4, start=5)
    assert list(walk(tracker, faces(box), start=9)[0]) == [1]
    assert walk(tracker, *[faces()] * 12, start=10)[-1] == {}
    assert list(walk(tracker, *[faces(box)] * 2, start=60)[-1]) == [2]


def test_a_low_score_continues_a_track_but_starts_none():
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


def people(*centres, size=100, rng=None, noise=0.0):
    """Faces around centres, as a detector finds them."""
    boxes = []
    for x, y in centres:
        off = rng.normal(0, noise * size, 4) if rng else np.zeros(4)
        boxes.append(np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2]) + off)
    return faces(*boxes)


def test_people_who_pass_closely_keep_their_ids():
    frames = []
    for index in range(40):
        left, right = (100 + 14 * index, 100), (660 - 14 * index, 120)
        pair = (left, right) if index % 2 else (right, left)
        frames.append(people(*pair))
    start, *_, end = walk(Tracker(), *frames)[1:]
    assert set(start) == set(end) == {1, 2}
    assert (start[1][0] < start[2][0]) == (end[1][0] > end[2][0])


def test_a_person_hidden_while_crossing_keeps_the_id():
    tracker = Tracker()
    for index in range(60):
        left, right = 100 + 15 * index, 1000 - 15 * index
        # The farther, smaller one is not seen while behind the other.
        hidden = abs(left - right) < 70
        far = [] if hidden else [(right - 42, 90, right + 42, 174)]
        seen = walk(tracker, faces((left - 50, 80, left + 50, 180), *far), start=index)[0]
    assert set(seen) == {1, 2}
    assert seen[1][0] > 900
    assert seen[2][0] < 150


def test_a_walker_hidden_for_a_second_keeps_the_id():
    tracker = Tracker()
    path = [people((100 + 12 * index, 100)) for index in range(60)]
    walk(tracker, *path[:20])
    assert walk(tracker, *[faces()] * 15, start=20)[-1] == {}
    assert all(list(each) == [1] for each in walk(tracker, *path[35:], start=35))


def test_a_distant_face_starts_another_track():
    for other in (people((700, 100)), people((100, 100), size=60), people((300, 100))):
        tracker = Tracker()
        walk(tracker, *[people((100, 100))] * 20)
        walk(tracker, *[faces()] * 3, start=20)
        assert list(walk(tracker, *[other] * 3, start=23)[-1]) == [2]


def test_a_shaking_camera_changes_no_id():
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(60):
        x, y = rng.uniform(-10, 10, 2)
        frames.append(people(*[(150 * face + 100 + x, 100 + y) for face in range(6)]))
    assert all(list(each) == [1, 2, 3, 4, 5, 6] for each in walk(Tracker(), *frames)[1:])


def test_dropped_frames_change_no_id():
    rng = np.random.default_rng(2)
    tracker = Tracker()
    kept = [index for index in range(300) if rng.uniform() > 0.5 and index % 60 > 20]
    for index in kept:
        time = index / 30
        found = people((200 + 150 * time, 100), (1100 - 100 * time, 300))
        seen = tracker.update(found, time)
    assert [track.id for track in seen] == [1, 2]
    assert seen[0].box[0] == pytest.approx(150 + 150 * kept[-1] / 30, abs=5)


def test_thirty_faces_keep_their_ids_in_a_crowd():
    rng = np.random.default_rng(3)
    tracker = Tracker()
    rows, columns = np.divmod(np.arange(30), 10)
    for index in range(150):
        time = index / FPS
        x = 120 * columns + 100 + 45 * np.sin(0.9 * time + columns * 2.1)
        y = 150 * rows + 100 + 15 * np.sin(1.3 * time + columns)
        found = people(*zip(x, y, strict=True), size=70, rng=rng, noise=0.02)
        found = found[rng.permutation(30)]
        seen = walk(tracker, found[found.xyxy[:, 0] > rng.uniform(-2000, 80)], start=index)[0]
    assert set(seen) == set(range(1, 31))


def test_false_detections_are_never_reported():
    tracker = Tracker()
    flashes = [faces((40 * i, 0, 40 * i + 100, 100), scores=[0.7]) for i in range(0, 60, 6)]
    frames = [frame for flash in flashes for frame in (flash, faces(), faces(), faces())]
    assert not any(walk(tracker, *frames))
    # Nor is one that lingers, when the detector is far from certain.
    doubtful = faces((500, 500, 600, 600), scores=[0.6])
    assert not any(walk(tracker, doubtful, doubtful, *[faces()] * 9, start=60))


def test_the_tracker_is_deterministic():
    def run():
        rng = np.random.default_rng(4)
        frames = [
            people(*rng.uniform(0, 600, (6, 2)), size=90)[rng.uniform(size=6) > 0.3]
            for _ in range(60)
        ]
        return walk(Tracker(), *frames)

    assert run() == run()


def test_a_clock_that_jumps_starts_over():
    tracker = Tracker()
    found = people((100, 100), (400, 100))
    for at in (0.0, 0.1, 0.1, 0.2, 1e7, 1e7 + 0.1, 1e7 + 0.1):
        for track in tracker.update(found, at):
            assert np.isfinite(track.box_at(at + 0.1)).all()
    # Nobody haunts the wall until a clock set back has caught up.
    assert tracker.update(faces(), 3.0) == ()
    assert tracker.update(found, 3.1) == ()
    assert len(tracker.update(found, 3.2)) == 2


def shown(tracker, path, rate, noise, seconds=6.0, seed=5):
    """What the wall shows at 60 fps, each detection coming when the next begins: time, box."""
    rng = np.random.default_rng(seed)
    waiting, known = (), ()
    boxes = []
    for index in range(round(seconds * 60)):
        time = index / 60
        if index % round(60 / rate) == 0:
            known, waiting = waiting, tracker.update(people(path(time), rng=rng, noise=noise), time)
        boxes += [(time, np.array(track.box_at(time))) for track in known]
    return boxes


def test_a_still_face_moves_less_than_its_detections():
    boxes = shown(Tracker(), lambda _: (300, 300), rate=12, noise=0.02)
    moves = np.diff([box for _, box in boxes[60:]], axis=0)
    # From one detection to the next its sides move by 2.8 pixels.
    assert np.sqrt((moves**2).mean()) < 0.55
    assert np.std([box for _, box in boxes[60:]], axis=0).mean() < 2.0


def test_boxes_move_gradually_where_detections_jump():
    boxes = shown(Tracker(), lambda t: (100 + 150 * t, 300 + 30 * np.sin(4 * t)), 12, noise=0.02)
    turns = np.diff([box for _, box in boxes[60:]], n=2, axis=0)
    assert np.sqrt((turns**2).mean()) < 1.6


def test_a_walker_is_not_left_behind():
    for rate in (10, 15, 30, 60):
        boxes = shown(Tracker(), lambda t: (100 + 200 * t, 300), rate, noise=0.01)
        off = [(box[0] + box[2]) / 2 - (100 + 200 * time) for time, box in boxes[60:]]
        assert abs(np.mean(off)) < 1.5
        assert np.abs(off).max() < 6


def test_the_box_of_somebody_who_stops_overshoots_only_briefly():
    def path(time):
        return 100 + 200 * min(time, 3.0), 300

    off = {
        time: (box[0] + box[2]) / 2 - path(time)[0] for time, box in shown(Tracker(), path, 12, 0)
    }
    assert max(abs(each) for each in off.values()) < 35
    assert all(abs(each) < 3 for time, each in off.items() if time > 3.5)


def test_the_box_of_somebody_who_approaches_grows():
    sizes = [60 * 1.02**index for index in range(45)]
    seen = walk(Tracker(), *[people((300, 300), size=size) for size in sizes])
    assert all(list(each) == [1] for each in seen[1:])
    assert seen[-1][1][2] - seen[-1][1][0] == pytest.approx(sizes[-1], rel=0.02)
