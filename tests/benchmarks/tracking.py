"""Our tracker beside norfair and ByteTrack, on crowds with ground truth.

From the root of the repository, with the engines built (`installation engines build`)::

    python -m tests.benchmarks.tracking [--json FILE] [--each] [VIDEO ...]

Every frame is shown; the detector runs on some of them, and its result is available when it runs
again. Boxes are scored in every frame as shown and, in favour of trackers that do not predict, also
immediately in the frame of the detection. A star marks boxes that a tracker does not return itself:
those of its filter, extrapolated with the filter's velocity as ours are.
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

from installation.config.loader import load
from installation.scene import Faces, Frame
from installation.vision.detector import Detector
from installation.vision.pipeline import open_vision
from tests.benchmarks.crowds import (
    Painted,
    SimulatedDetector,
    Truth,
    World,
    crossings,
    passers_by,
    wanderers,
)
from tests.benchmarks.scoring import Score, Scorer
from tests.benchmarks.tracker_baselines import TRACKERS, Answer, TrackerUnderTest

_SECONDS = 32.0
# The lowest score that reaches the tracker in the installation.
_THRESHOLD = 0.3
_FREEZE_EVERY_S, _FREEZE_S = 5.0, 0.5  # where frames are dropped
_DROP_RATE = 0.15
# norfair requires an older rich than trackers does, but works with the newer one.
_INSTALL = "pip install -e '.[benchmark]' && pip install --no-deps 'norfair>=2.1,<3'"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition to measure under.

    Attributes
    ----------
    name
        Title of its table.
    world
        Makes the crowd from a seed.
    fps, every
        Frames per second; the detector runs on every nth of them.
    seeds
        One run for each, with other people and other detector errors.
    dropped
        Whether frames are dropped at random, and now and then half a second of them.
    noise
        Multiple of the measured noise; None: the real detector on painted frames.
    """

    name: str
    world: Callable[[int], World]
    fps: float = 60.0
    every: int = 5
    seeds: tuple[int, ...] = (1, 2, 3)
    dropped: bool = False
    noise: float | None = 1.0


@dataclass(frozen=True, slots=True)
class Recording:
    """Frames shown, and frames with detections, with their ground truth."""

    shown: tuple[tuple[float, Truth | None], ...]
    looked: tuple[tuple[float, Faces, Truth | None], ...]
    rate: float


def conditions(engines: Path) -> list[Condition]:
    """Return what is measured."""

    def painted(_seed: int) -> World:
        return Painted(engines)

    def thirty(seed: int) -> World:
        return wanderers(30, _SECONDS, seed)

    demo = Condition("demonstration, 60 fps, 12 det./s", painted)
    return [
        Condition("demonstration, real detector", painted, seeds=(1,), noise=None),
        demo,
        replace(demo, name="demonstration, 30 fps, 10 det./s", fps=30.0, every=3),
        replace(demo, name="demonstration, 15 fps, every frame", fps=15.0, every=1),
        replace(demo, name="demonstration, 60 fps, every frame", every=1),
        replace(demo, name="demonstration, dropped frames", dropped=True),
        replace(demo, name="demonstration, twice the noise", noise=2.0),
        Condition("ten, 12 det./s", lambda seed: wanderers(10, _SECONDS, seed)),
        Condition("ten, shaking camera", lambda seed: wanderers(10, _SECONDS, seed, 6.0)),
        Condition("ten, dropped frames", lambda s: wanderers(10, _SECONDS, s), dropped=True),
        Condition("crossings, 12 det./s", lambda seed: crossings(_SECONDS, seed)),
        Condition("passers-by, 12 det./s", lambda seed: passers_by(_SECONDS, seed)),
        Condition("thirty, 60 fps, 12 det./s", thirty),
        Condition("thirty, 30 fps, 15 det./s", thirty, fps=30.0, every=2),
        Condition("thirty, 15 fps, every frame", thirty, fps=15.0, every=1),
        Condition("thirty, 60 fps, 30 det./s", thirty, every=2),
    ]


def record(condition: Condition, seed: int, detector: Detector) -> Recording:
    """Run the detector on a crowd."""
    world = condition.world(seed)
    rng = np.random.default_rng(seed)
    simulated = SimulatedDetector(seed + 1000, condition.noise or 1.0)
    shown, looked = [], []
    for number in range(round(_SECONDS * condition.fps)):
        at = number / condition.fps
        lost = rng.uniform() < _DROP_RATE or at % _FREEZE_EVERY_S > _FREEZE_EVERY_S - _FREEZE_S
        if condition.dropped and lost:
            continue
        truth = world.truth(at)
        shown.append((at, truth))
        if number % condition.every == 0:
            if condition.noise is None and isinstance(world, Painted):
                looked.append((at, detector.find(Frame(number, at, world.crowd.paint(at))), truth))
            else:
                looked.append((at, simulated.find(truth, at), truth))
    return Recording(tuple(shown), tuple(looked), condition.fps / condition.every)


