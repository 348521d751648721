"""Our tracker and two others behind one interface: norfair, and ByteTrack of roboflow's trackers.

Both were tuned on the benchmark's crowds with seeds that are not measured, one parameter after the
other, for the fewest id switches, both as shown and immediately. Converting detections to their
input is not timed; reading all boxes once is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from installation.scene import MAX_PREDICTION_S, Faces, Track
from installation.vision.tracker import Tracker
from tests.benchmarks.crowds import Array

Shown = tuple[NDArray[np.intp], Array]


_NORFAIR_MAX_LOST_S = 1.5  # 0.5 to 2 were tried
_NORFAIR_DISTANCE = 0.8  # 1 - IoU; 0.7 to 0.95 were tried
_NORFAIR_Q, _NORFAIR_R = 1.0, 4.0  # 0.1 to 3, 1 to 4; its defaults: 0.1, 4
_BYTETRACK_MAX_LOST_S = 2.5  # 1 to 2.5
_BYTETRACK_IOU = 0.1  # 0.05 to 0.2, and DIoU from -0.4
_BYTETRACK_HIGH_SCORE = 0.5  # to start a track, and for the first pass; 0.4 to 0.7


class Answer(Protocol):
    """A tracker's answer to a detection."""

    def at(self, time: float) -> Shown:
        """Return ids, int (N,), and boxes, float64 (N, 4), to show at a time."""


class TrackerUnderTest(Protocol):
    """A tracker; `seconds` collects the duration of each update."""

    name: str
    seconds: list[float]

    def update(self, faces: Faces, at: float) -> tuple[Answer, ...]:
        """Process a detection; return one answer for each way to show its boxes."""


@dataclass(frozen=True, slots=True)
class _Ours:
    tracks: tuple[Track, ...]

    def at(self, time: float) -> Shown:
        shown = [track for track in self.tracks if not track.is_stale(time)]
        ids = np.array([track.id for track in shown], np.intp)
        # At the time of the detection, as detected: without smoothing.
        boxes = [each.box if time == each.at else each.box_at(time) for each in shown]
        return ids, np.array(boxes).reshape(-1, 4)


@dataclass(frozen=True, slots=True)
class _Theirs:
    when: float
    ids: NDArray[np.intp]
    boxes: Array
    speeds: Array | None

    def at(self, time: float) -> Shown:
        if self.speeds is None:
            return self.ids, self.boxes
        return self.ids, self.boxes + self.speeds * min(time - self.when, MAX_PREDICTION_S)


class Ours:
    """The installation's tracker."""

    name = "ours"

    def __init__(self, rate: float) -> None:
        self._tracker = Tracker()
        self.seconds: list[float] = []

    def update(self, faces: Faces, at: float) -> tuple[Answer, ...]:
        """See `TrackerUnderTest.update`."""
        began = time.perf_counter()
        tracks = self._tracker.update(faces, at)
        for track in tracks:
            track.box_at(at)
        self.seconds.append(time.perf_counter() - began)
        return (_Ours(tracks),)


class Norfair:
    """norfair: its `estimate`, and that extrapolated with its filter's velocity."""

    name = "norfair"

    def __init__(self, rate: float) -> None:
        import norfair

        self._norfair = norfair
        self._rate = rate
        self._tracker = norfair.Tracker(
            distance_function="iou",
            distance_threshold=_NORFAIR_DISTANCE,
            hit_counter_max=max(round(_NORFAIR_MAX_LOST_S * rate), 2),
            initialization_delay=1,
            filter_factory=norfair.OptimizedKalmanFilterFactory(R=_NORFAIR_R, Q=_NORFAIR_Q),
        )
        self.seconds: list[float] = []

    def update(self, faces: Faces, at: float) -> tuple[Answer, ...]:
        """See `TrackerUnderTest.update`."""
        corners = faces.xyxy.astype(np.float64).reshape(-1, 2, 2)
        found = [self._norfair.Detection(points) for points in corners]
        began = time.perf_counter()
        tracked = self._tracker.update(found)
        boxes = [each.estimate for each in tracked]
        self.seconds.append(time.perf_counter() - began)
        ids = np.array([each.id for each in tracked], np.intp)
        places = np.array(boxes, np.float64).reshape(-1, 4)
        speeds = np.array([each.filter.x[4:].ravel() for each in tracked]).reshape(-1, 4)
        return _Theirs(at, ids, places, None), _Theirs(at, ids, places, speeds * self._rate)


class ByteTrack:
    """ByteTrack: the boxes it returns, and its filter's extrapolated with its velocity."""

    name = "ByteTrack"

    def __init__(self, rate: float) -> None:
        import supervision
        import trackers

        self._detections = supervision.Detections
        self._rate = rate
        self._tracker: Any = trackers.ByteTrackTracker(
            frame_rate=rate,
            lost_track_buffer=round(_BYTETRACK_MAX_LOST_S * 30),
            track_activation_threshold=_BYTETRACK_HIGH_SCORE,
            high_conf_det_threshold=_BYTETRACK_HIGH_SCORE,
            minimum_iou_threshold=_BYTETRACK_IOU,
            minimum_consecutive_frames=2,
        )
        self.seconds: list[float] = []

    def update(self, faces: Faces, at: float) -> tuple[Answer, ...]:
        """See `TrackerUnderTest.update`."""
        found = self._detections(
            xyxy=faces.xyxy, confidence=faces.scores, class_id=np.zeros(len(faces), int)
        )
        began = time.perf_counter()
        tracked = self._tracker.update(found, timestamp=at)
        self.seconds.append(time.perf_counter() - began)
        known = tracked.tracker_id >= 0
        ids = tracked.tracker_id[known].astype(np.intp)
        states = {
            each.tracker_id: each.state_estimator.kf.state.ravel() for each in self._tracker.tracks
        }
        state = np.array([states[id_] for id_ in ids], np.float64).reshape(-1, 8)
        boxes = tracked.xyxy[known].astype(np.float64).reshape(-1, 4)
        filtered = _Theirs(at, ids, state[:, :4], state[:, 4:] * self._rate)
        return _Theirs(at, ids, boxes, None), filtered


TRACKERS = (Ours, Norfair, ByteTrack)
