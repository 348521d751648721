"""Throughput and fairness of the upload page: many users at once, beside the batch command.

    python -m tests.benchmarks.load_generator [--users 50] [--pictures 300] [--turns 3]

Alternates, in one run, between ``installation classify --output`` on a folder of images, without
opening the engines, and the same images uploaded by users, each from its own address and sending
the next image as soon as the last is answered. Prints the images per second of both, their ratio,
the users' waiting times, how evenly they were served, and the status of every request (0: dropped).
On a machine that is shared, compare the CPU times rather than the wall times.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from engines.build import build
from installation.capture.demo import Crowd
from tests.paths import ROOT
from tests.web.upload.serving import Serving

_BUILT = ROOT / "engines" / "built"
# About what the page shrinks a phone's photograph to.
_SIZE = (1280, 960)
_CLASSIFY = """
import sys, time
from pathlib import Path
from installation.config import loader as config
from installation.commands.output_folder import OutputFolder, classify_file
from installation.vision.still_classifier import open_image_classifier
settings = config.load(sys.argv[1])
copies = OutputFolder(Path(sys.argv[2]), settings.theme)
paths = sorted(Path(sys.argv[3]).glob("*.jpg"))
with open_image_classifier(settings, 5) as classifier:
    classify_file(classifier, paths[0])
    began, worked = time.perf_counter(), time.process_time()
    for path in paths:
        copies.save(classify_file(classifier, path))
    print(time.perf_counter() - began, time.process_time() - worked)
"""


@dataclass
class Served:
    """Results of the users' requests."""

    waits: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    each: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0


def _pictures(folder: Path, count: int) -> list[bytes]:
    """Write images of a simulated crowd; return the files' contents."""
    crowd = Crowd(_BUILT, *_SIZE)
    made = []
    for index in range(count):
        _, data = cv2.imencode(".jpg", crowd.paint(index * 0.7), (cv2.IMWRITE_JPEG_QUALITY, 90))
        made.append(data.tobytes())
        (folder / f"{index:04}.jpg").write_bytes(made[-1])
    return made


def _batch(config: Path, pictures: Path) -> list[float]:
    """Return wall time and CPU time of the batch command, seconds."""
    with tempfile.TemporaryDirectory() as out:
        ran = subprocess.run(
            [sys.executable, "-c", _CLASSIFY, str(config), out, str(pictures)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
    return [float(each) for each in ran.stdout.split()]


def crowd(site: Serving, pictures: list[bytes], users: int) -> Served:
    """Have users upload all images, each as soon as its last one is answered."""
    served, lock, left = Served(), threading.Lock(), iter(pictures)

    def user(number: int) -> None:
        while True:
            with lock:
                picture = next(left, None)
            if picture is None:
                return
            began = time.perf_counter()
            status = send_until_answered(picture, number)
            with lock:
                served.waits.append(time.perf_counter() - began)
                served.each[number] += status == 200

    def send_until_answered(picture: bytes, number: int) -> int:
        """Send an image, again and again while the answer is to retry."""
        while True:
            try:
                answer = site.send(
                    picture, path="/api/classify?picture=true", source=f"127.0.4.{number + 1}"
                )
            except OSError:
                # Dropped, which must not happen.
                with lock:
                    served.statuses[0] += 1
                return 0
            with lock:
                served.statuses[answer.status] += 1
            if answer.status not in (429, 503):
                return answer.status
            time.sleep(int(answer.headers["Retry-After"]))

    began = time.perf_counter()
    threads = [threading.Thread(target=user, args=(number,)) for number in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    served.seconds = time.perf_counter() - began
    return served


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    build(_BUILT, print)
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "pictures"
        folder.mkdir()
        pictures = _pictures(folder, arguments.pictures)
        with Serving(Path(scratch), _BUILT, "timeout_s: 600") as site:
            alone = []
            for picture in pictures[:5]:
                began = time.perf_counter()
                site.send(picture)
                alone.append(time.perf_counter() - began)
            for _ in range(arguments.turns):
                seconds, batch_work = _batch(site.config, folder)
                batch = arguments.pictures / seconds
                before = site.processor_seconds
                served = crowd(site, pictures, arguments.users)
                web = served.statuses[200] / served.seconds
                work = (site.processor_seconds - before) / batch_work
                waits = np.percentile(served.waits, (50, 95, 100))
                shares = [served.each[user] for user in range(arguments.users)]
                found.append(
                    {
                        "batch": batch,
                        "web": web,
                        "ratio": web / batch,
                        "work": work,
                        "waits": waits.tolist(),
                        "fewest": min(shares),
                        "most": max(shares),
                        "statuses": dict(served.statuses),
                        "sent": arguments.pictures,
                    }
                )
                print(
                    f"images per second: batch {batch:.2f}, web {web:.2f} "
                    f"(ratio {web / batch:.2f}; CPU time {work:.2f} of the batch's); "
                    f"seconds until the answer: median {waits[0]:.1f}, "
                    f"95 % within {waits[1]:.1f}, all within {waits[2]:.1f} "
                    f"(alone {np.median(alone):.2f}, one after the other would take "
                    f"{arguments.users / web:.1f}); answers per user, of {arguments.users}: "
                    f"{min(shares)} to {max(shares)}; statuses {dict(served.statuses)} "
                    f"for {arguments.pictures} images",
                    flush=True,
                )
            print(f"memory: {site.memory_at_most:.0f} MB at most")
    ratios = [each["ratio"] for each in found]
    print(f"ratio of throughput, median of {len(ratios)} turns: {np.median(ratios):.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
