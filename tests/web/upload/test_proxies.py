"""Several workers behind the proxies of docs/web.md: visitors do not notice when one ends."""

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

# Proxies notice within a second or so which workers are there.
WAIT_S = 4


@pytest.fixture(params=["nginx", "haproxy"])
def balanced(request, built, tmp_path):
    if not available(request.param):
        pytest.skip(f"{request.param} is not installed")
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


def crowd(balanced, image, event):
    """Let many clients send images before, during and after an event; count the statuses."""
    mine, over = [Counter() for _ in range(12)], threading.Event()

    def visit(number):
        while not over.is_set():
            mine[number][balanced.send(image, number)] += 1

    def wait_for_requests(times):
        before, deadline = [each.total() for each in mine], time.monotonic() + LONG
        while any(
            now.total() < then + times for now, then in zip(mine, before, strict=True)
        ) and not any(each.done() for each in visits):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with ThreadPoolExecutor(12) as visitors:
        visits = [visitors.submit(visit, number) for number in range(12)]
        try:
            wait_for_requests(1)
            event()
            time.sleep(WAIT_S)
            wait_for_requests(2)
        finally:
            over.set()
        for each in visits:
            each.result()
    return sum(mine, Counter())


def classified(worker):
    return worker.metrics["installation_web_images_classified_total"]


def test_addresses_are_spread_and_each_keeps_its_worker(balanced, small):
    with ThreadPoolExecutor(6) as visitors:
        assert set(visitors.map(lambda n: balanced.send(small, n), range(60))) == {200}
    spread = [classified(worker) for worker in balanced.workers]
    assert sum(spread) == 60 and min(spread) > 0
    before = spread
    for _ in range(5):
        assert balanced.send(small, 1) == 200
    more = [now - then for now, then in zip(map(classified, balanced.workers), before, strict=True)]
    assert sorted(more) == [0, 0, 5]


def test_metrics_are_not_public(balanced):
    assert balanced.get("/metrics") == 404


def test_a_killed_worker_loses_only_its_images_in_flight(balanced, small):
    victim = balanced.workers[0].process
    statuses = crowd(balanced, small, victim.kill)
    assert statuses[200] > 12
    lost = statuses.total() - statuses[200]
    # nginx still has the image and sends it to another worker; a streaming proxy does not.
    assert lost <= (0 if balanced.kind == "nginx" else 12), statuses
    assert victim.wait(LONG) == -signal.SIGKILL


def test_a_stopped_worker_completes_its_images_and_no_client_is_turned_away(balanced, small):
    victim = balanced.workers[0].process
    statuses = crowd(balanced, small, victim.terminate)
    assert set(statuses) == {200}
    assert victim.wait(LONG) == 0


def test_nginx_writes_no_image_to_the_disk(balanced, hopper):
    if balanced.kind != "nginx":
        pytest.skip("streams")
    before = [(balanced.folder / name).stat().st_mtime_ns for name in ("bodies", "answers")]
    image = encoded(cv2.resize(hopper, (1500, 1700)), ".png")
    assert len(image) > 2_000_000
    assert balanced.send(image, 1) == 200
    # The largest accepted image, 12 MB: bytes after the end of a JPEG are ignored.
    jpeg = encoded(hopper)
    assert balanced.send(jpeg + bytes(12_000_000 - len(jpeg)), 1) == 200
    after = [(balanced.folder / name).stat().st_mtime_ns for name in ("bodies", "answers")]
    assert after == before
