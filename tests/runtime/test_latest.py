import threading

import pytest

from installation.runtime.latest import Closed, Latest


def test_the_newest_value_wins_and_the_rest_are_counted():
    slot = Latest[int]()
    for value in range(5):
        slot.put(value)
    assert slot.get(after=0) == (5, 4)
    assert slot.dropped == 4
    slot.put(5)
    slot.get(after=5)
    assert slot.dropped == 4


def test_nothing_newer_in_time_is_none():
    slot = Latest[int]()
    assert slot.get(after=0, timeout=0.01) is None
    slot.put(1)
    assert slot.get(after=1, timeout=0) is None


def test_a_waiting_reader_is_woken_by_a_value_and_by_the_end():
    slot = Latest[str]()
    got = []

    def read():
        version = 0
        try:
            while True:
                version, value = slot.get(after=version)
                got.append(value)
        except Closed:
            got.append("closed")

    reader = threading.Thread(target=read)
    reader.start()
    slot.put("value")
    slot.close()
    reader.join(300)
    assert not reader.is_alive()
    assert got == ["value", "closed"]


def test_after_the_end_the_last_value_can_still_be_had():
    slot = Latest[int]()
    slot.put(7)
    slot.close()
    assert slot.get(after=0) == (1, 7)
    with pytest.raises(Closed):
        slot.get(after=1)
