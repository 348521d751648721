"""Capacity of one inference server for many screens, beside screens with engines of their own.

    python -m tests.benchmarks.walls [--walls 12] [--seconds 20] [--json]

Simulated screens send what real ones do, the regions around the faces of a crowd, over the real
protocol to a real Triton server on this machine: as fast as they are answered, and at the pace of
visitors. For comparison, in the same run and on the same cores: as many screens with an engine
each, and the same server without batching.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tritonclient import grpc as triton

from engines.build import build
from engines.manifest import load_manifest
from engines.triton_export import export
from installation.capture.demo import PERIOD_S, Crowd
from installation.config.model import Inference
from installation.inference.cpu import CpuEngine
from installation.inference.kserve import KserveEngine
from installation.inference.kserve_client import KserveClient
from installation.scene import Frame
from installation.vision.classifier import context_regions
from tests.paths import ROOT
from tests.triton_server import Triton

BUILT = ROOT / "engines" / "built"
CLASSIFIER = "person-semantic"
_SIZE = 1280, 720
_REQUESTS = 40
# Requests per second of a screen, with two visitors in view of whom one comes and goes: five while
# words settle, and one every two seconds after.
_PACE = 2.0

# A frame and its regions.
Request = tuple[np.ndarray, np.ndarray]


def make_requests() -> list[Request]:
    """Return frames and the regions that a screen would send."""
    crowd = Crowd(BUILT, *_SIZE)
    found = []
    for index in range(_REQUESTS):
        at = index * PERIOD_S / _REQUESTS
        boxes = np.array([face.box for face in crowd.truth(at)], np.float32).reshape(-1, 4)
        if len(boxes):
            found.append((Frame.from_image(crowd.paint(at)), context_regions(boxes[:2], *_SIZE)))
    return found


@dataclass
class Results:
    """Regions answered, seconds per request, and requests left to the CPU by a slow server."""

    regions: int = 0
    seconds: list[float] = field(default_factory=list)
    fallbacks: int = 0


def ask(
    engine: Any, requests: list[Request], until: float, pace: float | None, results: Results
) -> None:
    """Send requests until a time: each after the last answer, or at a pace per second."""
    chance = np.random.default_rng(threading.get_ident() % 2**32)
    due = time.monotonic() + (chance.uniform(0, 1 / pace) if pace else 0)
    while (now := time.monotonic()) < until:
        if pace and now < due:
            time.sleep(min(due - now, until - now))
            continue
        frame, regions = requests[chance.integers(len(requests))]
        began = time.monotonic()
        engine.run(frame, regions)
        results.seconds.append(time.monotonic() - began)
        results.regions += len(regions)
        results.fallbacks += engine.fallback
        if pace:
            due += 1 / pace


def _run_alone(seconds: float, go: Any, queue: Any) -> None:
    """Simulate a screen with an engine of its own."""
    folder = BUILT / CLASSIFIER
    engine, results = CpuEngine(folder, load_manifest(folder)), Results()
    requests = make_requests()
    engine.run(*requests[0])
    queue.put("ready")
    go.wait()
    ask(engine, requests, time.monotonic() + seconds, None, results)
    queue.put(results)


def by_themselves(walls: int, seconds: float) -> float:
    """Return regions per second of screens without a server."""
    context = multiprocessing.get_context("spawn")
    go, queue = context.Event(), context.Queue()
    processes = [
        context.Process(target=_run_alone, args=(seconds, go, queue)) for _ in range(walls)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        queue.get()
    go.set()
    all_results = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(results.regions for results in all_results) / seconds


class _Shared(CpuEngine):
    """The fallback of all screens; real ones each have their own, on their own machine."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lock = threading.Lock()

    def run(self, *arguments: Any) -> Any:
        with self._lock:
            return super().run(*arguments)


@contextmanager
def server(batches: bool) -> Iterator[Triton]:
    """Run a server; without batches, one that processes regions one by one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(BUILT, [CLASSIFIER], folder / "models", "python")
        if not batches:
            config = folder / "models" / CLASSIFIER / "config.pbtxt"
            text = re.sub(r"dynamic_batching \{.*?\n\}\n", "", config.read_text(), flags=re.S)
            config.write_text(text)
        running = Triton(folder / "models", folder)
        try:
            yield running
        finally:
            running.close()


def _statistics(address: str) -> tuple[int, int]:
    client = triton.InferenceServerClient(address)
    statistics = client.get_inference_statistics(CLASSIFIER, as_json=True)["model_stats"][0]
    client.close()
    return int(statistics.get("inference_count", 0)), int(statistics.get("execution_count", 0))


@dataclass
class Row:
    """Regions and requests of one set-up.

    Attributes
    ----------
    regions
        Per second.
    median, p99
        Seconds per request.
    batch
        Regions per batch.
    fallbacks
        Share of the requests that the CPU took.
    """

    regions: float
    median: float
    p99: float
    batch: float
    fallbacks: float


def at_a_server(
    address: str, walls: int, seconds: float, pace: float | None, one_by_one: bool = False
) -> Row:
    """Let screens send requests to a server; without a pace they wait as long as it takes."""
    folder = BUILT / CLASSIFIER
    requests = make_requests()
    if one_by_one:
        requests = [(frame, regions[:1]) for frame, regions in requests]
    with ExitStack() as stack:
        local = _Shared(folder, load_manifest(folder))
        engines = []
        for _ in range(walls):
            connection = KserveClient(Inference(server=f"kserve://{address}"))
            stack.callback(connection.close)
            engines.append(KserveEngine(connection, CLASSIFIER, local, waits=pace is None))
            stack.callback(engines[-1].close)
        before = _statistics(address)
        all_results = [Results() for _ in engines]
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=ask, args=(engine, requests, until, pace, results))
            for engine, results in zip(engines, all_results, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after = _statistics(address)
    took = np.array([each for results in all_results for each in results.seconds])
    return Row(
        sum(results.regions for results in all_results) / seconds,
        float(np.median(took)),
        float(np.quantile(took, 0.99)),
        (after[0] - before[0]) / max(after[1] - before[1], 1),
        sum(results.fallbacks for results in all_results) / len(took),
    )


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--walls", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=20, help="per row")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    build(BUILT, lambda _line: None)
    walls, seconds = arguments.walls, arguments.seconds
    rows = {}
    with server(batches=True) as running:
        rows["one server"] = at_a_server(running.address, walls, seconds, None)
        rows["one server, visitors' pace"] = at_a_server(running.address, walls, seconds, _PACE)
    with server(batches=False) as running:
        rows["one server, no batches"] = at_a_server(running.address, walls, seconds, None, True)
    alone = by_themselves(walls, seconds)
    if arguments.json:
        figures = {name: vars(row) for name, row in rows.items()}
        print(json.dumps(figures | {"by themselves": {"regions": alone}}, indent=1))
        return
    print(f"{walls} screens; {'':20} regions/s  median ms  p99 ms  batch  by the CPU")
    for name, row in rows.items():
        print(
            f"{name:32} {row.regions:9.1f} {1000 * row.median:10.0f} {1000 * row.p99:7.0f} "
            f"{row.batch:6.1f} {row.fallbacks:10.1%}"
        )
    print(f"{'an engine each':32} {alone:9.1f}")
    ours = rows["one server"].regions
    print(
        f"one server: {ours / alone:.2f} of an engine each, "
        f"{ours / rows['one server, no batches'].regions:.2f} of the server without batches"
    )


if __name__ == "__main__":
    main()
