import time

import pytest

from installation.supervision.heartbeat import Heartbeat, HungError


def test_silence_beyond_patience_is_told_in_one_line():
    heart = Heartbeat("vision", 0.05)
    heart.check()
    time.sleep(0.1)
    with pytest.raises(HungError, match=r"^vision has not answered for \d+ s; leaving") as caught:
        heart.check()
    assert "\n" not in str(caught.value)
    heart.beat()
    heart.check()


def test_patience_can_be_had_for_longer_work():
    heart = Heartbeat("vision", 0.0)
    heart.patience = 3600.0
    heart.check()


def test_a_beat_may_ask_for_more_time():
    heart = Heartbeat("capture", 0.05)
    heart.beat(3600.0)
    time.sleep(0.1)
    heart.check()
    heart.beat()
    time.sleep(0.1)
    with pytest.raises(HungError):
        heart.check()
