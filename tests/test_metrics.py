import numpy as np
import pytest

from installation.metrics import EDGES, Histogram, Metrics


def test_quantiles_are_the_edge_above_the_true_ones():
    seconds = np.random.default_rng(0).gamma(2, 0.015, 5000)
    histogram = Histogram()
    for each in seconds:
        histogram.add(each)
    assert histogram.count == 5000
    assert histogram.total == pytest.approx(seconds.sum())
    for share in (0.01, 0.5, 0.9, 0.99):
        true = np.quantile(seconds, share, method="inverted_cdf")
        assert histogram.quantile(share) == min(edge for edge in EDGES if edge >= true)


def test_nothing_measured_is_nothing():
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
    assert "30.0 pictures a second" in metrics.as_text(now)
