import pytest

from tests.benchmarks.fuzz import attack

pytestmark = pytest.mark.endurance


def test_malformed_requests_do_no_harm(site):
    """A small part of `tests.benchmarks.fuzz`."""
    report = attack(site, 400)
    assert report.faults == [], report.as_text()
    assert report.statuses[400] and report.statuses[413] and report.statuses[422]
