"""Faces to tracks: which face of this frame is which of the last one.

Detections are matched in two passes, high scores first, so that a face with a briefly low score
keeps its track (Zhang et al. 2022, "ByteTrack"). Boxes are filtered and predicted by Kalman filters
with a constant-velocity model. Their noise is relative to the size of the face, because near faces
move and jitter by more pixels than far ones. The position variance grows while a face is hidden,
and with it the area in which detections are matched.

The constants were tuned with ``python -m tests.benchmarks.tracking``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from installation.scene import Box, Faces, Track

# Only detections with this score may start a track; lower ones may continue one.
_HIGH_SCORE = 0.5
# A track is confirmed when it has been detected twice and the scores add up to this: false
# detections have low scores and seldom occur three times. Unconfirmed tracks are not reported.
_CONFIRM_SCORE = 1.3
# How long a track coasts, that is, is reported without a detection; unconfirmed tracks are deleted
# then. Confirmed ones can be found again until _MAX_LOST_S: a second more recovers few tracks and
# more often gives a track to somebody else.
_MAX_COAST_S = 0.2
_MAX_LOST_S = 2.0
# Maximum pause between detections, if the detector is slow, across which a track may continue.
_MAX_PAUSE_S = 6.0
# Standard deviations of detections, in face sizes: about twice the measured ones, because errors of
# consecutive detections are correlated.
_POSITION_MEASUREMENT_STD = 0.02
_SIZE_MEASUREMENT_STD = 0.03
# Process noise: variance of the velocity gained in one second, faces² / s². Standing people hardly
# change their velocity; for walking ones this multiple of their squared speed is added.
_POSITION_PROCESS_NOISE = 0.15
_WALKING_PROCESS_NOISE = 0.3
_SIZE_PROCESS_NOISE = 0.02
# Standard deviations of a new track's velocity and growth, faces / s.
_INITIAL_SPEED_STD = 1.0
_INITIAL_GROWTH_STD = 0.2
# Additional deviation of detections when matching, because faces may be partly hidden: of the
# position, in face sizes, and of the logarithm of the size. Pairs whose squared normalised distance
# exceeds the gate are not matched.
_POSITION_MATCH_STD = 0.15
_SIZE_MATCH_STD = 0.1
_GATE = 8.0


@dataclass(slots=True)
class _Covariance:
    """Covariance of a value and its rate of change, in face sizes and seconds; same for x and y."""

    value: float
    cross: float
    rate: float

    def predict(self, seconds: float, process_noise: float) -> None:
        self.value += seconds * (
            2 * self.cross + seconds * (self.rate + process_noise * seconds / 3)
        )
        self.cross += seconds * (self.rate + process_noise * seconds / 2)
        self.rate += seconds * process_noise

    def update(self, measurement_noise: float) -> tuple[float, float]:
        """Return the Kalman gains for the value and for its rate."""
        gain = self.value / (self.value + measurement_noise)
        rate_gain = self.cross / (self.value + measurement_noise)
        self.rate -= rate_gain * self.cross
        self.value *= 1 - gain
        self.cross *= 1 - gain
        return gain, rate_gain


@dataclass(slots=True)
class _TrackState:
    """State of one Kalman filter: a face's centre, width and height, and their rates of change."""

    id: int
    state: list[float]
    total_score: float
    at: float
    detected_at: float
    velocity: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0, 0.0])
    position: _Covariance = field(
        default_factory=lambda: _Covariance(
            _POSITION_MEASUREMENT_STD**2, 0.0, _INITIAL_SPEED_STD**2
        )
    )
    size: _Covariance = field(
        default_factory=lambda: _Covariance(_SIZE_MEASUREMENT_STD**2, 0.0, _INITIAL_GROWTH_STD**2)
    )
    # The latest reported track; None until the track is confirmed.
    track: Track | None = None

    def predict(self, at: float) -> None:
        seconds = at - self.at
        (x, y, w, h), (vx, vy, vw, vh) = self.state, self.velocity
        # The box of a face that is being hidden shrinks; it must not be extrapolated to nothing.
        w, h = max(w + vw * seconds, w / 2), max(h + vh * seconds, h / 2)
        self.state = [x + vx * seconds, y + vy * seconds, w, h]
        squared_speed = (vx * vx + vy * vy) / ((w + h) / 2) ** 2
        self.position.predict(
            seconds, _POSITION_PROCESS_NOISE + _WALKING_PROCESS_NOISE * squared_speed
        )
        self.size.predict(seconds, _SIZE_PROCESS_NOISE)
        self.at = at

    def update(self, detection: list[float], score: float, period: float) -> None:
        (x, y, w, h), (vx, vy, vw, vh) = self.state, self.velocity
        dx, dy, dw, dh = detection[0] - x, detection[1] - y, detection[2] - w, detection[3] - h
        gain, rate_gain = self.position.update(_POSITION_MEASUREMENT_STD**2)
        x, y, vx, vy = x + gain * dx, y + gain * dy, vx + rate_gain * dx, vy + rate_gain * dy
        gain, rate_gain = self.size.update(_SIZE_MEASUREMENT_STD**2)
        w, h, vw, vh = w + gain * dw, h + gain * dh, vw + rate_gain * dw, vh + rate_gain * dh
        self.state, self.velocity = [x, y, w, h], [vx, vy, vw, vh]
        self.detected_at = self.at
        self.total_score += score
        if self.total_score >= _CONFIRM_SCORE:
            self.track = self._to_track(period)

    def _to_track(self, period: float) -> Track:
        box, velocity = _sides(self.state), _sides(self.velocity)
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
    """Follows faces; ids count up from 1 and are never reused."""

    def __init__(self) -> None:
        self._states: list[_TrackState] = []
        self._next_id = 1
        self._updated_at = -np.inf

    def update(self, faces: Faces, at: float) -> tuple[Track, ...]:
        """Match a frame's faces to tracks.

        Parameters
        ----------
        faces
            Faces detected in the frame.
        at
            When the frame was captured, monotonic seconds; later than the last one.

        Returns
        -------
        tuple of Track
            Confirmed tracks in view, in order of id, without verdicts.
        """
        self._states = [state for state in self._states if self._is_alive(state, at)]
        period = at - self._updated_at
        self._updated_at = at
        for state in self._states:
            state.predict(at)
        detections = np.concatenate(
            [(faces.xyxy[:, :2] + faces.xyxy[:, 2:]) / 2, faces.xyxy[:, 2:] - faces.xyxy[:, :2]], 1
        ).astype(np.float64)
        high = faces.scores >= _HIGH_SCORE
        unmatched, new = self._match(self._states, detections[high], faces.scores[high], period)
        self._match(unmatched, detections[~high], faces.scores[~high], period)
        for detection, score in new:
            self._states.append(_TrackState(self._next_id, detection, score, at, at))
            self._next_id += 1
        return tuple(
            state.track
            for state in self._states
            if state.track is not None and at - state.detected_at <= _MAX_COAST_S
        )

    def _is_alive(self, state: _TrackState, at: float) -> bool:
        # Start over if time runs backwards.
        if at < self._updated_at:
            return False
        # A slow detector is no reason to drop tracks that it detected last time.
        if state.detected_at == self._updated_at:
            return at - state.detected_at <= _MAX_PAUSE_S
        return at - state.detected_at <= (_MAX_LOST_S if state.track else _MAX_COAST_S)

    @staticmethod
    def _match(
        states: list[_TrackState],
        detections: NDArray[np.float64],
        scores: NDArray[np.float32],
        period: float,
    ) -> tuple[list[_TrackState], list[tuple[list[float], float]]]:
        """Update states with the detections that match them; return what was not matched."""
        faces = list(zip(detections.tolist(), scores.tolist(), strict=True))
        if not states or not faces:
            return states, faces
        boxes = np.array([state.state for state in states])
        variances = np.array([state.position.value for state in states])[:, None]
        variances = variances + _POSITION_MATCH_STD**2
        sizes = boxes[:, 2:].sum(1)[:, None]
        offsets = (boxes[:, None, :2] - detections[:, :2]) / (sizes[..., None] / 2)
        growth = np.log(detections[:, 2:].sum(1) / sizes)
        distances = (offsets * offsets).sum(2) / variances + growth * growth / _SIZE_MATCH_STD**2
        # The negative log-likelihood: the logarithm penalises tracks that may be anywhere. Greedy
        # matching makes no more errors here than the optimal assignment, and is faster.
        cost = np.where(distances < _GATE, distances + np.log(variances), np.inf)
        order = np.argsort(cost, axis=None, kind="stable")
        free_states, free_faces = set(range(len(states))), set(range(len(faces)))
        for pair in order[: int((distances < _GATE).sum())].tolist():
            row, column = divmod(pair, len(faces))
            if row in free_states and column in free_faces:
                states[row].update(*faces[column], period)
                free_states.remove(row)
                free_faces.remove(column)
        return [states[row] for row in sorted(free_states)], [
            faces[column] for column in sorted(free_faces)
        ]


def _sides(state: list[float]) -> Box:
    x, y, w, h = state
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2
