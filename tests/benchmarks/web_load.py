"""Capacity of the upload page's instances, and what happens above it.

    python -m tests.benchmarks.web_load [OPTIONS]

Starts instances, each a process with its own port, and simulates visitors who upload images: they
arrive at random (Poisson), whether or not others have been answered, each from its own address, and
wait for their answer. Without ``--rate``, in labels per second, it first measures the capacity and
takes four fifths of it. Then follow a multiple of that rate for a quarter of the time, a minute at
most, and the first rate again. A label is an answered face. The waiting time counts from the
visitor's arrival. The load generator takes CPU time too: about 1 ms per image, and a little more
through a proxy.
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
from functools import partial
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
_TRIAL_S = 20.0
_RECOVERY_S = 15.0
_MAX_OVERLOAD_S = 60.0
# Samples of the instances' memory during the sustained load.
_MEMORY_SAMPLES = 10
# Share of the capacity for the sustained load.
_LOAD_SHARE = 0.8
# A visitor gives up after this: longer than queueing and classification may take.
_VISITOR_TIMEOUT_S = 60.0
_REJECTED = (429, 503)


def _cpu_s_of(server: Triton | None) -> float:
    """Return the CPU seconds of a server and its child processes."""
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
    """Return image files: portraits, a crowd, or portraits with many pixels."""
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
    """One visitor's result: the status or the error in its place, and the wait in seconds."""

    status: int | str
    labels: int
    wait: float
    left_at: float


@dataclass
class Phase:
    """Results of all visitors who arrived in a period."""

    seconds: float
    visits: list[Visit] = field(default_factory=list)
    cpu_s: float = 0.0
    server_cpu_s: float = 0.0
    ended_at: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        served = [each for each in self.visits if each.status == 200]
        refused = sum(each.status in _REJECTED for each in self.visits)
        errors = Counter(
            str(each.status) for each in self.visits if each.status not in (200, *_REJECTED)
        )
        waits = [each.wait for each in served] or [0.0]
        # Answers after the period count for the time they took.
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
            "cores": self.cpu_s / self.seconds,
            "cores_of_the_server": self.server_cpu_s / self.seconds,
        }


class Load:
    """Simulated visitors of some instances.

    Parameters
    ----------
    ports
        Of the instances or the proxy; a visitor's address determines which.
    instances, server
        Their CPU time is measured; None: there is no inference server of ours.
    pictures
        Image files, sent in turn.
    """

    def __init__(
        self,
        ports: list[int],
        instances: list[Serving],
        server: Triton | None,
        pictures: list[bytes],
    ) -> None:
        self._ports = ports
        self._instances = instances
        self._server = server
        self._turn = itertools.cycle(pictures)
        self._numbers = itertools.count()
        self._chance = np.random.default_rng(0)

    async def visit(self) -> Visit:
        """Upload an image and wait for the answer."""
        number, came_at = next(self._numbers), time.perf_counter()
        status: int | str
        source = f"127.{1 + number // 62_500 % 250}.{number // 250 % 250}.{1 + number % 250}"
        port = self._ports[zlib.crc32(source.encode()) % len(self._ports)]
        try:
            asked = self._ask(source, port, next(self._turn))
            status, labels = await asyncio.wait_for(asked, _VISITOR_TIMEOUT_S)
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
        before, server_before = self._cpu_s(), _cpu_s_of(self._server)
        began = time.perf_counter()
        await come(phase)
        phase.cpu_s = self._cpu_s() - before
        phase.server_cpu_s = _cpu_s_of(self._server) - server_before
        phase.ended_at = began + seconds
        return phase

    async def memory(self, seconds: float) -> list[float]:
        """Return samples of the largest instance's memory, MB, over some seconds."""
        taken = []
        for _ in range(_MEMORY_SAMPLES):
            await asyncio.sleep(seconds / _MEMORY_SAMPLES)
            taken.append(max(instance.memory for instance in self._instances))
        return taken

    def _cpu_s(self) -> float:
        return sum(instance.processor_seconds for instance in self._instances)

    async def always(self, seconds: float, visitors: int) -> Phase:
        """Simulate visitors who return as soon as they are answered."""
        until = time.perf_counter() + seconds

        async def come(phase: Phase) -> None:
            async def again() -> None:
                while time.perf_counter() < until:
                    phase.visits.append(await self.visit())

            await asyncio.gather(*(again() for _ in range(visitors)))

        return await self._phase(seconds, come)

    async def arriving(self, seconds: float, rate: float) -> Phase:
        """Simulate visitors who arrive at a rate per second, however many are waiting."""

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


