import shutil

import numpy as np
import pytest

from installation.capture.demo import PERIOD_S, Crowd
from installation.capture.source import CaptureError


def test_the_same_time_paints_the_same_frame(crowd, built):
    again = Crowd(built, 1280, 720)
    assert np.array_equal(crowd.paint(5.0), again.paint(5.0))
    assert not np.array_equal(crowd.paint(5.0), crowd.paint(5.1))


def test_visitors_enter_and_leave(crowd):
    counts = [len(crowd.truth(second)) for second in range(int(PERIOD_S))]
    assert counts[0] == counts[-1] == 0
    assert max(counts) >= 3


def test_truth_moves_smoothly_and_stays_in_order(crowd):
    for earlier, later in zip(
        np.arange(0, PERIOD_S, 0.1), np.arange(0.1, PERIOD_S, 0.1), strict=False
    ):
        before = {truth.visitor: truth.box for truth in crowd.truth(earlier)}
        after = {truth.visitor: truth.box for truth in crowd.truth(later)}
        for visitor in before.keys() & after.keys():
            assert np.abs(np.subtract(before[visitor], after[visitor])).max() < 60


def test_a_visitor_behind_another_is_not_visible(crowd):
    hidden = [truth for time in np.arange(5, 25, 0.25) for truth in crowd.truth(time)]
    assert any(truth.visible < 0.1 for truth in hidden)
    assert all(0 <= truth.visible <= 1 for truth in hidden)


def test_the_truth_is_where_the_face_is(crowd, hopper):
    """The portrait's own pixels, at the size they are shown, lie inside the box."""
    time = 5.0
    picture = crowd.paint(time).astype(np.float32)
    (truth,) = (truth for truth in crowd.truth(time) if truth.visitor == 3)
    x0, y0, x1, y1 = (round(side) for side in truth.box)
    face = hopper[128:333, 172:362].astype(np.float32)
    assert abs((x1 - x0) / (y1 - y0) - 190 / 205) < 0.02
    assert np.abs(picture[y0:y1, x0:x1].mean((0, 1)) - face.mean((0, 1))).max() < 6


@pytest.mark.parametrize("text", ["a: [", "{}", "- 1", "hopper: [1]\ncollins: x", "\0"])
def test_damaged_portraits_say_what_to_do(built, tmp_path, text):
    shutil.copytree(built / "demo-visitors", tmp_path / "demo-visitors")
    (tmp_path / "demo-visitors" / "visitors.yaml").write_text(text)
    with pytest.raises(CaptureError, match="engines build"):
        Crowd(tmp_path, 640, 360)
    shutil.copytree(built / "demo-visitors", tmp_path / "demo-visitors", dirs_exist_ok=True)
    (tmp_path / "demo-visitors" / "hopper.png").write_text("hello")
    with pytest.raises(CaptureError, match="engines build"):
        Crowd(tmp_path, 640, 360)


def test_without_portraits_it_says_what_to_do(tmp_path):
    with pytest.raises(CaptureError, match="engines build"):
        Crowd(tmp_path, 640, 360)
