"""What one inference server carries: many walls at it, beside walls that help themselves.

    python -m tests.benchmarks.walls [--walls 12] [--seconds 20] [--json]

Walls send what real ones do, the surroundings of the faces of a made-up crowd, over the real
protocol to a real Triton server on this machine: as fast as they are answered, and at the pace of
visitors. Beside it, in the same run and on the same cores: as many walls each with an engine of its
own, and the same server without batches.
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
from installation.inference.server_timings import ServerTimings
from installation.scene import Frame
from installation.vision.classifier import context_regions
from tests.paths import ROOT
from tests.triton_server import Triton

BUILT = ROOT / "engines" / "built"
CLASSIFIER = "person-semantic"
_SIZE = 1280, 720
_LOOKS = 40
# Times a second that a wall asks: five while words settle, and once every two seconds after; here
# with two visitors in view of whom one comes and goes.
_PACE = 2.0

Look = tuple[Frame, np.ndarray]


def looks() -> list[Look]:
    """Return frames and the regions that a wall would ask about."""
    crowd = Crowd(BUILT, *_SIZE)
    found = []
    for index in range(_LOOKS):
        at = index * PERIOD_S / _LOOKS
        boxes = np.array([face.box for face in crowd.truth(at)], np.float32).reshape(-1, 4)
        if len(boxes):
            found.append((Frame.from_image(crowd.paint(at)), context_regions(boxes[:2], *_SIZE)))
    return found


@dataclass
class Tally:
    """What came of it: regions answered, how long each look took in seconds, and how many by the
    CPU because the server was too slow.
    """

    regions: int = 0
    seconds: list[float] = field(default_factory=list)
    helped: int = 0


def ask(engine: Any, all_looks: list[Look], until: float, pace: float | None, tally: Tally) -> None:
    """Be a wall until a moment: ask, wait for the answer, ask again; or so often a second."""
    chance = np.random.default_rng(threading.get_ident() % 2**32)
    due = time.monotonic() + (chance.uniform(0, 1 / pace) if pace else 0)
    while (now := time.monotonic()) < until:
        if pace and now < due:
            time.sleep(min(due - now, until - now))
            continue
        frame, regions = all_looks[chance.integers(len(all_looks))]
        began = time.monotonic()
        engine.run(frame, regions)
        tally.seconds.append(time.monotonic() - began)
        tally.regions += len(regions)
        tally.helped += engine.fallback
        if pace:
            due += 1 / pace


def _alone(seconds: float, go: Any, told: Any) -> None:
    """A wall with an engine of its own."""
    folder = BUILT / CLASSIFIER
    engine, tally = CpuEngine(folder, load_manifest(folder)), Tally()
    all_looks = looks()
    engine.run(*all_looks[0])
    told.put("ready")
    go.wait()
    ask(engine, all_looks, time.monotonic() + seconds, None, tally)
    told.put(tally)


def by_themselves(walls: int, seconds: float) -> float:
    """Return regions a second of walls that have no server."""
    context = multiprocessing.get_context("spawn")
    go, told = context.Event(), context.Queue()
    processes = [context.Process(target=_alone, args=(seconds, go, told)) for _ in range(walls)]
    for process in processes:
        process.start()
    for _ in processes:
        told.get()
    go.set()
    tallies = [told.get() for _ in processes]
    for process in processes:
        process.join()
    return sum(tally.regions for tally in tallies) / seconds


class _Shared(CpuEngine):
    """What walls fall back on, one for all of them: each would have one on a machine of its own."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._turn = threading.Lock()

    def run(self, *arguments: Any) -> Any:
        with self._turn:
            return super().run(*arguments)


@contextmanager
def server(batches: bool) -> Iterator[Triton]:
    """A server; without batches, one that takes regions one by one."""
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
    told = client.get_inference_statistics(CLASSIFIER, as_json=True)["model_stats"][0]
    client.close()
    return int(told.get("inference_count", 0)), int(told.get("execution_count", 0))


@dataclass
class Row:
    """One way: regions a second, seconds a look took, regions in a batch, share not in time."""

    regions: float
    median: float
    most: float
    batch: float
    helped: float


def at_a_server(
    address: str, walls: int, seconds: float, pace: float | None, one_by_one: bool = False
) -> Row:
    """Let walls ask a server; those that keep no pace wait for as long as it takes."""
    folder = BUILT / CLASSIFIER
    all_looks = looks()
    if one_by_one:
        all_looks = [(frame, regions[:1]) for frame, regions in all_looks]
    with ExitStack() as stack:
        local = _Shared(folder, load_manifest(folder))
        engines = []
        for _ in range(walls):
            client = KserveClient(Inference(device=f"kserve://{address}"))
            stack.callback(client.close)
            engines.append(KserveEngine(client, CLASSIFIER, local, pace is None, ServerTimings()))
            stack.callback(engines[-1].close)
        before = _statistics(address)
        tallies = [Tally() for _ in engines]
        until = time.monotonic() + seconds
        threads = [
            threading.Thread(target=ask, args=(engine, all_looks, until, pace, tally))
            for engine, tally in zip(engines, tallies, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        after = _statistics(address)
    took = np.array([each for tally in tallies for each in tally.seconds])
    return Row(
        sum(tally.regions for tally in tallies) / seconds,
        float(np.median(took)),
        float(np.quantile(took, 0.99)),
        (after[0] - before[0]) / max(after[1] - before[1], 1),
        sum(tally.helped for tally in tallies) / len(took),
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--walls", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=20, help="for each way")
    parser.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    build(BUILT, lambda _line: None)
    walls, seconds = arguments.walls, arguments.seconds
    rows = {}
    with server(batches=True) as running:
        rows["one server"] = at_a_server(running.address, walls, seconds, None)
        rows["the same, at visitors' pace"] = at_a_server(running.address, walls, seconds, _PACE)
    with server(batches=False) as running:
        rows["one server, no batches"] = at_a_server(running.address, walls, seconds, None, True)
    alone = by_themselves(walls, seconds)
    if arguments.json:
        told = {name: vars(row) for name, row in rows.items()}
        print(json.dumps(told | {"by themselves": {"regions": alone}}, indent=1))
        return
    print(f"{walls} walls; {'':22} regions/s  median ms  99 % ms  a batch  by the CPU")
    for name, row in rows.items():
        print(
            f"{name:32} {row.regions:9.1f} {1000 * row.median:10.0f} {1000 * row.most:8.0f} "
            f"{row.batch:8.1f} {row.helped:10.1%}"
        )
    print(f"{'each by itself':32} {alone:9.1f}")
    ours = rows["one server"].regions
    print(
        f"one server: {ours / alone:.2f} of walls by themselves, "
        f"{ours / rows['one server, no batches'].regions:.2f} of the server without batches"
    )


if __name__ == "__main__":
    main()
