"""Looks at several pictures at a time, and what becomes of those that cannot be looked at."""

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
    """Open a studio with some keys of the config's ``web``, and wait until it works."""
    studios = []
    WORKERS.clear()

    def open_one(web="", readers=None):
        path = tmp_path / "config.yaml"
        path.write_text(f"inference: {{engines: {built}, device: cpu}}\nweb: {{{web}}}\n")
        studio = ImageService(configuration.load(path), None, start, readers)
        studios.append(studio)
        deadline = time.monotonic() + LONG
        while studio.unavailable_reason is not None:
            check()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return studio

    yield open_one
    for studio in studios:
        studio.close(60)


def submit(studio, picture, who="guest"):
    studio.queue.acquire(who)
    return studio.submit(who, picture, "labels")


def words(future):
    (face,) = future.result(LONG).result.faces
    return face.labels


def test_a_server_is_asked_for_several_a_processor_for_one(config):
    assert pool_size(config) == 1
    there = config.inference.model_copy(update={"server": "kserve://inference.example:8001"})
    far = config.model_copy(update={"inference": there})
    assert pool_size(far) == config.web.workers > 1


def test_two_readers_look_at_a_time_and_see_the_same(opened, small, monkeypatch):
    together, look = threading.Barrier(2), ImageClassifier.classify

    def looked(self, picture):
        together.wait(LONG)
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "look", looked)
    studio = opened("workers: 2, timeout_s: 600", readers=2)
    answers = [submit(studio, small) for _ in range(8)]
    assert len({words(answer) for answer in answers}) == 1


def test_another_config_reaches_every_reader(opened, small, built, tmp_path):
    studio = opened("workers: 2, timeout_s: 600", readers=2)
    path = tmp_path / "full.yaml"
    path.write_text(f"inference: {{engines: {built}, device: cpu}}\nlabels: {{policy: full}}\n")
    before = [submit(studio, small) for _ in range(4)]
    studio.apply(configuration.load(path))
    after = [submit(studio, small) for _ in range(4)]
    policies = [each.result(LONG).config.labels.policy for each in (*before, *after)]
    assert policies[-4:] == ["full"] * 4
    assert words(after[0])


def test_who_waits_for_a_slow_look_does_not_count_as_hung(opened, small, monkeypatch):
    look, looking, over = ImageClassifier.classify, threading.Event(), threading.Event()

    def looked(self, picture):
        looking.set()
        over.wait(LONG)
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "look", looked)
    slow = opened("workers: 2, timeout_s: 600")
    answers = [submit(slow, small) for _ in range(2)]
    assert looking.wait(LONG)
    # So much later that the reader would count as hung; the desks wait for it.
    for worker in WORKERS:
        if worker.heartbeat.name.startswith("inference"):
            worker.heartbeat.timeout_s = math.inf
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + IMAGE_TIMEOUT_S + 1)
    monkeypatch.setattr(heartbeat, "time", later)
    check()
    over.set()
    assert all(words(answer) for answer in answers)


@pytest.mark.parametrize("becomes", ["answered", "late", "refused"])
def test_a_picture_is_gone_with_its_answer(opened, small, monkeypatch, becomes):
    look, pictures, over = ImageClassifier.classify, [], threading.Event()

    def looked(self, picture):
        pictures.append(weakref.ref(picture))
        if becomes == "refused":
            raise OverloadedError("inference.example:8001: overloaded")
        if becomes == "late":
            over.wait(LONG)
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "look", looked)
    studio = opened(f"workers: 1, timeout_s: {3 if becomes == 'late' else 600}")
    # Not only once somebody looks for circles.
    gc.disable()
    try:
        answer = submit(studio, small)
        if becomes == "answered":
            assert words(answer)
        else:
            assert answer.exception(LONG).status == 503
        over.set()
        del answer
        deadline = time.monotonic() + LONG
        # A machine may be so slow that it was too late to look at it at all.
        while any(picture() is not None for picture in pictures):
            assert time.monotonic() < deadline, "it is still there"
            time.sleep(0.05)
    finally:
        gc.enable()


def test_a_server_that_has_too_much_to_do_costs_one_picture_its_answer(opened, small, monkeypatch):
    look, asked = ImageClassifier.classify, iter([True, False, True])

    def looked(self, picture):
        if next(asked, False):
            raise OverloadedError("inference.example:8001: overloaded")
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "look", looked)
    studio = opened("workers: 1, timeout_s: 600")
    answers = [submit(studio, small) for _ in range(5)]
    for refused in (answers[0], answers[2]):
        with pytest.raises(RequestError) as told:
            refused.result(LONG)
        assert told.value.status == 503 and told.value.retry_after > 0
        assert "inference.example" not in str(told.value)
    assert all(words(answers[index]) for index in (1, 3, 4))
    check()


def test_an_engine_that_fails_ends_the_process(opened, small, monkeypatch):
    def looked(self, picture):
        raise InferenceError("the card is gone")

    monkeypatch.setattr(ImageClassifier, "classify", looked)
    studio = opened()
    with pytest.raises(RequestError) as told:
        submit(studio, small).result(LONG)
    assert told.value.status == 500
    with pytest.raises(InferenceError):
        while True:
            check()


def test_a_look_that_takes_too_long_is_not_waited_for(opened, small, monkeypatch):
    look, over = ImageClassifier.classify, threading.Event()

    def looked(self, picture):
        over.wait(LONG)
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "look", looked)
    studio = opened("workers: 1, timeout_s: 0.5")
    late = submit(studio, small)
    with pytest.raises(RequestError) as told:
        late.result(LONG)
    assert told.value.status == 503 and told.value.retry_after > 0
    over.set()


def test_who_leaves_while_a_picture_waits_frees_its_desk(opened, small, hopper, monkeypatch):
    look, over, seen = ImageClassifier.classify, threading.Event(), []

    def looked(self, picture):
        seen.append(picture.shape)
        over.wait(LONG)
        return look(self, picture)

    monkeypatch.setattr(ImageClassifier, "look", looked)
    studio = opened("workers: 2, timeout_s: 600")
    first = submit(studio, small)
    while not seen:
        time.sleep(0.01)
    # The second has a desk, but waits for the reader; the third has none.
    second = submit(studio, encoded(cv2.resize(hopper, (200, 240))))
    third = submit(studio, encoded(cv2.resize(hopper, (220, 260))))
    second.cancel()
    over.set()
    assert words(first) and words(third)
    assert second.cancelled()
    # It was not looked at, or was being looked at already.
    assert (240, 200, 3) not in seen
