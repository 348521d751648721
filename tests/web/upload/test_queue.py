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


def test_clients_take_turns():
    queue = FairQueue[str](20, 0)
    for key, count in (("greedy", 6), ("modest", 2), ("late", 1)):
        for number in range(count):
            queue.acquire(key)
            queue.put(key, f"{key} {number}")
    served = [queue.take(0) for _ in range(9)]
    assert served[:3] == ["greedy 0", "modest 0", "late 0"]
    assert served[3:5] == ["greedy 1", "modest 1"]
    assert served[5:] == [f"greedy {number}" for number in range(2, 6)]
    assert queue.take(0) is None


def test_one_client_gets_half_of_the_limit_and_all_together_all_of_it():
    queue = FairQueue[str](8, 0)
    for _ in range(4):
        queue.acquire("greedy")
    with pytest.raises(RequestError) as refused:
        queue.acquire("greedy")
    assert refused.value.status == 429 and refused.value.retry_after > 0
    for number in range(4):
        queue.acquire(f"client {number}")
    with pytest.raises(RequestError) as refused:
        queue.acquire("another")
    assert refused.value.status == 503 and refused.value.retry_after > 0
    queue.release("greedy")
    queue.acquire("another")
    assert queue.in_flight == 8


def test_the_rate_limit_says_how_long_to_wait(clock):
    queue = FairQueue[str](8, 3)
    for _ in range(3):
        queue.acquire("greedy")
        queue.release("greedy")
    with pytest.raises(RequestError) as refused:
        queue.acquire("greedy")
    assert refused.value.status == 429
    assert refused.value.retry_after == 20
    queue.acquire("another")
    clock.now += 20
    queue.acquire("greedy")


def test_idle_clients_are_evicted(clock):
    queue = FairQueue[str](8, 6000)
    for number in range(50):
        queue.acquire(f"client {number}")
        queue.release(f"client {number}")
    queue.acquire("still here")
    queue.evict_idle()
    assert len(queue) == 51
    # Each bucket gets a hundred tokens a second.
    clock.now += 0.02
    queue.evict_idle()
    assert len(queue) == 1
    queue.release("still here")


def test_without_a_rate_limit_no_idle_client_is_remembered():
    queue = FairQueue[str](8, 0)
    queue.acquire("client")
    queue.evict_idle()
    assert len(queue) == 1
    queue.release("client")
    queue.evict_idle()
    assert len(queue) == 0


def test_a_withdrawn_job_leaves_the_queue():
    queue = FairQueue[str](8, 0)
    for key in ("leaving", "staying"):
        queue.acquire(key)
        queue.put(key, key)
    queue.withdraw("leaving", "leaving")
    queue.release("leaving")
    assert queue.take(0) == "staying" and queue.take(0) is None
    # A job that was taken cannot be withdrawn.
    queue.withdraw("staying", "staying")
    assert queue.in_flight == 1


def test_withdrawing_one_of_several_jobs_keeps_the_turn():
    queue = FairQueue[str](8, 0)
    for job in ("a", "b"):
        queue.acquire("client")
        queue.put("client", job)
    queue.withdraw("client", "a")
    assert queue.take(0) == "b" and queue.take(0) is None


def test_a_job_that_would_wait_too_long_is_not_accepted(clock):
    queue = FairQueue[str](20, 0, max_wait_s=0.5)
    for number in range(8):
        queue.acquire(f"client {number}")
        queue.put(f"client {number}", "job")
    # A job takes a tenth of a second, and five others are waiting.
    for _ in range(3):
        queue.take(0)
        clock.now += 0.1
    with pytest.raises(RequestError) as refused:
        queue.acquire("another")
    assert refused.value.status == 503 and refused.value.retry_after > 0
    assert "Many people" in queue.unavailable_reason and queue.in_flight == 8
    while queue.take(0):
        pass
    assert queue.unavailable_reason is None
    queue.acquire("another")


