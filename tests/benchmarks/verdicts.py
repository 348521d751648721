"""Stability of verdicts: on videos of people, and on photographs set in motion.

    python -m tests.benchmarks.verdicts [--json FILE]

A simulated camera that drifts, shakes, zooms and adjusts its exposure films photographs of groups.

settled after
    Seconds from a face's first classification to its settled word: the median and the longest.
changes
    Of settled words, per 20 seconds of a face's presence.
flickers
    How often a shown word was replaced and returned within a second.
naive changes
    Per 20 seconds if the best word of every classification were shown, without voting.
sure, later
    Share of the votes for the word when it settled, and of the classifications after that.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.capture.video import decode
from installation.config import loader as config
from installation.scene import Frame
from installation.vision.pipeline import open_pipeline
from installation.vision.verdict import VoteAccumulator
from tests.benchmarks.people import fetch_videos, read_photographs

Pictures = Iterator[tuple[float, NDArray[np.uint8]]]

_FPS = 15.0
_DURATION_S = 24.0
_SIZE = (1280, 720)
_GROUPS = 4
# Faces that were present for less are left out.
_MIN_PRESENT_S = 1.5


@dataclass
class _Face:
    """The best word of each classification of a face, and each change of the word shown."""

    best: list[tuple[float, int]] = field(default_factory=list)
    shown: list[tuple[float, int]] = field(default_factory=list)
    settled_after: float = np.nan
    sure: float = np.nan

    def record(self, ballot: VoteAccumulator, scores: NDArray[np.float32], at: float) -> None:
        self.best.append((at, int(scores.argmax())))
        if not self.shown or self.shown[-1][1] != ballot.winner:
            self.shown.append((at, ballot.winner))
        if ballot.settled and not self.settled:
            self.settled_after = at - self.best[0][0]
            self.sure = ballot.share(ballot.winner)

    @property
    def settled(self) -> bool:
        return not np.isnan(self.sure)

    @property
    def present_s(self) -> float:
        return self.best[-1][0] - self.best[0][0] if self.best else 0.0

    def changes(self) -> int:
        settled_at = self.best[0][0] + self.settled_after
        return sum(at > settled_at for at, _ in self.shown)

    def flickers(self) -> int:
        turns = zip(self.shown, self.shown[1:], self.shown[2:], strict=False)
        return sum(a[1] == c[1] and c[0] - b[0] < 1 for a, b, c in turns)

    def naive_changes(self) -> int:
        return sum(a[1] != b[1] for a, b in zip(self.best, self.best[1:], strict=False))

    def later(self) -> list[bool]:
        settled_at = self.best[0][0] + self.settled_after
        winner = [word for at, word in self.shown if at <= settled_at][-1]
        return [word == winner for at, word in self.best if at > settled_at]


def _set_in_motion(photograph: NDArray[np.uint8]) -> Pictures:
    random = np.random.default_rng(0)
    width, height = _SIZE
    fit = min(width / photograph.shape[1], height / photograph.shape[0])
    centre = np.array(photograph.shape[1::-1]) / 2
    shake = np.zeros(2)
    for seq in range(int(_DURATION_S * _FPS)):
        at = seq / _FPS
        shake = 0.8 * shake + random.normal(0, 1.5, 2)
        drift = np.array([np.sin(0.5 * at), 0.6 * np.sin(0.37 * at + 1)]) * 0.05 * height
        zoom, turned = fit * (1.05 + 0.1 * np.sin(0.3 * at)), 3 * np.sin(0.4 * at)
        view = np.asarray(cv2.getRotationMatrix2D(tuple(centre), turned, zoom))
        view[:, 2] += np.array(_SIZE) / 2 - centre + drift + shake
        picture = cv2.warpAffine(photograph, view, _SIZE, flags=cv2.INTER_LINEAR)
        bright = 1 + 0.15 * np.sin(0.7 * at) + random.normal(0, 0.01)
        noisy = picture * bright + random.normal(0, 3, picture.shape)
        yield at, np.clip(noisy, 0, 255).astype(np.uint8)


def _watch(pictures: Pictures) -> list[_Face]:
    """Run the pipeline on frames; record the votes of each face."""
    faces: dict[VoteAccumulator, _Face] = defaultdict(_Face)
    cast = VoteAccumulator.cast

    def listen(ballot: VoteAccumulator, scores: NDArray[np.float32], at: float) -> None:
        cast(ballot, scores, at)
        faces[ballot].record(ballot, scores, at)

    with (
        patch.object(VoteAccumulator, "cast", listen),
        open_pipeline(config.load("config.yaml")) as pipeline,
    ):
        for seq, (at, picture) in enumerate(pictures):
            pipeline.observe(Frame(seq, at, picture))
    return [face for face in faces.values() if face.present_s >= _MIN_PRESENT_S]


def _judge(faces: list[_Face]) -> dict[str, float]:
    minutes = sum(face.present_s for face in faces) / 20
    settled = [face for face in faces if face.settled]
    after = [face.settled_after for face in settled]
    later = [np.mean(face.later()) for face in settled if face.later()]
    return {
        "faces": len(faces),
        "never settled": len(faces) - len(settled),
        "settled after": float(np.median(after)),
        "at the latest": float(np.max(after)),
        "changes": sum(face.changes() for face in settled) / minutes,
        "flickers": sum(face.flickers() for face in faces),
        "naive changes": sum(face.naive_changes() for face in faces) / minutes,
        "sure": float(np.mean([face.sure for face in settled])),
        "later": float(np.mean(later)),
    }


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Measure on both kinds of video."""
    groups = [picture for picture in read_photographs(folder) if picture.shape[1] > 1800]
    return {
        "people in motion": _judge(
            [face for video in fetch_videos(folder) for face in _watch(decode(video))]
        ),
        "photographs in motion": _judge(
            [face for group in groups[:_GROUPS] for face in _watch(_set_in_motion(group))]
        ),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=Path, default=Path("engines/built/photographs"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.photographs)
    print(f"{'':16}" + "".join(f"{name:>24}" for name in found))
    for row in next(iter(found.values())):
        print(f"{row:16}" + "".join(f"{table[row]:24.2f}" for table in found.values()))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
