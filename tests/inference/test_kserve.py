"""Engines on a real Triton server that is killed, hung, slow, wrong, elsewhere or not itself."""

import logging
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from engines.triton_export import export
from installation.config.model import Inference
from installation.inference.engine import InferenceError, OverloadedError
from installation.inference.kserve import KserveEngine
from installation.inference.kserve_client import KserveClient
from installation.inference.open_engines import open_engines
from installation.inference.server_timing import ServerTiming
from installation.scene import Frame
from installation.vision.classifier import context_regions
from tests.triton_server import Triton, mind, needs_triton

pytestmark = [pytest.mark.endurance, needs_triton]

NAMES = "face-centerface", "person-semantic"
# Far beyond what anything here takes, on the slowest of machines.
LONG = 300.0


# Generous deadlines: machines are slow where many tests run, and what matters is what happens then.
TIMING = ServerTiming(
    live_deadline_s=LONG,
    batch_deadline_s=LONG,
    open_wait_s=LONG,
    backoff_min_s=0.05,
    backoff_max_s=0.1,
)


@pytest.fixture(scope="module")
def mood(tmp_path_factory):
    return tmp_path_factory.mktemp("mood") / "mood"


@pytest.fixture(scope="module")
def running(built, mood, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    export(built, NAMES, folder / "models", "python")
    mind(folder / "models", mood)
    server = Triton(folder / "models", folder)
    yield server
    server.close()


@pytest.fixture
def server(running, mood):
    mood.write_text("well")
    if running.process.poll() is not None:
        running.start()
    yield running
    mood.write_text("well")
    if running.process.poll() is None:
        running.send(signal.SIGCONT)


@contextmanager
def opened(built, address, raise_overload=False, timing=TIMING, **more):
    settings = Inference(server=f"kserve://{address}", engines=built, **more)
    with open_engines(
        settings, NAMES, raise_overload=raise_overload, server_timing=timing
    ) as engines:
        yield engines


@pytest.fixture(scope="module")
def local(built):
    with open_engines(Inference(device="cpu", engines=built), NAMES) as engines:
        yield engines


@pytest.fixture(scope="module")
def seen(hopper):
    """A frame, and regions of it."""
    height, width = hopper.shape[:2]
    faces = np.array([[180, 60, 330, 260], [100, 100, 200, 220], [0, 0, 512, 512]], np.float32)
    return Frame.from_image(hopper), context_regions(faces, width, height)


def adjustable(**changed):
    """Return `TIMING` whose values can be set while an engine uses it."""
    return SimpleNamespace(**{**asdict(TIMING), **changed})


def until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def same(one, other):
    for name, value in other.items():
        np.testing.assert_allclose(one[name], value, atol=2e-3)


def test_the_server_returns_what_this_machine_computes(server, built, local, seen):
    with opened(built, server.address, offload="both") as engines:
        assert [engine.device for engine in engines] == [f"server {server.address}"] * 2
        assert not any(engine.fallback for engine in engines)
        for engine, expected in zip(engines, local, strict=True):
            same(engine.run(*seen), expected.run(*seen))
        words = [
            np.argsort(-naming.run(*seen)["log_probabilities"])[:, :20]
            for naming in (engines[1], local[1])
        ]
        assert (words[0] == words[1]).all()


def test_large_batches_are_split(server, built, local, seen):
    frame, regions = seen
    many = np.tile(regions, (14, 1))
    with opened(built, server.address) as (_, naming):
        same(naming.run(frame, many), local[1].run(frame, many))
        assert not naming.fallback


def test_the_detector_stays_local_by_default(server, built):
    with opened(built, server.address) as (finding, naming):
        assert finding.device == "CPU"
        assert naming.device == f"server {server.address}"


def test_timed_returns_the_steps(server, built, seen):
    with opened(built, server.address) as (_, naming):
        assert set(naming.timed(*seen)) == {"preprocess", "infer"}


def stop(server):
    server.send(signal.SIGSTOP)


@pytest.mark.parametrize("fail", [Triton.kill, stop], ids=["killed", "hung"])
def test_the_cpu_takes_over_until_the_server_is_back(fail, server, built, local, seen, caplog):
    caplog.set_level(logging.INFO)
    expected, timing = local[1].run(*seen), adjustable()
    with opened(built, server.address, timing=timing) as (_, naming):
        same(naming.run(*seen), expected)
        timing.live_deadline_s = 0.6
        fail(server)
        same(naming.run(*seen), expected)
        assert naming.fallback
        assert naming.device == f"CPU (server {server.address} is unavailable)"
        same(naming.run(*seen), expected)
        timing.live_deadline_s = LONG
        if server.process.poll() is None:
            server.send(signal.SIGCONT)
        else:
            server.start()
        until(lambda: not naming.fallback)
        same(naming.run(*seen), expected)
        assert naming.device == f"server {server.address}"
    lines = [each.message for each in caplog.records if "server" in each.message]
    # Once there, once gone, once back.
    assert [("CPU fallback" in line) for line in lines] == [False, True, False]


def test_it_starts_without_a_server_and_uses_it_once_available(server, built, local, seen, caplog):
    server.kill()
    with opened(built, server.address) as (_, naming):
        assert naming.fallback
        same(naming.run(*seen), local[1].run(*seen))
        server.start()
        until(lambda: not naming.fallback)
        same(naming.run(*seen), local[1].run(*seen))
    assert caplog.text.count("using CPU fallback until the server responds") == 1


WRONG = {
    "slow": "no response in time",
    "error": "out of memory",
    "nan": "contains NaN or Inf",
    "short": "unexpected shape",
    "halved": "does not hold log-probabilities",
    "integers": "does not belong to the request",
    "stale": "does not belong to the request",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_responses_are_never_used(wrong, server, mood, built, local, seen, caplog):
    (frame, regions), timing = seen, adjustable()
    with opened(built, server.address, timing=timing) as (_, naming):
        assert not naming.fallback
        if wrong == "slow":
            timing.live_deadline_s = 0.6
        mood.write_text(wrong)
        for index in range(len(regions)):
            region = regions[index : index + 1]
            same(naming.run(frame, region), local[1].run(frame, region))
        lines = [
            each.message for each in caplog.records if "until the server responds" in each.message
        ]
        assert lines and all(re.search(WRONG[wrong], line) for line in lines), lines
        timing.live_deadline_s = LONG
        mood.write_text("well")
        until(lambda: not naming.fallback)
        same(naming.run(*seen), local[1].run(*seen))


def test_a_server_too_slow_for_batches_is_probed_ever_less_often(server, mood, built, seen, caplog):
    timing = adjustable(backoff_min_s=0.5, backoff_max_s=60.0)
    with opened(built, server.address, timing=timing) as (_, naming):
        timing.live_deadline_s = 0.6
        mood.write_text("slow for many")
        end = time.monotonic() + 8
        while time.monotonic() < end:
            naming.run(*seen)
    # After 0.5, 1, 2 and 4 seconds at the soonest.
    assert 1 <= sum("until the server responds" in each.message for each in caplog.records) <= 4


def test_a_server_that_stays_overloaded_counts_as_unavailable(
    server, built, local, seen, monkeypatch, caplog
):
    timing = replace(TIMING, max_overload_s=0.5)
    with opened(built, server.address, raise_overload=True, timing=timing) as (_, naming):

        def busy(*_arguments):
            raise OverloadedError("the inference server is overloaded")

        monkeypatch.setattr(KserveClient, "infer", busy)
        with pytest.raises(OverloadedError):
            naming.run(*seen)
        time.sleep(0.6)
        same(naming.run(*seen), local[1].run(*seen))
        assert "is overloaded; using CPU fallback until the server responds" in caplog.text


def test_another_network_under_the_same_name_is_rejected(server, mood, built, local, seen, caplog):
    mood.write_text("shifted")
    with opened(built, server.address) as (_, naming):
        assert naming.fallback
        same(naming.run(*seen), local[1].run(*seen))
    assert "it serves another network under this name" in caplog.text


def test_another_version_is_rejected(built, local, seen, tmp_path, caplog):
    export(built, NAMES, tmp_path / "models", "python")
    for version in (tmp_path / "models").glob("*/[0-9]*"):
        version.rename(version.with_name("1"))
    server = Triton(tmp_path / "models", tmp_path)
    try:
        with opened(built, server.address) as (_, naming):
            assert naming.fallback
            same(naming.run(*seen), local[1].run(*seen))
    finally:
        server.close()
    assert "it does not have this engine" in caplog.text
    assert "installation engines export" in caplog.text


def test_overload_is_raised_only_on_request(built, seen, mood, tmp_path, monkeypatch):
    models = tmp_path / "models"
    export(built, NAMES[1:], models, "python")
    mind(models, mood)
    config = models / NAMES[1] / "config.pbtxt"
    config.write_text(
        config.read_text()
        .replace("max_queue_size: 256", "max_queue_size: 1")
        .replace("max_batch_size: 16", "max_batch_size: 3")
    )
    server = Triton(models, tmp_path)
    answers = []

    def ask(engine):
        try:
            engine.run(*seen)
        except OverloadedError as error:
            answers.append(error)
        else:
            answers.append(engine.fallback)

    try:
        timing = replace(TIMING, max_overload_s=LONG)
        with opened(built, server.address, raise_overload=True, timing=timing) as (_, patient):
            more = (patient._client, NAMES[1], patient._local)
            engines = [patient, *(KserveEngine(*more, True, timing) for _ in range(5))]
            live = KserveEngine(*more, False, timing)
            mood.write_text("slow")
            threads = [threading.Thread(target=ask, args=(engine,)) for engine in engines]
            for thread in threads:
                thread.start()
            until(lambda: len(answers) >= 3)
            live.run(*seen)
            assert live.fallback
            mood.write_text("well")
            for thread in threads:
                thread.join()
            live.close()
            for engine in engines[1:]:
                engine.close()
        refused = [each for each in answers if isinstance(each, OverloadedError)]
        assert len(refused) >= 3
        # Being busy is no reason to leave it.
        assert not any(each is True for each in answers)
    finally:
        server.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority's certificate, and a server's and its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(line):
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)

    new = "req -x509 -newkey rsa:2048 -nodes -days 2"
    openssl(f"{new} -keyout ca.key -out ca.pem -subj /CN=ca")
    openssl(f"{new} -keyout other.key -out other.pem -subj /CN=other")
    openssl(
        f"{new} -keyout key.pem -out server.pem -subj /CN=server -CA ca.pem -CAkey ca.key "
        "-addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
    )
    return folder


@pytest.fixture(scope="module")
def guarded(built, certificates, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    export(built, NAMES, folder / "models", "python")
    server = Triton(
        folder / "models",
        folder,
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={certificates / 'server.pem'}",
        f"--grpc-server-key={certificates / 'key.pem'}",
        "--grpc-restricted-protocol=inference:token=open-sesame-0123456789",
        authority=certificates / "ca.pem",
    )
    yield server
    server.close()


TOKEN = "open-sesame-0123456789"


@pytest.mark.parametrize(
    ("ca_file", "token", "reason"),
    [
        ("ca.pem", TOKEN, ""),
        ("ca.pem", None, "token"),
        ("ca.pem", "another-token-0123456789", "token"),
        ("other.pem", TOKEN, "connect|failed|time"),
    ],
    ids=["right", "no token", "wrong token", "wrong CA file"],
)
def test_encryption_and_token_are_used(
    ca_file, token, reason, guarded, certificates, built, local, seen
):
    settings = Inference(
        server=f"kserves://{guarded.address}",
        engines=built,
        ca_file=certificates / ca_file,
        token=token,
    )
    with open_engines(settings, NAMES, server_timing=TIMING) as (_, naming):
        assert naming.fallback == bool(reason)
        if reason:
            assert any(each in naming.unavailable_reason for each in reason.split("|")), (
                naming.unavailable_reason
            )
        same(naming.run(*seen), local[1].run(*seen))


def test_fallbacks_leak_no_threads_and_no_memory(server, mood, built, seen):
    def memory():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    frame, regions = seen
    before = threading.active_count()
    with opened(built, server.address) as (_, naming):
        taken = []
        for _ in range(6):
            for _ in range(40):
                naming.run(frame, regions)
            mood.write_text("nan")
            naming.run(frame, regions)
            assert naming.fallback
            time.sleep(0.3)
            mood.write_text("well")
            until(lambda: not naming.fallback)
            taken.append(memory())
    assert threading.active_count() == before
    assert taken[-1] - taken[1] < 4e6


def test_a_missing_ca_file_is_one_line(built, tmp_path):
    settings = Inference(
        server="kserves://127.0.0.1:1", engines=built, ca_file=tmp_path / "nowhere.pem"
    )
    with (
        pytest.raises(InferenceError, match=r"inference\.ca_file .*nowhere\.pem: No such"),
        open_engines(settings, NAMES),
    ):
        pass