def record_video(path: Path, detector: Detector) -> Recording:
    """Run the detector on every frame of a video, which has no ground truth."""
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
        sys.exit(f"{path}: no frame can be read")
    return Recording(tuple((at, None) for at, _, _ in looked), tuple(looked), fps)


@dataclass(slots=True)
class Row:
    """Scores of one way to show one tracker's boxes: as shown, and immediate.

    Attributes
    ----------
    seconds
        Duration of each update.
    ids
        How many it assigned.
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


def follow(make: Callable[[float], TrackerUnderTest], recording: Recording) -> list[Row]:
    """Run a tracker on a recording and score it: a row for each way to show its boxes."""
    tracker = make(recording.rate)
    answers = [tracker.update(faces, at) for at, faces, _ in recording.looked]
    rows = []
    for way in range(len(answers[0])):
        known = [answer[way] for answer in answers]
        at_once = zip([(at, truth) for at, _, truth in recording.looked], known, strict=True)
        ids = {id_ for answer in known for id_ in answer.at(0.0)[0].tolist()}
        judged = _score(_as_shown(recording, known)), _score(at_once)
        rows.append(Row(tracker.name + "*" * way, *judged, tracker.seconds, len(ids)))
    return rows


def _as_shown(
    recording: Recording, answers: list[Answer]
) -> Iterator[tuple[tuple[float, Truth | None], Answer]]:
    """Yield each frame shown, with the latest answer available by then."""
    times = np.array([at for at, _, _ in recording.looked])
    for at, truth in recording.shown:
        latest = int(np.searchsorted(times, at + 1e-9, "right")) - 2
        if latest >= 0:
            yield (at, truth), answers[latest]


def _score(frames: Iterable[tuple[tuple[float, Truth | None], Answer]]) -> Score:
    scorer = Scorer()
    for (at, truth), answer in frames:
        if truth is None:
            scorer.add_unlabelled_frame(*answer.at(at))
        else:
            scorer.add_frame(truth, *answer.at(at), at)
    return scorer.score


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


# What can be measured without ground truth.
_UNLABELLED_COLUMNS = tuple(column for column in _COLUMNS if column[0] in ("jitter", "ids", "ms"))


def table(title: str, rows: list[Row], columns: tuple[tuple[str, str, str], ...]) -> str:
    """Return a table of figures, with times also as multiples of ours."""
    lines = [title]
    if columns == _COLUMNS:
        lines.append(f"{'':12}{'as shown':^75}   {'immediate':^31}")
    lines.append(f"{'':12}" + "  ".join(f"{head:>{_width(form)}}" for _, head, form in columns))
    ours = rows[0].figures()["ms"]
    for row in rows:
        figures = row.figures()
        cells = [f"{figures[name]:{form}}" for name, _, form in columns]
        lines.append(f"{row.name:12}" + "  ".join(cells) + f"  {figures['ms'] / ours:5.1f} x")
    return "\n".join(lines)


def _width(form: str) -> int:
    return int(form.split(".")[0])


def measure(recordings: Iterable[Recording]) -> list[Row]:
    """Run all trackers on recordings; add up the rows by name."""
    rows: dict[str, Row] = {}
    for recording in recordings:
        for make in TRACKERS:
            for row in follow(make, recording):
                rows[row.name] = rows[row.name] + row if row.name in rows else row
    return list(rows.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tracking")
    parser.add_argument("videos", nargs="*", type=Path, help="videos to track faces in as well")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--each", action="store_true", help="print a table for each condition")
    arguments = parser.parse_args()
    if not all(find_spec(name) for name in ("norfair", "trackers")):
        sys.exit(f"tracking: norfair or trackers is missing; {_INSTALL}")
    config = load(Path("config.yaml"))
    results, everything = {}, []
    with open_vision(config, config.vision.min_face_px, _THRESHOLD) as (detector, _):
        for condition in conditions(config.inference.engines):
            rows = measure(record(condition, seed, detector) for seed in condition.seeds)
            results[condition.name] = rows
            everything.append(rows)
            if arguments.each:
                print(table(condition.name, rows, _COLUMNS), end="\n\n", flush=True)
        for path in arguments.videos:
            results[str(path)] = measure([record_video(path, detector)])
            title = f"{path}; jitter includes the faces' own motion"
            print(table(title, results[str(path)], _UNLABELLED_COLUMNS), end="\n\n")
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
