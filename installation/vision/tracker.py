"""Faces to tracks: who in this frame is who in the last.

Detections are matched in two passes, sure ones first, so that a face the detector is briefly
unsure of keeps its track (Zhang et al. 2022, "ByteTrack"). Boxes are smoothed and carried on by
Kalman filters of constant velocity, whose noise is told in parts of the face: near faces move and
err by more pixels than far ones. Where a face may be by now grows with the time it was hidden, and
so does what is taken for it.

``python -m tests.benchmarks.tracking`` is where the constants come from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from installation.scene import Box, Faces, Track

# Only faces the detector is this sure of may begin a track; the others may continue one.
_HIGH_SCORE = 0.5
# A track is believed when it was seen twice and the certainties add up to this: what is no face is
# found with little certainty, and seldom three times. Until then nobody hears of it.
_CONFIRM_SCORE = 1.3
# Seconds without a detection: first the box disappears, and who is not believed is forgotten; then
# the track is. A second more brings few more back, and more get somebody else's id.
_MAX_COAST_S = 0.2
_MAX_LOST_S = 2.0
# Nor is a track believed over a longer pause, whoever stands there now.
_KEPT_SEEN = 6.0
# What the detector is off, standard deviations in faces: about twice what was measured, for what
# it is off at one moment it mostly still is at the next.
_POSITION_MEASUREMENT_STD = 0.02
_SIZE_NOISE = 0.03
# How suddenly faces walk and grow otherwise than before: variance of speed gained in a second,
# faces² / s². Those who stand hardly do; of those who walk this much of their speed squared more.
_POSITION_PROCESS_NOISE = 0.15
_WALK_CHANGES = 0.3
_SIZE_CHANGES = 0.02
# How fast somebody new may be walking and growing, standard deviations in faces a second.
_PLACE_PACE = 1.0
_SIZE_PACE = 0.2
# When a detection is compared with a track, a face half hidden may be off by this much, in faces;
# the size, as a logarithm, by this much; and the sum of both squared by this much in all.
_PLACE_UNLIKE = 0.15
_SIZE_UNLIKE = 0.1
_GATE = 8.0


@dataclass(slots=True)
class _Covariance:
    """Covariance of a place and its speed, faces² and seconds, the same across and down."""

    place: float
    both: float
    speed: float

    def grow(self, seconds: float, changes: float) -> None:
        self.place += seconds * (2 * self.both + seconds * (self.speed + changes * seconds / 3))
        self.both += seconds * (self.speed + changes * seconds / 2)
        self.speed += seconds * changes

    def shrink(self, noise: float) -> tuple[float, float]:
        """Return how much of a surprise moves the place, and by how much a second the speed."""
        gain, push = self.place / (self.place + noise), self.both / (self.place + noise)
        self.speed -= push * self.both
        self.place *= 1 - gain
        self.both *= 1 - gain
        return gain, push


@dataclass(slots=True)
class _TrackState:
    """A face and where it is going: its centre, width and height, and how fast they change."""

    id: int
    state: list[float]
    certainty: float
    at: float
    seen_at: float
    speed: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0, 0.0])
    place: _Covariance = field(
        default_factory=lambda: _Covariance(_POSITION_MEASUREMENT_STD**2, 0.0, _PLACE_PACE**2)
    )
    growing: _Covariance = field(
        default_factory=lambda: _Covariance(_SIZE_NOISE**2, 0.0, _SIZE_PACE**2)
    )
    # What was last told of it, once it is believed.
    track: Track | None = None

    def carry_on(self, at: float) -> None:
        seconds = at - self.at
        (x, y, w, h), (vx, vy, vw, vh) = self.state, self.speed
        # A box that shrank because it was being hidden must not shrink to nothing meanwhile.
        w, h = max(w + vw * seconds, w / 2), max(h + vh * seconds, h / 2)
        self.state = [x + vx * seconds, y + vy * seconds, w, h]
        walk = (vx * vx + vy * vy) / ((w + h) / 2) ** 2
        self.place.grow(seconds, _POSITION_PROCESS_NOISE + _WALK_CHANGES * walk)
        self.growing.grow(seconds, _SIZE_CHANGES)
        self.at = at

    def correct(self, found: list[float], score: float, period: float) -> None:
        (x, y, w, h), (vx, vy, vw, vh) = self.state, self.speed
        dx, dy, dw, dh = found[0] - x, found[1] - y, found[2] - w, found[3] - h
        gain, push = self.place.shrink(_POSITION_MEASUREMENT_STD**2)
        x, y, vx, vy = x + gain * dx, y + gain * dy, vx + push * dx, vy + push * dy
        gain, push = self.growing.shrink(_SIZE_NOISE**2)
        w, h, vw, vh = w + gain * dw, h + gain * dh, vw + push * dw, vh + push * dh
        self.state, self.speed = [x, y, w, h], [vx, vy, vw, vh]
        self.seen_at = self.at
        self.certainty += score
        if self.certainty >= _CONFIRM_SCORE:
            self.track = self._to_track(period)

    def _to_track(self, period: float) -> Track:
        box, velocity = _sides(self.state), _sides(self.speed)
        last = self.track
        if last is None or self.at - last.at > _MAX_COAST_S:
            return Track(self.id, self.at, box, velocity, None)
        a, b, c, d = last.box_at(self.at + period)
        drift = (
            a - box[0] - velocity[0] * period,
            b - box[1] - velocity[1] * period,
            c - box[2] - velocity[2] * period,
            d - box[3] - velocity[3] * period,
        )
        return Track(self.id, self.at, box, velocity, None, drift, period)


class Tracker:
    """Follows faces; ids count up from 1 and are never used twice."""

    def __init__(self) -> None:
        self._paths: list[_TrackState] = []
        self._next_id = 1
        self._looked_at = -np.inf

    def update(self, faces: Faces, at: float) -> tuple[Track, ...]:
        """Take in what was found in a frame.

        Parameters
        ----------
        faces
            Of this frame.
        at
            When it was captured, monotonic seconds; later than the last.

        Returns
        -------
        tuple of Track
            The faces believed to be in view, by id, without verdicts.
        """
        self._paths = [path for path in self._paths if self._remembered(path, at)]
        period = at - self._looked_at
        self._looked_at = at
        for path in self._paths:
            path.carry_on(at)
        found = np.concatenate(
            [(faces.xyxy[:, :2] + faces.xyxy[:, 2:]) / 2, faces.xyxy[:, 2:] - faces.xyxy[:, :2]], 1
        ).astype(np.float64)
        sure = faces.scores >= _HIGH_SCORE
        waiting, new = self._match(self._paths, found[sure], faces.scores[sure], period)
        self._match(waiting, found[~sure], faces.scores[~sure], period)
        for box, score in new:
            self._paths.append(_TrackState(self._next_id, box, score, at, at))
            self._next_id += 1
        return tuple(
            path.track
            for path in self._paths
            if path.track is not None and at - path.seen_at <= _MAX_COAST_S
        )

    def _remembered(self, path: _TrackState, at: float) -> bool:
        # Should the clock be set back, all begins anew.
        if at < self._looked_at:
            return False
        # A slow detector is no reason to forget those it saw the last time it looked.
        if path.seen_at == self._looked_at:
            return at - path.seen_at <= _KEPT_SEEN
        return at - path.seen_at <= (_MAX_LOST_S if path.track else _MAX_COAST_S)

    @staticmethod
    def _match(
        paths: list[_TrackState],
        found: NDArray[np.float64],
        scores: NDArray[np.float32],
        period: float,
    ) -> tuple[list[_TrackState], list[tuple[list[float], float]]]:
        """Pair paths with faces, the likest first; return the paths and faces left over."""
        faces = list(zip(found.tolist(), scores.tolist(), strict=True))
        if not paths or not faces:
            return paths, faces
        states = np.array([path.state for path in paths])
        doubts = np.array([path.place.place for path in paths])[:, None] + _PLACE_UNLIKE**2
        sizes = states[:, 2:].sum(1)[:, None]
        off = (states[:, None, :2] - found[:, :2]) / (sizes[..., None] / 2)
        grown = np.log(found[:, 2:].sum(1) / sizes)
        unlike = (off * off).sum(2) / doubts + grown * grown / _SIZE_UNLIKE**2
        # The likeliest is not the nearest in deviations: who may be anywhere is likely nowhere.
        # Best first errs no oftener here than the best of all assignments, and is quicker.
        cost = np.where(unlike < _GATE, unlike + np.log(doubts), np.inf)
        order = np.argsort(cost, axis=None, kind="stable")
        free_paths, free_faces = set(range(len(paths))), set(range(len(faces)))
        for pair in order[: int((unlike < _GATE).sum())].tolist():
            row, column = divmod(pair, len(faces))
            if row in free_paths and column in free_faces:
                paths[row].correct(*faces[column], period)
                free_paths.remove(row)
                free_faces.remove(column)
        return [paths[row] for row in sorted(free_paths)], [
            faces[column] for column in sorted(free_faces)
        ]


def _sides(state: list[float]) -> Box:
    x, y, w, h = state
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2
