"""Images per second of the upload page, beside the program without a server.

    python -m tests.benchmarks.throughput [--clients 1 4 16] [--images 60] [--json FILE]

The same images, in the same order, are classified by `installation.vision.still_classifier` in one
thread and sent to the server by several clients at a time, each of which sends the next image as
soon as its last one is answered. The rounds alternate, so that a busy machine is busy for all.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines.build import build
from installation.capture.stills import read_image
from installation.config import loader
from installation.vision.still_classifier import ImageClassifier, open_image_classifier
from tests.paths import ROOT
from tests.web.upload.serving import Serving, encoded

_BUILT = ROOT / "engines" / "built"
_ROUNDS = 3


def _images(folder: Path) -> list[Path]:
    """Save portraits in the sizes that visitors send."""
    portrait = cv2.imread(str(_BUILT / "demo-visitors" / "hopper.png"))
    sizes = ((512, 600), (1024, 1200), (3000, 3516))
    paths = [folder / f"{width}.jpg" for width, _ in sizes]
    for path, size in zip(paths, sizes, strict=True):
        path.write_bytes(encoded(cv2.resize(portrait, size)))
    return paths


def _figures(times_s: list[float], took_s: float) -> dict[str, float]:
    return {
        "images_per_s": len(times_s) / took_s,
        "median_s": float(np.median(times_s)),
        "p95_s": float(np.percentile(times_s, 95)),
    }


def _alone(classifier: ImageClassifier, paths: list[Path], images: int) -> dict[str, float]:
    times_s, began = [], time.monotonic()
    for path in itertools.islice(itertools.cycle(paths), images):
        started = time.monotonic()
        image = read_image(path)
        scale = min(1600 / max(image.shape[:2]), 1)
        classifier.classify(cv2.resize(image, None, fx=scale, fy=scale).astype(np.uint8))
        times_s.append(time.monotonic() - started)
    return _figures(times_s, time.monotonic() - began)


def _served(site: Serving, paths: list[Path], images: int, clients: int) -> dict[str, float]:
    files = itertools.islice(itertools.cycle([path.read_bytes() for path in paths]), images)
    lock, times_s = threading.Lock(), list[float]()

    def send(number: int) -> None:
        while True:
            with lock:
                data = next(files, None)
            if data is None:
                return
            started = time.monotonic()
            assert site.send(data, source=f"127.0.1.{number + 1}").status == 200
            times_s.append(time.monotonic() - started)

    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(send, range(clients)))
    return _figures(times_s, time.monotonic() - began)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument(
        "--clients", type=int, nargs="+", default=[1, 4, 16], help="clients at a time"
    )
    parser.add_argument("--images", type=int, default=60, help="images in each round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="save the figures there")
    arguments = parser.parse_args()
    build(_BUILT, print)
    config = loader.load(ROOT / "config.yaml")
    found: dict[str, list[dict[str, float]]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        open_image_classifier(config, 5) as classifier,
        Serving(Path(folder), _BUILT, "max_per_minute: 0, timeout_s: 600") as site,
    ):
        paths = _images(Path(folder))
        for _ in range(_ROUNDS):
            found.setdefault("without a server", []).append(
                _alone(classifier, paths, arguments.images)
            )
            for clients in arguments.clients:
                found.setdefault(f"{clients} clients", []).append(
                    _served(site, paths, arguments.images, clients)
                )
    summary: dict[str, Any] = {
        name: {key: float(np.median([each[key] for each in rounds])) for key in rounds[0]}
        for name, rounds in found.items()
    }
    print(f"| {'':16} | images/s | median s | p95 s |\n|---|---|---|---|")
    for name, figures in summary.items():
        print(
            f"| {name:16} | {figures['images_per_s']:.1f} | {figures['median_s']:.2f} | "
            f"{figures['p95_s']:.2f} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(summary))


if __name__ == "__main__":
    main()
