"""Simulated crowds with ground truth, and a simulated detector modelled on the real one.

Results of CenterFace on the demonstration's crowd (1280 x 720, 480 frames at 15 fps), relative to
the face's width and height, against the ground truth less each portrait's constant offset:

* fully visible faces: all detected, mean score 0.91 (standard deviation 0.02, minimum 0.73);
* their centres have an error of 0.7 % that changes from frame to frame and one of 1.0 % that
  changes slowly (autocorrelation 0.6 after 1/15 s), their widths and heights of 1.2 % and 1.6 %;
* 0.65 to 0.9 visible: all detected, score 0.81 (0.05); 0.5 to 0.65: 92 %, 0.77 (0.11);
  0.35 to 0.5: 57 %, 0.62 (0.12); less: never. The box covers the visible part;
* no false detections.

A gallery is harder: `SimulatedDetector` also misses faces at random, is now and then unsure of one
for several frames, and has false detections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from installation.capture.demo import Crowd
from installation.scene import Faces

Array = NDArray[np.float64]
SIZE = 1280, 720
# Standard deviations of the errors of centre, width and height: per frame, and slowly changing.
_FAST_ERROR = np.array([0.007, 0.007, 0.012, 0.012])
_SLOW_ERROR = np.array([0.010, 0.010, 0.016, 0.016])
_SLOW_ERROR_S = 1.5
_MISS_RATE = 0.02
_UNSURE_EVERY_S = 12.0  # per face
_UNSURE_FOR_S = 0.35
_FALSE_PER_S = 0.7


@dataclass(frozen=True, slots=True)
class Truth:
    """The N faces in view at a time.

    Attributes
    ----------
    who
        int (N,): identifies the person.
    xyxy
        float64 (N, 4), pixels, clipped to the frame.
    visible
        float64 (N,): visible share of the face, 0 to 1.
    """

    who: NDArray[np.intp]
    xyxy: Array
    visible: Array


class World(Protocol):
    """What the camera sees, as a function of time."""

    def truth(self, time: float) -> Truth:
        """Return the faces in view at a time in seconds."""


class Painted:
    """The demonstration's crowd."""

    def __init__(self, engines: Path) -> None:
        self.crowd = Crowd(engines, *SIZE)

    def truth(self, time: float) -> Truth:
        """See `World.truth`."""
        found = self.crowd.truth(time)
        boxes = np.array([each.box for each in found], np.float64).reshape(-1, 4)
        visible = np.array([each.visible for each in found], np.float64)
        return Truth(np.array([each.visitor for each in found], np.intp), _clip(boxes), visible)


@dataclass(frozen=True, slots=True)
class Person:
    """One person's path through the frame.

    Attributes
    ----------
    times, places, heights
        Key frames: seconds, horizontal centre and height of the face in pixels; motion between
        them starts and stops smoothly.
    lift
        Vertical offset, in face heights.
    away
        Intervals in seconds in which no face is visible.
    """

    times: Array
    places: Array
    heights: Array
    lift: float
    away: tuple[tuple[float, float], ...] = ()

    def face(self, time: float) -> tuple[float, float, float]:
        """Return centre x, centre y and height, pixels."""
        last = len(self.times) - 2
        leg = int(np.clip(np.searchsorted(self.times, time, "right") - 1, 0, last))
        part = (time - self.times[leg]) / (self.times[leg + 1] - self.times[leg])
        part = min(max(part, 0.0), 1.0)
        eased = part * part * (3 - 2 * part)
        x = self.places[leg] + eased * (self.places[leg + 1] - self.places[leg])
        height = self.heights[leg] + eased * (self.heights[leg + 1] - self.heights[leg])
        walking = abs(self.places[leg + 1] - self.places[leg]) > 1 and 0 < part < 1
        sway = 0.03 * height * np.sin(2.1 * time + 9 * self.lift)
        step = 0.05 * height * abs(np.sin(5.5 * time)) if walking else 0.0
        return x + sway, 0.42 * SIZE[1] - self.lift * height + step + 0.3 * sway, height


