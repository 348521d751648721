from types import SimpleNamespace

import pytest

from installation.runtime import heartbeat
from installation.runtime.heartbeat import Heartbeat, StageHungError


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(heartbeat, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_silence_beyond_patience_is_told_in_one_line(clock):
    heart = Heartbeat("vision", 10.0)
    clock.now += 10.0
    heart.check()
    clock.now += 0.1
    with pytest.raises(
        StageHungError, match=r"^vision has not answered for \d+ s; leaving"
    ) as caught:
        heart.check()
    assert "\n" not in str(caught.value)
    heart.beat()
    heart.check()


def test_patience_can_be_had_for_longer_work(clock):
    heart = Heartbeat("vision", 10.0)
    heart.patience = 3600.0
    clock.now += 60.0
    heart.check()


def test_a_beat_may_ask_for_more_time(clock):
    heart = Heartbeat("capture", 10.0)
    heart.beat(3600.0)
    clock.now += 3610.0
    heart.check()
    heart.beat()
    clock.now += 10.1
    with pytest.raises(StageHungError):
        heart.check()
