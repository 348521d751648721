"""What do several workers of the web extension carry, and what becomes of the rest?

    python -m tests.benchmarks.web_load [--workers 3] [--rate LABELS] [--seconds 600] [--overload 5]
        [--pictures portrait|crowd|telephone] [--device kserve://HOST:PORT|triton] [--jobs N]
        [--offload classifier|both] [--through nginx|haproxy] [--json FILE]

Starts workers, each a process with a port of its own, and has visitors send them pictures: they
come when they come (Poisson), whether or not others are answered, each from an address of their
own, and wait for their answer. Without ``--rate``, labels a second, it first finds out what the
workers carry when there is always somebody, and takes four fifths of it. Then the same rate several
times over for a quarter of the time, a minute at the most; then the first rate again. A label is a
face that was answered. Waiting is counted from when a visitor came. Who sends takes processor time
as well: about 1 ms a picture, and a little more through a proxy.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import itertools
import json
import os
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines.build import build
from engines.triton_export import export
from installation.capture.demo import Crowd
from tests.paths import ROOT
from tests.triton_server import Triton
from tests.web.upload.proxies import Balanced
from tests.web.upload.serving import Serving

_BUILT = ROOT / "engines" / "built"
# Seconds in which it is found out what the workers carry, and in which they have recovered.
_TRIAL = 20.0
_RECOVERY = 15.0
_LONGEST_OVERLOAD = 60.0
# How often the workers' memory is looked at while pictures come for long.
_SAMPLES = 10
# Of what they carry, what is asked of them for long.
_SHARE = 0.8
# Seconds after which a visitor gives up: more than a place in the queue and a look may take.
_PATIENCE = 60.0
_REFUSED = (429, 503)


def _work_of(server: Triton | None) -> float:
    """Return the processor seconds of a server and all that it started."""
    if server is None:
        return 0.0
    work = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == server.process.pid:
                work += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return work


def _pictures(kind: str) -> list[bytes]:
    """Return pictures as files: portraits, a made-up crowd, or a portrait of many pixels."""
    if kind == "crowd":
        crowd = Crowd(_BUILT, 1280, 960)
        shown = [crowd.paint(6.0 + index) for index in range(8)]
    else:
        faces = [
            cv2.imread(str(_BUILT / "demo-visitors" / f"{who}.png"))
            for who in ("hopper", "collins")
        ]
        large = kind == "telephone"
        shown = [cv2.resize(face, (3000, 3500)) if large else face for face in faces]
    return [
        cv2.imencode(".jpg", each, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes() for each in shown
    ]


@dataclass
class Visit:
    """What became of one visitor: a status, or what came instead of one; the wait in seconds."""

    status: int | str
    labels: int
    wait: float
    left_at: float


@dataclass
class Phase:
    """What became of all who came in some seconds."""

    seconds: float
    visits: list[Visit] = field(default_factory=list)
    work: float = 0.0
    work_there: float = 0.0
    ended_at: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        served = [each for each in self.visits if each.status == 200]
        refused = sum(each.status in _REFUSED for each in self.visits)
        errors = Counter(
            str(each.status) for each in self.visits if each.status not in (200, *_REFUSED)
        )
        waits = [each.wait for each in served] or [0.0]
        # Those who were served after the last had come are counted for the time it took.
        last = max((each.left_at for each in served), default=self.ended_at)
        labels = sum(each.labels for each in served)
        return {
            "seconds": self.seconds,
            "came": len(self.visits),
            "labels_per_second": labels / max(self.seconds, self.seconds + last - self.ended_at),
            "p50": float(np.percentile(waits, 50)),
            "p99": float(np.percentile(waits, 99)),
            "longest": max(waits),
            "refused": refused / max(len(self.visits), 1),
            "errors": dict(errors),
            "cores": self.work / self.seconds,
            "cores_of_the_server": self.work_there / self.seconds,
        }


class Load:
    """Visitors, and the workers they come to.

    Parameters
    ----------
    ports
        Where they may ask; an address always asks at the same one.
    workers, server
        Whose processor time is counted; there may be no server of ours.
    pictures
        Sent in turn.
    """

    def __init__(
        self,
        ports: list[int],
        workers: list[Serving],
        server: Triton | None,
        pictures: list[bytes],
    ) -> None:
        self._ports = ports
        self._workers = workers
        self._server = server
        self._turn = itertools.cycle(pictures)
        self._numbers = itertools.count()
        self._chance = np.random.default_rng(0)

    async def visit(self) -> Visit:
        """Send a picture, and wait for the answer."""
        number, came_at = next(self._numbers), time.perf_counter()
        status: int | str
        source = f"127.{1 + number // 62_500 % 250}.{number // 250 % 250}.{1 + number % 250}"
        port = self._ports[zlib.crc32(source.encode()) % len(self._ports)]
        try:
            asked = self._ask(source, port, next(self._turn))
            status, labels = await asyncio.wait_for(asked, _PATIENCE)
        except (OSError, EOFError, ValueError, IndexError, asyncio.TimeoutError) as error:
            status, labels = repr(error), 0
        left_at = time.perf_counter()
        return Visit(status, labels, left_at - came_at, left_at)

    async def _ask(self, source: str, port: int, picture: bytes) -> tuple[int, int]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, local_addr=(source, 0), limit=2**20
        )
        try:
            writer.write(
                b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture) + picture
            )
            answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        status = int(head.split(None, 2)[1])
        return status, len(json.load(io.BytesIO(body))["faces"]) if status == 200 else 0

    async def _phase(self, seconds: float, come: Callable[[Phase], Awaitable[None]]) -> Phase:
        phase = Phase(seconds)
        before, before_there = self._work(), _work_of(self._server)
        began = time.perf_counter()
        await come(phase)
        phase.work = self._work() - before
        phase.work_there = _work_of(self._server) - before_there
        phase.ended_at = began + seconds
        return phase

    async def memory(self, seconds: float) -> list[float]:
        """Return the megabytes of the largest worker, at so many times within some seconds."""
        taken = []
        for _ in range(_SAMPLES):
            await asyncio.sleep(seconds / _SAMPLES)
            taken.append(max(worker.memory for worker in self._workers))
        return taken

    def _work(self) -> float:
        return sum(worker.processor_seconds for worker in self._workers)

    async def always(self, seconds: float, visitors: int) -> Phase:
        """Have some visitors come again as soon as they are answered."""
        until = time.perf_counter() + seconds

        async def come(phase: Phase) -> None:
            async def again() -> None:
                while time.perf_counter() < until:
                    phase.visits.append(await self.visit())

            await asyncio.gather(*(again() for _ in range(visitors)))

        return await self._phase(seconds, come)

    async def arriving(self, seconds: float, rate: float) -> Phase:
        """Have visitors come at a rate a second, however many are here."""

        async def come(phase: Phase) -> None:
            async def one() -> None:
                phase.visits.append(await self.visit())

            here, due = set(), time.perf_counter()
            until = due + seconds
            while (due := due + self._chance.exponential(1 / rate)) < until:
                await asyncio.sleep(max(due - time.perf_counter(), 0))
                visitor = asyncio.create_task(one())
                here.add(visitor)
                visitor.add_done_callback(here.discard)
            await asyncio.gather(*here)

        return await self._phase(seconds, come)


def _tell(name: str, found: dict[str, Any]) -> None:
    print(
        f"{name:10} {found['seconds']:5.0f} s: {found['came']:6} came; "
        f"{found['labels_per_second']:6.2f} labels a second; waited {found['p50']:6.2f} s "
        f"(99 %: {found['p99']:6.2f}, longest {found['longest']:6.2f}); "
        f"{100 * found['refused']:5.1f} % sent away, errors: {found['errors'] or 0}; "
        f"{found['cores']:.2f} cores, of the server {found['cores_of_the_server']:.2f}",
        flush=True,
    )


async def _measure(load: Load, arguments: argparse.Namespace) -> dict[str, Any]:
    phases: dict[str, Any] = {}

    async def run(name: str, phase: Awaitable[Phase]) -> dict[str, Any]:
        found = phases[name] = (await phase).as_json()
        _tell(name, found)
        return found

    first = [await load.visit() for _ in range(2 * arguments.workers)]
    each = sum(visit.labels for visit in first) / len(first)
    print(f"{each:.2f} labels a picture; alone it takes {min(v.wait for v in first):.2f} s")
    rate = arguments.rate
    if rate is None:
        trial = await run("trial", load.always(_TRIAL, 4 * arguments.workers))
        rate = _SHARE * trial["labels_per_second"]
    sustained = run("sustained", load.arriving(arguments.seconds, rate / each))
    _, memory = await asyncio.gather(sustained, load.memory(arguments.seconds))
    print(f"MB of the largest worker meanwhile: {', '.join(f'{each:.0f}' for each in memory)}")
    too_many = min(arguments.seconds / 4, _LONGEST_OVERLOAD)
    await run("overload", load.arriving(too_many, arguments.overload * rate / each))
    await run("recovery", load.arriving(_RECOVERY, rate / each))
    return {
        "labels_per_picture": each,
        "rate": rate,
        "phases": phases,
        "memory_of_the_largest": memory,
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, help="labels a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--overload", type=float, default=5.0)
    parser.add_argument(
        "--pictures", choices=("portrait", "crowd", "telephone"), default="portrait"
    )
    parser.add_argument("--device", default="cpu", help="triton starts a server of its own")
    parser.add_argument("--offload", choices=("classifier", "both"), default="both")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--through", choices=("nginx", "haproxy"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    build(_BUILT, print)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        server, device = None, arguments.device
        if device == "triton":
            names = ["face-centerface", "person-semantic"]
            export(_BUILT, names, Path(scratch) / "models", "python")
            server = Triton(Path(scratch) / "models", Path(scratch))
            stack.callback(server.close)
            device = f"kserve://{server.address}"
        inference = f'device: "{device}", offload: {arguments.offload}'
        workers = []
        for number in range(arguments.workers):
            folder = Path(scratch) / f"worker-{number}"
            folder.mkdir()
            web = f"proxies: [127.0.0.0/8], jobs: {arguments.jobs}"
            worker = Serving(folder, _BUILT, web, inference=inference)
            workers.append(stack.enter_context(worker))
        ports = [worker.port for worker in workers]
        if arguments.through:
            proxy = Balanced(arguments.through, Path(scratch), workers)
            stack.callback(proxy.close)
            ports = [proxy.port]
        load = Load(ports, workers, server, _pictures(arguments.pictures))
        before = [worker.memory for worker in workers]
        found = asyncio.run(_measure(load, arguments))
        after = [worker.memory for worker in workers]
        most = [worker.memory_at_most for worker in workers]
        lines = [f"{a:.0f} → {b:.0f}" for a, b in zip(before, after, strict=True)]
        print(f"MB of each worker: {', '.join(lines)}; at most {max(most):.0f}")
        found |= {"memory": {"before": before, "after": after, "most": most}}
        found |= {key: str(value) for key, value in vars(arguments).items() if key != "json"}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