class Room:
    """People at various distances, who occlude one another.

    Parameters
    ----------
    people
        Who is in it.
    shake
        Camera shake, pixels; every few seconds it also takes a knock.
    """

    def __init__(self, people: list[Person], shake: float = 0.0) -> None:
        self._people = people
        self._shake = shake

    def truth(self, time: float) -> Truth:
        """See `World.truth`."""
        faces = np.array([person.face(time) for person in self._people])
        x, y, height = faces.T
        half = np.stack([0.43 * height, 0.5 * height], 1)
        centre = np.stack([x, y], 1) + self._shaken(time)
        boxes = np.concatenate([centre - half, centre + half], 1)
        across = (np.arange(10) + 0.5) / 10
        points = np.stack(np.meshgrid(across, across), -1).reshape(-1, 2)
        spots = boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])
        seen = ((spots > 0) & (spots < SIZE)).all(2)
        for near in range(len(boxes)):
            off = np.abs(spots - centre[near]) / half[near]
            head = (off[..., 0] ** 2 + (off[..., 1] / 1.15) ** 2) < 1.2
            below = spots[..., 1] > centre[near, 1] + 1.1 * half[near, 1]
            hidden = head | ((off[..., 0] < 2.2) & below)
            seen &= ~(hidden & (height < height[near])[:, None])
        visible = seen.mean(1)
        for index, person in enumerate(self._people):
            if any(begin <= time < end for begin, end in person.away):
                visible[index] = 0.0
        cut = _clip(boxes)
        there = (cut[:, 2:] - cut[:, :2]).min(1) > 2
        return Truth(np.flatnonzero(there), cut[there], visible[there])

    def _shaken(self, time: float) -> Array:
        tremble = np.array([np.sin(23 * time) + np.sin(41 * time + 1), np.sin(29 * time + 2)])
        since = time % 7.0
        knock = 3 * np.exp(-3 * since) * np.sin(30 * since)
        return self._shake * (0.5 * tremble + knock)


def wanderers(count: int, seconds: float, seed: int, shake: float = 0.0) -> Room:
    """Return people who walk, stand, approach, turn away, leave and return."""
    rng = np.random.default_rng(seed)
    people = []
    for _ in range(count):
        times, places = [0.0], [float(rng.uniform(-0.05, 1.05) * SIZE[0])]
        heights = [float(rng.uniform(45, 130))]
        while times[-1] < seconds:
            times.append(times[-1] + float(rng.uniform(0.5, 6.0)))
            places.append(places[-1])
            heights.append(heights[-1])
            goal = float(rng.uniform(-0.12, 1.12) * SIZE[0])
            height = float(np.clip(heights[-1] * rng.uniform(0.75, 1.33), 40, 150))
            pace = float(rng.uniform(0.8, 3.0)) * 0.86 * height
            times.append(times[-1] + max(abs(goal - places[-1]) / pace, 0.5))
            places.append(goal)
            heights.append(height)
        begins = np.cumsum(rng.uniform(4, 20, 8))
        away = tuple((float(at), float(at + rng.uniform(0.3, 1.5))) for at in begins)
        people.append(
            Person(
                np.array(times), np.array(places), np.array(heights), rng.uniform(-0.7, 0.9), away
            )
        )
    return Room(people, shake)


def crossings(seconds: float, seed: int) -> Room:
    """Return pairs of similar size and height who keep crossing."""
    rng = np.random.default_rng(seed)
    people = []
    for pair in range(4):
        height, lift = rng.uniform(60, 120), rng.uniform(-0.3, 0.6)
        begin, pace = 0.4 * pair, rng.uniform(1.0, 3.0) * 0.86 * height
        low = 200 * pair + rng.uniform(40, 120)
        high = low + rng.uniform(350, 500)
        times = begin + np.arange(0, seconds + 8, (high - low) / pace)
        for turned in (0, 1):
            places = np.where((np.arange(len(times)) + turned) % 2, low, high)
            sizes = np.full(len(times), height * (1.0 + 0.08 * turned))
            people.append(Person(times, places, sizes, lift + 0.12 * turned))
    return Room(people)


def passers_by(seconds: float, seed: int) -> Room:
    """Return six people who stand still, behind others who walk past."""
    rng = np.random.default_rng(seed)
    still = np.array([0.0, seconds + 8])
    people = [
        Person(still, np.full(2, 180.0 * n + 130), np.full(2, rng.uniform(60, 85)), 0.1)
        for n in range(6)
    ]
    for _ in range(3):
        height = float(rng.uniform(110, 150))
        pace = rng.uniform(1.5, 3.0) * 0.86 * height
        times = rng.uniform(0, 3) + np.arange(0, seconds + 16, 1800 / pace)
        places = np.where(np.arange(len(times)) % 2, -260.0, 1540.0)
        people.append(Person(times, places, np.full(len(times), height), 0.0))
    return Room(people)


