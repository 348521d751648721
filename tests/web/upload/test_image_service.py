"""Classifying several images at a time, and what happens to those that cannot be classified."""

import gc
import math
import threading
import time
import weakref
from types import SimpleNamespace

import cv2
import pytest

from installation.config import loader as configuration
from installation.inference.engine import InferenceError, OverloadedError
from installation.runtime import heartbeat
from installation.runtime.worker import Worker
from installation.vision.still_classifier import ImageClassifier
from installation.web.upload.errors import RequestError
from installation.web.upload.image_service import ImageService
from installation.web.upload.inference_pool import IMAGE_TIMEOUT_S, pool_size
from tests.web.upload.serving import LONG, encoded

WORKERS = []


def start(heartbeat, run):
    """Start a worker as an application does."""
    WORKERS.append(Worker(heartbeat, run))
    return WORKERS[-1]


def check():
    for worker in WORKERS:
        worker.check()


@pytest.fixture
def opened(built, tmp_path):
    """Return a function that starts a service with keys of the config section ``web``."""
    services = []
    WORKERS.clear()

    def open_one(web="", readers=None):
        path = tmp_path / "config.yaml"
        path.write_text(f"inference: {{engines: {built}, device: cpu}}\nweb: {{{web}}}\n")
        service = ImageService(configuration.load(path), None, start, readers)
        services.append(service)
        deadline = time.monotonic() + LONG
        while service.unavailable_reason is not None:
            check()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return service

    yield open_one
    for service in services:
        service.close(60)


def submit(service, image, client="client"):
    service.queue.acquire(client)
    return service.submit(client, image, "labels")


def labels(future):
    (face,) = future.result(LONG).result.faces
    return face.labels


def test_a_server_gets_several_readers_a_processor_one(config):
    assert pool_size(config) == 1
    there = config.inference.model_copy(update={"server": "kserve://inference.example:8001"})
    far = config.model_copy(update={"inference": there})
    assert pool_size(far) == config.web.workers > 1


def test_two_readers_work_in_parallel_with_the_same_result(opened, small, monkeypatch):
    together, look = threading.Barrier(2), ImageClassifier.classify

    def looked(self, picture):
        together.wait(LONG)
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "classify", looked)
    service = opened("workers: 2, timeout_s: 600", readers=2)
    answers = [submit(service, small) for _ in range(8)]
    assert len({labels(answer) for answer in answers}) == 1


def test_a_changed_config_reaches_every_reader(opened, small, built, tmp_path):
    service = opened("workers: 2, timeout_s: 600", readers=2)
    path = tmp_path / "full.yaml"
    path.write_text(f"inference: {{engines: {built}, device: cpu}}\nlabels: {{policy: full}}\n")
    before = [submit(service, small) for _ in range(4)]
    service.apply(configuration.load(path))
    after = [submit(service, small) for _ in range(4)]
    policies = [each.result(LONG).config.labels.policy for each in (*before, *after)]
    assert policies[-4:] == ["full"] * 4
    assert labels(after[0])


def test_waiting_for_a_slow_classification_does_not_count_as_hung(opened, small, monkeypatch):
    look, looking, over = ImageClassifier.classify, threading.Event(), threading.Event()

    def looked(self, picture):
        looking.set()
        over.wait(LONG)
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "classify", looked)
    slow = opened("workers: 2, timeout_s: 600")
    answers = [submit(slow, small) for _ in range(2)]
    assert looking.wait(LONG)
    # Later than the readers' timeout; the others wait for them.
    for worker in WORKERS:
        if worker.heartbeat.name.startswith("inference"):
            worker.heartbeat.timeout_s = math.inf
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + IMAGE_TIMEOUT_S + 1)
    monkeypatch.setattr(heartbeat, "time", later)
    check()
    over.set()
    assert all(labels(answer) for answer in answers)


@pytest.mark.parametrize("becomes", ["answered", "late", "refused"])
def test_an_image_is_freed_with_its_response(opened, small, monkeypatch, becomes):
    look, pictures, over = ImageClassifier.classify, [], threading.Event()

    def looked(self, picture):
        pictures.append(weakref.ref(picture))
        if becomes == "refused":
            raise OverloadedError("inference.example:8001: overloaded")
        if becomes == "late":
            over.wait(LONG)
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "classify", looked)
    service = opened(f"workers: 1, timeout_s: {3 if becomes == 'late' else 600}")
    # Reference counting alone must free it.
    gc.disable()
    try:
        answer = submit(service, small)
        if becomes == "answered":
            assert labels(answer)
        else:
            assert answer.exception(LONG).status == 503
        over.set()
        del answer
        deadline = time.monotonic() + LONG
        # On a slow machine it may have been too late to classify it at all.
        while any(picture() is not None for picture in pictures):
            assert time.monotonic() < deadline, "it is still there"
            time.sleep(0.05)
    finally:
        gc.enable()


def test_an_overloaded_server_costs_only_that_image(opened, small, monkeypatch):
    look, asked = ImageClassifier.classify, iter([True, False, True])

    def looked(self, picture):
        if next(asked, False):
            raise OverloadedError("inference.example:8001: overloaded")
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "classify", looked)
    service = opened("workers: 1, timeout_s: 600")
    answers = [submit(service, small) for _ in range(5)]
    for refused in (answers[0], answers[2]):
        with pytest.raises(RequestError) as raised:
            refused.result(LONG)
        assert raised.value.status == 503 and raised.value.retry_after > 0
        assert "inference.example" not in str(raised.value)
    assert all(labels(answers[index]) for index in (1, 3, 4))
    check()


def test_a_failing_engine_ends_the_process(opened, small, monkeypatch):
    def looked(self, picture):
        raise InferenceError("the card is gone")

    monkeypatch.setattr(ImageClassifier, "classify", looked)
    service = opened()
    with pytest.raises(RequestError) as raised:
        submit(service, small).result(LONG)
    assert raised.value.status == 500
    with pytest.raises(InferenceError):
        while True:
            check()


def test_a_classification_that_takes_too_long_is_not_waited_for(opened, small, monkeypatch):
    look, over = ImageClassifier.classify, threading.Event()

    def looked(self, picture):
        over.wait(LONG)
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "classify", looked)
    service = opened("workers: 1, timeout_s: 0.5")
    late = submit(service, small)
    with pytest.raises(RequestError) as raised:
        late.result(LONG)
    assert raised.value.status == 503 and raised.value.retry_after > 0
    over.set()


def test_a_cancelled_image_is_not_classified(opened, small, hopper, monkeypatch):
    look, over, seen = ImageClassifier.classify, threading.Event(), []

    def looked(self, picture):
        seen.append(picture.shape)
        over.wait(LONG)
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "classify", looked)
    service = opened("workers: 2, timeout_s: 600")
    first = submit(service, small)
    while not seen:
        time.sleep(0.01)
    # The second waits for the reader; the third waits for a worker.
    second = submit(service, encoded(cv2.resize(hopper, (200, 240))))
    third = submit(service, encoded(cv2.resize(hopper, (220, 260))))
    second.cancel()
    over.set()
    assert labels(first) and labels(third)
    assert second.cancelled()
    # The second image was never classified.
    assert (240, 200, 3) not in seen