def _print_phase(name: str, found: dict[str, Any]) -> None:
    print(
        f"{name:10} {found['seconds']:5.0f} s: {found['came']:6} visitors; "
        f"{found['labels_per_second']:6.2f} labels per second; wait {found['p50']:6.2f} s "
        f"(p99 {found['p99']:6.2f}, max. {found['longest']:6.2f}); "
        f"{100 * found['refused']:5.1f} % rejected, errors: {found['errors'] or 0}; "
        f"{found['cores']:.2f} cores, {found['cores_of_the_server']:.2f} of the inference server",
        flush=True,
    )


async def _measure(load: Load, arguments: argparse.Namespace) -> dict[str, Any]:
    phases: dict[str, Any] = {}

    async def run(name: str, phase: Awaitable[Phase]) -> dict[str, Any]:
        found = phases[name] = (await phase).as_json()
        _print_phase(name, found)
        return found

    first = [await load.visit() for _ in range(2 * arguments.instances)]
    each = sum(visit.labels for visit in first) / len(first)
    print(f"{each:.2f} labels per image; a single one takes {min(v.wait for v in first):.2f} s")
    rate = arguments.rate
    if rate is None:
        trial = await run("trial", load.always(_TRIAL_S, 4 * arguments.instances))
        rate = _LOAD_SHARE * trial["labels_per_second"]
    sustained = run("sustained", load.arriving(arguments.seconds, rate / each))
    _, memory = await asyncio.gather(sustained, load.memory(arguments.seconds))
    print(f"MB of the largest instance: {', '.join(f'{each:.0f}' for each in memory)}")
    overload_s = min(arguments.seconds / 4, _MAX_OVERLOAD_S)
    await run("overload", load.arriving(overload_s, arguments.overload * rate / each))
    await run("recovery", load.arriving(_RECOVERY_S, rate / each))
    return {
        "labels_per_picture": each,
        "rate": rate,
        "phases": phases,
        "memory_of_the_largest": memory,
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = partial(parser.add_argument, metavar="N")
    add("--instances", type=int, default=3, help="processes that serve")
    add("--jobs", type=int, default=2, help="web.workers of each instance")
    add("--rate", type=float, help="labels per second (default: 0.8 times the capacity)")
    add("--seconds", type=float, default=60.0, help="how long that rate lasts")
    add("--overload", type=float, default=5.0, help="multiple of the rate that follows")
    add = parser.add_argument
    kinds = ("portrait", "crowd", "telephone")
    add("--pictures", choices=kinds, default=kinds[0], help="what visitors upload")
    add("--device", choices=("cpu", "triton"), default="cpu", help="triton: a server of its own")
    add("--server", metavar="kserve://HOST:PORT", help="use this inference server")
    both = ("classifier", "both")
    add("--offload", choices=both, default="both", help="which networks the server runs")
    add("--through", choices=("nginx", "haproxy"), help="put this proxy before the instances")
    add("--json", metavar="FILE", type=Path, help="save the figures there")
    arguments = parser.parse_args()
    build(_BUILT, print)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        server, address = None, arguments.server
        if arguments.device == "triton":
            names = ["face-centerface", "person-semantic"]
            export(_BUILT, names, Path(scratch) / "models", "python")
            server = Triton(Path(scratch) / "models", Path(scratch))
            stack.callback(server.close)
            address = f"kserve://{server.address}"
        inference = "device: cpu"
        if address:
            inference = f'server: "{address}", offload: {arguments.offload}'
        instances = []
        for number in range(arguments.instances):
            folder = Path(scratch) / f"instance-{number}"
            folder.mkdir()
            web = f"proxies: [127.0.0.0/8], workers: {arguments.jobs}"
            instance = Serving(folder, _BUILT, web, inference=inference)
            instances.append(stack.enter_context(instance))
        ports = [instance.port for instance in instances]
        if arguments.through:
            proxy = Balanced(arguments.through, Path(scratch), instances)
            stack.callback(proxy.close)
            ports = [proxy.port]
        load = Load(ports, instances, server, _pictures(arguments.pictures))
        before = [instance.memory for instance in instances]
        found = asyncio.run(_measure(load, arguments))
        after = [instance.memory for instance in instances]
        most = [instance.memory_at_most for instance in instances]
        lines = [f"{a:.0f} → {b:.0f}" for a, b in zip(before, after, strict=True)]
        print(f"MB of each instance: {', '.join(lines)}; at most {max(most):.0f}")
        found |= {"memory": {"before": before, "after": after, "most": most}}
        found |= {key: str(value) for key, value in vars(arguments).items() if key != "json"}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
