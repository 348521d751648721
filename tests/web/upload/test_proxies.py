"""Several workers behind the proxies that docs/web.md configures: none of them is missed."""

import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import cv2
import pytest

from tests.web.upload.proxies import Balanced, available
from tests.web.upload.serving import LONG, Serving, encoded

pytestmark = pytest.mark.endurance

# Each of them finds out by itself, in a second or so, who is there.
SECONDS = 4


@pytest.fixture(params=["nginx", "haproxy"])
def balanced(request, built, tmp_path):
    if not available(request.param):
        pytest.skip(f"no {request.param} here")
    with ExitStack() as stack:
        workers = []
        for number in range(3):
            folder = tmp_path / f"worker-{number}"
            folder.mkdir()
            options = "max_per_minute: 0, timeout_s: 600, proxies: [127.0.0.0/8]"
            workers.append(stack.enter_context(Serving(folder, built, options)))
        found = Balanced(request.param, tmp_path, workers)
        stack.callback(found.close)
        yield found


def crowd(balanced, picture, meanwhile):
    """Have many send pictures, from before something happens until after it; count the statuses."""
    mine, over = [Counter() for _ in range(12)], threading.Event()

    def visit(number):
        while not over.is_set():
            mine[number][balanced.send(picture, number)] += 1

    def until_all_were_here(times):
        before, deadline = [each.total() for each in mine], time.monotonic() + LONG
        while any(
            now.total() < then + times for now, then in zip(mine, before, strict=True)
        ) and not any(each.done() for each in visits):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with ThreadPoolExecutor(12) as visitors:
        visits = [visitors.submit(visit, number) for number in range(12)]
        try:
            until_all_were_here(1)
            meanwhile()
            time.sleep(SECONDS)
            until_all_were_here(2)
        finally:
            over.set()
        for each in visits:
            each.result()
    return sum(mine, Counter())


def answered(worker):
    return worker.metrics["installation_web_images_classified_total"]


def test_addresses_are_spread_and_each_stays_where_it_is(balanced, small):
    with ThreadPoolExecutor(6) as visitors:
        assert set(visitors.map(lambda n: balanced.send(small, n), range(60))) == {200}
    spread = [answered(worker) for worker in balanced.workers]
    assert sum(spread) == 60 and min(spread) > 0
    before = spread
    for _ in range(5):
        assert balanced.send(small, 1) == 200
    more = [now - then for now, then in zip(map(answered, balanced.workers), before, strict=True)]
    assert sorted(more) == [0, 0, 5]


def test_metrics_are_not_for_everybody(balanced):
    assert balanced.get("/metrics") == 404


def test_a_worker_that_is_killed_takes_no_more_than_what_it_had_with_it(balanced, small):
    victim = balanced.workers[0].process
    statuses = crowd(balanced, small, victim.kill)
    assert statuses[200] > 12
    lost = statuses.total() - statuses[200]
    # nginx has the picture still, and gives it to another; who streams does not.
    assert lost <= (0 if balanced.kind == "nginx" else 12), statuses
    assert victim.wait(LONG) == -signal.SIGKILL


def test_a_worker_that_is_stopped_answers_what_it_has_and_nobody_is_sent_away(balanced, small):
    victim = balanced.workers[0].process
    statuses = crowd(balanced, small, victim.terminate)
    assert set(statuses) == {200}
    assert victim.wait(LONG) == 0


def test_nginx_writes_no_picture_to_the_disk(balanced, hopper):
    if balanced.kind != "nginx":
        pytest.skip("streams")
    before = [(balanced.folder / name).stat().st_mtime_ns for name in ("bodies", "answers")]
    picture = encoded(cv2.resize(hopper, (1500, 1700)), ".png")
    assert len(picture) > 2_000_000
    assert balanced.send(picture, 1) == 200
    # A picture of 12 MB, the most that is taken: what follows the end of a JPEG is not looked at.
    jpeg = encoded(hopper)
    assert balanced.send(jpeg + bytes(12_000_000 - len(jpeg)), 1) == 200
    after = [(balanced.folder / name).stat().st_mtime_ns for name in ("bodies", "answers")]
    assert after == before
