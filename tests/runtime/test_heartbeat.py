from types import SimpleNamespace

import pytest

from installation.runtime import heartbeat
from installation.runtime.heartbeat import Heartbeat, WorkerHungError


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(heartbeat, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_worker_that_hangs_is_one_line(clock):
    heartbeat_ = Heartbeat("vision", 10.0)
    clock.now += 10.0
    heartbeat_.check()
    clock.now += 0.1
    with pytest.raises(
        WorkerHungError, match=r"^vision has not responded for \d+ s; exiting"
    ) as caught:
        heartbeat_.check()
    assert "\n" not in str(caught.value)
    heartbeat_.beat()
    heartbeat_.check()


def test_the_timeout_can_be_changed_for_longer_work(clock):
    heartbeat_ = Heartbeat("vision", 10.0)
    heartbeat_.timeout_s = 3600.0
    clock.now += 60.0
    heartbeat_.check()


def test_a_beat_can_grant_more_time(clock):
    heartbeat_ = Heartbeat("capture", 10.0)
    heartbeat_.beat(3600.0)
    clock.now += 3610.0
    heartbeat_.check()
    heartbeat_.beat()
    clock.now += 10.1
    with pytest.raises(WorkerHungError):
        heartbeat_.check()
