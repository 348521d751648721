import asyncio
from contextlib import ExitStack, suppress

import pytest

from installation.web.upload.body_memory import BodyMemory
from installation.web.upload.errors import RequestError


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


def on_a_loop(test):
    """Run a test on an event loop, as the server does."""

    async def run(*arguments):
        test(*arguments)

    def wrapper(stack):
        asyncio.run(run(stack))

    wrapper.__name__ = test.__name__
    return wrapper


def held(stack, memory, client, size, complete=False):
    body = stack.enter_context(memory.body(client))
    body.grow(size)
    body.complete = complete
    return body


def dropped(body):
    return body.dropped.done()


@on_a_loop
def test_memory_is_free_again_once_the_response_is_sent(stack):
    memory = BodyMemory(100)
    other = held(stack, memory, "other", 40)
    for _ in range(3):
        with memory.body("client") as body:
            body.grow(20)
            body.grow(40)
            body.complete = True
    held(stack, memory, "another", 60)
    assert not dropped(other)


@on_a_loop
def test_the_client_that_holds_most_makes_room(stack):
    memory = BodyMemory(100)
    greedy = [held(stack, memory, "greedy", 20) for _ in range(3)]
    modest = [held(stack, memory, "modest", 30), held(stack, memory, "late", 20)]
    assert sum(map(dropped, greedy)) == 1 and not any(map(dropped, modest))


@on_a_loop
def test_a_client_that_holds_most_itself_is_refused(stack):
    memory = BodyMemory(100)
    modest = held(stack, memory, "modest", 40)
    with pytest.raises(RequestError) as refused:
        for _ in range(100):
            held(stack, memory, "greedy", 10)
    assert refused.value.status == 503 and refused.value.retry_after > 0
    assert not dropped(modest)


@on_a_loop
def test_of_clients_with_one_body_the_slowest_makes_room(stack):
    memory = BodyMemory(100)
    fast, slow = held(stack, memory, "fast", 30), held(stack, memory, "slow", 25)
    late = held(stack, memory, "late", 45)
    late.grow(5)
    assert dropped(slow) and not dropped(fast) and not dropped(late)
    with pytest.raises(RequestError):
        slow.grow(1)


@on_a_loop
def test_what_has_been_received_is_kept(stack):
    memory = BodyMemory(100)
    received = held(stack, memory, "greedy", 90, complete=True)
    with pytest.raises(RequestError) as refused:
        held(stack, memory, "modest", 20)
    assert refused.value.status == 503 and not dropped(received)


@on_a_loop
def test_many_greedy_clients_leave_room(stack):
    memory = BodyMemory(1000)
    for number in range(50):
        for _ in range(500):
            with suppress(RequestError):
                held(stack, memory, f"greedy {number}", 10)
    assert not dropped(held(stack, memory, "modest", 10))