def test_one_slow_job_does_not_keep_everybody_out(clock):
    queue = FairQueue[str](8, 0, max_wait_s=0.2)
    for client in ("one", "other"):
        queue.acquire(client)
        queue.put(client, "job")
    queue.take(0)
    clock.now += 0.4
    queue.take(0)
    for client in ("third", "fourth"):
        queue.acquire(client)
        queue.put(client, "job")


def test_after_stop_accepting_only_those_that_have_begun_are_served():
    queue = FairQueue[str](8, 0)
    queue.check("client")
    assert queue.unavailable_reason is None
    queue.stop_accepting()
    assert "closing" in queue.unavailable_reason
    with pytest.raises(RequestError) as refused:
        queue.check("another")
    assert refused.value.status == 503 and refused.value.retry_after > 0
    queue.acquire("client")
    queue.put("client", "job")
    assert queue.take(0) == "job"


def test_the_last_places_are_for_those_who_have_none():
    queue = FairQueue[str](8, 0)
    for client in ("one", "one", "one", "two", "two", "two"):
        queue.acquire(client)
    for client in ("one", "two"):
        with pytest.raises(RequestError) as refused:
            queue.acquire(client)
        assert refused.value.status == 503
    queue.acquire("three")
    queue.acquire("four")


def test_a_site_with_many_ipv6_networks_counts_as_one_for_the_last_places():
    queue = FairQueue[str](8, 0)
    for number in range(6):
        queue.acquire(f"2001:db8:1:{number}::/64")
    with pytest.raises(RequestError) as refused:
        queue.acquire("2001:db8:1:77::/64")
    assert refused.value.status == 503
    queue.acquire("2001:db8:2::/64")


def test_the_networks_of_a_site_share_four_times_the_rate_of_one(clock):
    queue = FairQueue[str](8, 2)

    def send(number):
        key = f"2001:db8:1:{number}::/64"
        queue.acquire(key)
        queue.release(key)

    for number in range(8):
        send(number)
    with pytest.raises(RequestError) as refused:
        send(77)
    assert (refused.value.status, refused.value.retry_after) == (429, 8)
    clock.now += 8
    send(77)


def test_a_check_refuses_what_acquire_would_and_takes_no_place():
    queue = FairQueue[str](4, 1)
    for _ in range(3):
        queue.check("client")
    queue.acquire("client")
    for ask in (queue.check, queue.acquire):
        with pytest.raises(RequestError) as refused:
            ask("client")
        assert refused.value.status == 429
    assert queue.in_flight == 1


def test_when_no_thread_is_free_for_longer_than_the_longest_wait_nothing_is_accepted(clock):
    queue = FairQueue[str](8, 0, max_wait_s=20)
    queue.acquire("one")
    queue.put("one", "job")
    queue.take(0)
    clock.now += 19
    assert queue.unavailable_reason is None
    clock.now += 2
    assert "Many people" in queue.unavailable_reason
    with pytest.raises(RequestError) as refused:
        queue.check("another")
    assert refused.value.status == 503
    queue.take(0)
    assert queue.unavailable_reason is None


def test_a_thread_that_waits_for_a_job_is_free(clock):
    queue = FairQueue[str](8, 0, max_wait_s=20)
    taken = []
    thread = threading.Thread(target=lambda: taken.append(queue.take(300)))
    thread.start()
    clock.now += 60
    while queue.unavailable_reason is not None:
        threading.Event().wait(0.01)
    queue.acquire("client")
    queue.put("client", "job")
    thread.join(300)
    assert taken == ["job"]


def test_close_wakes_waiting_threads_and_returns_pending_jobs():
    queue = FairQueue[str](8, 0)
    queue.acquire("client")
    queue.put("client", "job")
    assert queue.close() == ["job"]
    queue.withdraw("client", "job")
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
        queue.acquire("client")
    assert refused.value.status == 503