@dataclass(slots=True)
class SimulatedDetector:
    """Returns the ground truth with a detector's errors; see above.

    Parameters
    ----------
    seed
        Of the errors.
    noise
        Multiple of the measured noise.
    """

    seed: int
    noise: float = 1.0
    _at: float = -np.inf
    _slow: dict[int, Array] = field(default_factory=dict)
    _unsure_until: dict[int, float] = field(default_factory=dict)
    _false: list[tuple[Array, float, int]] = field(default_factory=list)
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def find(self, truth: Truth, at: float) -> Faces:
        """Return the detections at a time, which must be later than the last."""
        elapsed = min(at - self._at, 10.0)
        self._at = at
        boxes, scores = [], []
        for who, box, visible in zip(truth.who, truth.xyxy, truth.visible, strict=True):
            slow, score = self._slow_noise(int(who), elapsed), self._score(visible)
            if self._unsure(int(who), elapsed, at):
                score -= self._rng.uniform(0.3, 0.6)
            is_missed = self._rng.uniform() < _MISS_RATE
            off = slow + _FAST_ERROR * self._rng.normal(size=4)
            if score <= 0.3 or is_missed:
                continue
            # The less is visible, the larger the error.
            off *= self.noise * (1 + 6 * max(0.9 - visible, 0))
            size = box[2:] - box[:2]
            centre = (box[:2] + box[2:]) / 2 + off[:2] * size
            half = size * (1 + off[2:]) / 2
            boxes.append(np.concatenate([centre - half, centre + half]))
            scores.append(score)
        for box, score in self._false_detections(elapsed):
            boxes.append(box)
            scores.append(score)
        xyxy = _clip(np.array(boxes).reshape(-1, 4)).astype(np.float32)
        order = np.argsort(-np.array(scores), kind="stable")
        found = Faces(xyxy, np.array(scores, np.float32), np.zeros((len(scores), 5, 2), np.float32))
        return found[order.astype(np.intp)]

    def _slow_noise(self, who: int, elapsed: float) -> Array:
        kept = np.exp(-elapsed / _SLOW_ERROR_S)
        fresh = _SLOW_ERROR * self._rng.normal(size=4)
        self._slow[who] = kept * self._slow.get(who, fresh) + np.sqrt(1 - kept**2) * fresh
        return self._slow[who]

    def _score(self, visible: float) -> float:
        chance, mean, spread = (
            (0.0, 0.0, 0.0)
            if visible < 0.35
            else (0.57, 0.62, 0.12)
            if visible < 0.5
            else (0.92, 0.77, 0.11)
            if visible < 0.65
            else (1.0, 0.81, 0.05)
            if visible < 0.9
            else (1.0, 0.91, 0.02)
        )
        score = float(np.clip(self._rng.normal(mean, spread), 0.0, 1.0))
        return score if self._rng.uniform() < chance else 0.0

    def _unsure(self, who: int, elapsed: float, at: float) -> bool:
        if self._rng.uniform() < elapsed / _UNSURE_EVERY_S:
            self._unsure_until[who] = at + _UNSURE_FOR_S
        return at < self._unsure_until.get(who, -np.inf)

    def _false_detections(self, elapsed: float) -> list[tuple[Array, float]]:
        """Return false detections: most last one frame, some two, in about the same place."""
        self._false = [(box, score, left - 1) for box, score, left in self._false if left > 1]
        if self._rng.uniform() < _FALSE_PER_S * min(elapsed, 0.5):
            centre = self._rng.uniform((60, 60), np.array(SIZE) - 60)
            half = self._rng.uniform(20, 50) * np.array([0.86, 1.0])
            box = np.concatenate([centre - half, centre + half])
            times = 1 if self._rng.uniform() < 0.7 else 2
            self._false.append((box, float(self._rng.uniform(0.3, 0.68)), times))
        return [
            (box + self._rng.normal(0, 1.5, 4), score + self._rng.normal(0, 0.03))
            for box, score, _ in self._false
        ]


def _clip(boxes: Array) -> Array:
    return np.clip(boxes, 0, np.tile(np.array(SIZE, np.float64), 2))
