"""A worker with an inference server that comes, goes and is overloaded."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from engines.triton_export import export
from tests.triton_server import Triton, mind, needs_triton
from tests.web.upload.serving import AWAITED, LONG, Serving

pytestmark = [pytest.mark.endurance, needs_triton]
NAMES = "face-centerface", "person-semantic"
OPTIONS = "max_per_minute: 0, timeout_s: 600, workers: 6"


def until(condition):
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def mood(tmp_path):
    return tmp_path / "mood"


@pytest.fixture
def models(built, mood, tmp_path):
    export(built, NAMES, tmp_path / "models", "python")
    mind(tmp_path / "models", mood)
    return tmp_path / "models"


def worker(server, built, tmp_path, offload):
    inference = f'server: "kserve://{server.address}", offload: {offload}'
    return Serving(tmp_path, built, OPTIONS, inference=inference, patch=AWAITED)


@pytest.mark.parametrize("offload", ["classifier", "both"])
def test_it_works_with_a_server_without_it_and_with_it_again(
    models, built, site, small, tmp_path, offload
):
    server = Triton(models, tmp_path)
    try:
        with worker(server, built, tmp_path, offload) as far:
            until(lambda: not far.fallback)
            (here,), (there,) = (each.send(small).json["faces"] for each in (site, far))
            assert there["words"][0]["wnid"] == here["words"][0]["wnid"]
            with ThreadPoolExecutor(6) as crowd:
                sent = [crowd.submit(far.send, small) for _ in range(30)]
                until(lambda: sum(each.done() for each in sent) > 10)
                server.kill()
                assert {each.result().status for each in sent} == {200}
            until(lambda: far.fallback)
            assert far.ask(path="/healthz").status == 200
            server.start()
            until(lambda: not far.fallback)
            assert far.send(small).status == 200
            assert far.end() == 0
            assert not [
                line for line in far.lines if line.startswith("ERROR") or "Traceback" in line
            ]
    finally:
        server.close()


def test_an_overloaded_server_costs_images_but_no_worker(models, built, mood, small, tmp_path):
    config = models / NAMES[1] / "config.pbtxt"
    config.write_text(
        config.read_text()
        .replace("max_queue_size: 256", "max_queue_size: 1")
        .replace("max_batch_size: 16", "max_batch_size: 1")
    )
    server = Triton(models, tmp_path)
    try:
        with worker(server, built, tmp_path, "classifier") as far:
            until(lambda: not far.fallback)
            mood.write_text("sluggish")
            with ThreadPoolExecutor(12) as crowd:
                responses = list(crowd.map(lambda _: far.send(small), range(60)))
            assert {each.status for each in responses} == {200, 503}
            for refused in (each for each in responses if each.status == 503):
                assert int(refused.headers["Retry-After"]) > 0
            mood.write_text("well")
            assert far.send(small).status == 200
            assert not far.fallback
            assert far.end() == 0
            assert not [
                line for line in far.lines if line.startswith("ERROR") or "Traceback" in line
            ]
    finally:
        server.close()
