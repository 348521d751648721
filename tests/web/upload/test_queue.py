import threading
from types import SimpleNamespace

import pytest

from installation.runtime.latest import Closed
from installation.web.upload import queue as module
from installation.web.upload.errors import RequestError
from installation.web.upload.queue import FairQueue


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_addresses_take_turns():
    queue = FairQueue[str](20, 0)
    for who, count in (("greedy", 6), ("modest", 2), ("late", 1)):
        for number in range(count):
            queue.enter(who)
            queue.put(who, f"{who} {number}")
    served = [queue.take(0) for _ in range(9)]
    assert served[:3] == ["greedy 0", "modest 0", "late 0"]
    assert served[3:5] == ["greedy 1", "modest 1"]
    assert served[5:] == [f"greedy {number}" for number in range(2, 6)]
    assert queue.take(0) is None


def test_one_address_gets_half_of_the_places_and_all_together_all():
    queue = FairQueue[str](8, 0)
    for _ in range(4):
        queue.enter("greedy")
    with pytest.raises(RequestError) as refused:
        queue.enter("greedy")
    assert refused.value.status == 429 and refused.value.retry_after > 0
    for number in range(4):
        queue.enter(f"guest {number}")
    with pytest.raises(RequestError) as refused:
        queue.enter("another")
    assert refused.value.status == 503 and refused.value.retry_after > 0
    queue.leave("greedy")
    queue.enter("another")
    assert queue.held == 8


def test_a_rate_is_kept_and_the_wait_told(clock):
    queue = FairQueue[str](8, 3)
    for _ in range(3):
        queue.enter("greedy")
        queue.leave("greedy")
    with pytest.raises(RequestError) as refused:
        queue.enter("greedy")
    assert refused.value.status == 429
    assert refused.value.retry_after == 20
    queue.enter("another")
    clock.now += 20
    queue.enter("greedy")


def test_who_has_gone_is_forgotten(clock):
    queue = FairQueue[str](8, 6000)
    for number in range(50):
        queue.enter(f"guest {number}")
        queue.leave(f"guest {number}")
    queue.enter("still here")
    queue.forget()
    assert len(queue) == 51
    # Each earns a hundred a second.
    clock.now += 0.02
    queue.forget()
    assert len(queue) == 1
    queue.leave("still here")


def test_no_rate_remembers_nobody_at_all():
    queue = FairQueue[str](8, 0)
    queue.enter("guest")
    queue.forget()
    assert len(queue) == 1
    queue.leave("guest")
    queue.forget()
    assert len(queue) == 0


def test_who_leaves_makes_room_in_the_queue_too():
    queue = FairQueue[str](8, 0)
    for who in ("leaving", "staying"):
        queue.enter(who)
        queue.put(who, who)
    queue.withdraw("leaving", "leaving")
    queue.leave("leaving")
    assert queue.take(0) == "staying" and queue.take(0) is None
    # What somebody has taken already is nobody's to take back.
    queue.withdraw("staying", "staying")
    assert queue.held == 1


def test_of_several_jobs_one_is_withdrawn_and_the_turn_kept():
    queue = FairQueue[str](8, 0)
    for job in ("a", "b"):
        queue.enter("guest")
        queue.put("guest", job)
    queue.withdraw("guest", "a")
    assert queue.take(0) == "b" and queue.take(0) is None


def test_who_would_wait_too_long_is_not_let_in(clock):
    queue = FairQueue[str](20, 0, patience=0.5)
    for number in range(8):
        queue.enter(f"guest {number}")
        queue.put(f"guest {number}", "job")
    # A job takes a tenth of a second, and five are waiting.
    for _ in range(3):
        queue.take(0)
        clock.now += 0.1
    with pytest.raises(RequestError) as refused:
        queue.enter("another")
    assert refused.value.status == 503 and refused.value.retry_after > 0
    assert "Too many" in queue.refusal and queue.held == 8
    while queue.take(0):
        pass
    assert queue.refusal is None
    queue.enter("another")


def test_one_long_look_keeps_nobody_out_for_good(clock):
    queue = FairQueue[str](8, 0, patience=0.2)
    for guest in ("one", "other"):
        queue.enter(guest)
        queue.put(guest, "job")
    queue.take(0)
    clock.now += 0.4
    queue.take(0)
    for guest in ("third", "fourth"):
        queue.enter(guest)
        queue.put(guest, "job")


def test_shut_it_serves_who_is_here_and_nobody_else():
    queue = FairQueue[str](8, 0)
    queue.enter("guest")
    queue.put("guest", "job")
    assert queue.refusal is None
    queue.shut()
    assert "closing" in queue.refusal
    with pytest.raises(RequestError) as refused:
        queue.enter("another")
    assert refused.value.status == 503 and refused.value.retry_after > 0
    assert queue.take(0) == "job"


def test_closing_wakes_those_who_wait_and_returns_what_nobody_took():
    queue = FairQueue[str](8, 0)
    queue.enter("guest")
    queue.put("guest", "job")
    assert queue.close() == ["job"]
    queue.withdraw("guest", "job")
    ended = []

    def work():
        try:
            queue.take(60)
        except Closed:
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(300)
    assert ended
    with pytest.raises(RequestError) as refused:
        queue.enter("guest")
    assert refused.value.status == 503
