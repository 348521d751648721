"""Ours beside norfair and ByteTrack, on crowds whose truth is known.

From the repository's root, with the demonstration built (`installation engines build`)::

    python -m tests.benchmarks.tracking [--json FILE] [--each] [FILM ...]

Pictures are shown as they come; the detector looks at some of them, and what it finds of one is
known when it looks at the next. Boxes are judged in every picture as shown, and, in favour of
trackers that do not predict, also as answered at once for the very picture looked at. A star marks
boxes a peer does not show by itself: its filter's, carried on by the speed there as ours are.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from installation.config.model import load
from installation.scene import Faces, Frame
from installation.vision.detector import Detector
from installation.vision.pipeline import open_vision
from tests.benchmarks.crowds import (
    MadeUpDetector,
    Painted,
    Truth,
    World,
    crossings,
    passers_by,
    wanderers,
)
from tests.benchmarks.scoring import Judge, Score
from tests.benchmarks.tracker_baselines import PEERS, Answer, Peer

_SECONDS = 32.0
# The lowest certainty the product lets the tracker see.
_THRESHOLD = 0.3
_FROZEN_EVERY, _FROZEN_FOR = 5.0, 0.5  # seconds, where pictures are dropped
_DROPPED = 0.15
# norfair asks for an older rich than trackers does, and works with the newer.
_INSTALL = "pip install -e '.[benchmark]' && pip install --no-deps 'norfair>=2.1,<3'"


@dataclass(frozen=True, slots=True)
class Condition:
    """What is looked at, and how.

    Attributes
    ----------
    name
        For the table.
    world
        Who is there, by seed.
    fps, every
        Pictures a second; the detector looks at one in so many.
    seeds
        As often with other people and other mistakes of the detector.
    dropped
        Whether pictures are lost, and now and then half a second of them.
    noise
        Multiple of the noise measured; None: the real detector looks at painted pictures.
    """

    name: str
    world: Callable[[int], World]
    fps: float = 60.0
    every: int = 5
    seeds: tuple[int, ...] = (1, 2, 3)
    dropped: bool = False
    noise: float | None = 1.0


@dataclass(frozen=True, slots=True)
class Take:
    """What a condition came to: the pictures shown, and those looked at with what was found."""

    shown: tuple[tuple[float, Truth | None], ...]
    looked: tuple[tuple[float, Faces, Truth | None], ...]
    rate: float


def conditions(engines: Path) -> list[Condition]:
    """List what is measured."""

    def painted(_seed: int) -> World:
        return Painted(engines)

    def thirty(seed: int) -> World:
        return wanderers(30, _SECONDS, seed)

    demo = Condition("demonstration, 60 fps, 12 looks/s", painted)
    return [
        Condition("demonstration, real detector", painted, seeds=(1,), noise=None),
        demo,
        replace(demo, name="demonstration, 30 fps, 10 looks/s", fps=30.0, every=3),
        replace(demo, name="demonstration, 15 fps, each looked at", fps=15.0, every=1),
        replace(demo, name="demonstration, 60 fps, each looked at", every=1),
        replace(demo, name="demonstration, pictures dropped", dropped=True),
        replace(demo, name="demonstration, twice the noise", noise=2.0),
        Condition("ten, 12 looks/s", lambda seed: wanderers(10, _SECONDS, seed)),
        Condition("ten, trembling camera", lambda seed: wanderers(10, _SECONDS, seed, 6.0)),
        Condition("ten, pictures dropped", lambda s: wanderers(10, _SECONDS, s), dropped=True),
        Condition("crossings, 12 looks/s", lambda seed: crossings(_SECONDS, seed)),
        Condition("passers-by, 12 looks/s", lambda seed: passers_by(_SECONDS, seed)),
        Condition("thirty, 60 fps, 12 looks/s", thirty),
        Condition("thirty, 30 fps, 15 looks/s", thirty, fps=30.0, every=2),
        Condition("thirty, 15 fps, each looked at", thirty, fps=15.0, every=1),
        Condition("thirty, 60 fps, 30 looks/s", thirty, every=2),
    ]


def record(condition: Condition, seed: int, detector: Detector) -> Take:
    """Let the crowd walk and the detector look."""
    world = condition.world(seed)
    rng = np.random.default_rng(seed)
    made_up = MadeUpDetector(seed + 1000, condition.noise or 1.0)
    shown, looked = [], []
    for number in range(round(_SECONDS * condition.fps)):
        at = number / condition.fps
        lost = rng.uniform() < _DROPPED or at % _FROZEN_EVERY > _FROZEN_EVERY - _FROZEN_FOR
        if condition.dropped and lost:
            continue
        truth = world.truth(at)
        shown.append((at, truth))
        if number % condition.every == 0:
            if condition.noise is None and isinstance(world, Painted):
                looked.append((at, detector.find(Frame(number, at, world.crowd.paint(at))), truth))
            else:
                looked.append((at, made_up.find(truth, at), truth))
    return Take(tuple(shown), tuple(looked), condition.fps / condition.every)


def film(path: Path, detector: Detector) -> Take:
    """Look at every picture of a film; nothing is known of the truth."""
    video = cv2.VideoCapture(str(path))
    fps = video.get(cv2.CAP_PROP_FPS) or 30.0
    looked = []
    while True:
        there, picture = video.read()
        if not there:
            break
        at = len(looked) / fps
        frame = Frame(len(looked), at, np.asarray(picture, np.uint8))
        looked.append((at, detector.find(frame), None))
    if not looked:
        sys.exit(f"{path}: no pictures can be read")
    return Take(tuple((at, None) for at, _, _ in looked), tuple(looked), fps)


@dataclass(slots=True)
class Row:
    """One way to show one tracker's boxes, as shown and as answered at once.

    Attributes
    ----------
    seconds
        What each update took.
    ids
        How many were given.
    """

    name: str
    shown: Score
    at_once: Score
    seconds: list[float]
    ids: int

    def __add__(self, other: Row) -> Row:
        return Row(
            self.name,
            self.shown + other.shown,
            self.at_once + other.at_once,
            self.seconds + other.seconds,
            self.ids + other.ids,
        )

    def figures(self) -> dict[str, float]:
        """Return the columns by name."""
        once = {f"once_{name}": value for name, value in self.at_once.figures().items()}
        cost = {"ids": self.ids, "ms": 1000 * float(np.median(self.seconds))}
        return {**self.shown.figures(), **once, **cost}


def follow(make: Callable[[float], Peer], take: Take) -> list[Row]:
    """Run a tracker over a take and judge it: a row for each way to show its boxes."""
    peer = make(take.rate)
    answers = [peer.update(faces, at) for at, faces, _ in take.looked]
    rows = []
    for way in range(len(answers[0])):
        known = [answer[way] for answer in answers]
        at_once = zip([(at, truth) for at, _, truth in take.looked], known, strict=True)
        ids = {id_ for answer in known for id_ in answer.at(0.0)[0].tolist()}
        judged = _judge(_as_shown(take, known)), _judge(at_once)
        rows.append(Row(peer.name + "*" * way, *judged, peer.seconds, len(ids)))
    return rows


def _as_shown(
    take: Take, answers: list[Answer]
) -> Iterator[tuple[tuple[float, Truth | None], Answer]]:
    """Yield each picture shown with the last answer known by then."""
    times = np.array([at for at, _, _ in take.looked])
    for at, truth in take.shown:
        latest = int(np.searchsorted(times, at + 1e-9, "right")) - 2
        if latest >= 0:
            yield (at, truth), answers[latest]


def _judge(pictures: Iterable[tuple[tuple[float, Truth | None], Answer]]) -> Score:
    judge = Judge()
    for (at, truth), answer in pictures:
        if truth is None:
            judge.watch(*answer.at(at))
        else:
            judge.look(truth, *answer.at(at), at)
    return judge.score


_COLUMNS = (
    ("switches", "switches", "8.0f"),
    ("stolen", "stolen", "6.0f"),
    ("fragments", "breaks", "6.0f"),
    ("missed", "missed", "6.1%"),
    ("false", "false", "6.2%"),
    ("error", "1-IoU", "5.2f"),
    ("centre", "centre", "6.2f"),
    ("jitter", "jitter", "6.2f"),
    ("new_ms", "new ms", "6.0f"),
    ("once_switches", "switches", "8.0f"),
    ("once_stolen", "stolen", "6.0f"),
    ("once_error", "1-IoU", "5.2f"),
    ("once_jitter", "jitter", "6.2f"),
    ("ids", "ids", "5.0f"),
    ("ms", "ms", "5.2f"),
)


# All that can be told without the truth.
_TRUTHLESS = tuple(column for column in _COLUMNS if column[0] in ("jitter", "ids", "ms"))


def table(title: str, rows: list[Row], columns: tuple[tuple[str, str, str], ...]) -> str:
    """Lay out figures, times also as multiples of ours."""
    lines = [title]
    if columns == _COLUMNS:
        lines.append(f"{'':12}{'as shown':^75}   {'at once':^31}")
    lines.append(f"{'':12}" + "  ".join(f"{head:>{_wide(form)}}" for _, head, form in columns))
    ours = rows[0].figures()["ms"]
    for row in rows:
        figures = row.figures()
        cells = [f"{figures[name]:{form}}" for name, _, form in columns]
        lines.append(f"{row.name:12}" + "  ".join(cells) + f"  {figures['ms'] / ours:5.1f} x")
    return "\n".join(lines)


def _wide(form: str) -> int:
    return int(form.split(".")[0])


def measure(takes: Iterable[Take]) -> list[Row]:
    """Run all trackers over takes; add up the rows by name."""
    rows: dict[str, Row] = {}
    for take in takes:
        for make in PEERS:
            for row in follow(make, take):
                rows[row.name] = rows[row.name] + row if row.name in rows else row
    return list(rows.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tracking")
    parser.add_argument("films", nargs="*", type=Path, help="films to follow faces in as well")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--each", action="store_true", help="print a table for each condition")
    arguments = parser.parse_args()
    if not all(find_spec(name) for name in ("norfair", "trackers")):
        sys.exit(f"tracking: norfair or trackers is missing; {_INSTALL}")
    config = load(Path("config.yaml"))
    results, everything = {}, []
    with open_vision(config, config.vision.smallest_face, _THRESHOLD) as (detector, _):
        for condition in conditions(config.inference.engines):
            rows = measure(record(condition, seed, detector) for seed in condition.seeds)
            results[condition.name] = rows
            everything.append(rows)
            if arguments.each:
                print(table(condition.name, rows, _COLUMNS), end="\n\n", flush=True)
        for path in arguments.films:
            results[str(path)] = measure([film(path, detector)])
            title = f"{path}; jitter has the faces' own motion in it"
            print(table(title, results[str(path)], _TRUTHLESS), end="\n\n")
    total = [sum(rows[1:], rows[0]) for rows in zip(*everything, strict=True)]
    print(table("all conditions; errors and jitter in % of the face's width", total, _COLUMNS))
    if arguments.json:
        figures = {
            name: {row.name: row.figures() for row in rows}
            for name, rows in {**results, "all": total}.items()
        }
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
