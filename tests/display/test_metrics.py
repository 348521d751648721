import numpy as np
import pytest

from installation.display.metrics import BUCKET_EDGES_S, Histogram, Metrics
from installation.scene import Label, Scene, Track, Verdict


def test_quantiles_are_the_edge_above_the_true_ones():
    seconds = np.random.default_rng(0).gamma(2, 0.015, 5000)
    histogram = Histogram()
    for each in seconds:
        histogram.add(each)
    assert histogram.count == 5000
    assert histogram.total == pytest.approx(seconds.sum())
    for share in (0.01, 0.5, 0.9, 0.99):
        true = np.quantile(seconds, share, method="inverted_cdf")
        assert histogram.quantile(share) == min(edge for edge in BUCKET_EDGES_S if edge >= true)


def test_without_measurements_everything_is_zero():
    assert Histogram().quantile(0.5) == 0
    assert Metrics().rate(100.0) == 0


def test_the_rate_is_that_of_late():
    metrics = Metrics()
    for index in range(100):
        metrics.present(index / 10, index / 10 - 0.02, None, 0.001)
    for index in range(200):
        metrics.present(10 + index / 30, 10 + index / 30 - 0.02, 9.0, 0.001)
    now = 10 + 199 / 30
    assert metrics.rate(now) == pytest.approx(30, rel=0.01)
    assert metrics.rate(now + 60) == 0
    assert metrics.presented == metrics.frame_age.count == 300
    assert metrics.overlay_age.count == 200
    assert "30.0 fps" in metrics.as_text(now)


def test_a_histogram_returns_what_was_added_since_a_copy():
    metrics = Metrics()
    metrics.present(1.0, 0.9, 0.8, 0.01)
    before = metrics.copy()
    for _ in range(3):
        metrics.present(2.0, 1.0, None, 0.01)
    assert (before.presented, metrics.presented) == (1, 4)
    added = metrics.frame_age.since(before.frame_age)
    assert added.count == 3
    assert added.total == pytest.approx(3.0)
    assert added.quantile(0.5) == 1.0
    assert metrics.overlay_age.since(before.overlay_age).count == 0


def scene(*faces):
    """A scene of faces: id, wnid, and whether that has settled."""
    still = (0.0,) * 4
    tracks = (
        Track(id_, 0.0, still, still, wnid and Verdict(Label(wnid, "x", 1.0), settled))
        for id_, wnid, settled in faces
    )
    return Scene(0, 0.0, 640, 360, tuple(tracks), None)


def test_each_word_that_settles_counts_once():
    metrics = Metrics()
    for faces, named in (
        ([(1, None, False), (2, "n1", False)], 0),
        ([(1, "n1", True), (2, "n1", True)], 2),
        ([(1, "n1", True)], 2),
        ([(1, "n1", True), (2, "n1", True)], 2),
        ([(1, "n2", True)], 3),
        ([(3, "n2", True)], 4),
    ):
        metrics.count_settled_labels(scene(*faces))
        assert metrics.labels_given == named
    for id_ in range(10, 10_000):
        metrics.count_settled_labels(scene((id_, "n1", True)))
    assert metrics.labels_given == 4 + 9990
