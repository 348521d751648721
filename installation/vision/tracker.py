"""Faces to tracks: who in this frame is who in the last.

Detections are matched in two passes, sure ones first, so that a face the detector is briefly
unsure of keeps its track (Zhang et al. 2022, "ByteTrack"). Boxes are smoothed and their speed
estimated by an alpha-beta filter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from installation.scene import FORESIGHT, Box, Faces, Track
from installation.vision.boxes import iou

# Only faces the detector is this sure of may begin a track; the others may continue one.
_SURE = 0.5
_MIN_IOU_SURE = 0.15
_MIN_IOU_UNSURE = 0.35
# A track is believed when it was seen in this many frames; until then nobody hears of it.
_BELIEVED = 2
# Seconds without a detection: first the box disappears, then the track is forgotten.
_SHOWN_UNSEEN = 0.25
_KEPT_UNSEEN = 1.5
# Nor is a track believed over a longer pause, whoever stands there now.
_KEPT_SEEN = 6.0
# Gains of the alpha-beta filter: how much of a surprise moves the box, and its speed.
_ALPHA = 0.6
_BETA = 0.15


@dataclass(slots=True)
class _Path:
    id: int
    box: NDArray[np.float64]
    at: float
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))
    seen: int = 1

    def predict(self, at: float) -> NDArray[np.float64]:
        return self.box + self.velocity * min(at - self.at, FORESIGHT)

    def correct(self, found: NDArray[np.float32], at: float) -> None:
        elapsed = max(at - self.at, 1e-3)
        surprise = found - self.predict(at)
        self.box = self.predict(at) + _ALPHA * surprise
        # The first steps tell nearly all there is to know about a speed.
        self.velocity = self.velocity + max(_BETA, 1 / (self.seen + 1)) * surprise / elapsed
        self.at = at
        self.seen += 1


class Tracker:
    """Follows faces; ids count up from 1 and are never used twice."""

    def __init__(self) -> None:
        self._paths: list[_Path] = []
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
        # A slow detector is no reason to forget those it saw the last time it looked.
        self._paths = [
            path
            for path in self._paths
            if at - path.at <= (_KEPT_SEEN if path.at == self._looked_at else _KEPT_UNSEEN)
        ]
        self._looked_at = at
        sure = faces.scores >= _SURE
        waiting, left = self._match(self._paths, faces[sure], at, _MIN_IOU_SURE)
        self._match(waiting, faces[~sure], at, _MIN_IOU_UNSURE)
        for box in faces[sure].xyxy[left]:
            self._paths.append(_Path(self._next_id, box.astype(np.float64), at))
            self._next_id += 1
        return tuple(
            Track(path.id, path.at, _box(path.box), _box(path.velocity), None)
            for path in self._paths
            if path.seen >= _BELIEVED and at - path.at <= _SHOWN_UNSEEN
        )

    @staticmethod
    def _match(
        paths: list[_Path], faces: Faces, at: float, min_iou: float
    ) -> tuple[list[_Path], list[int]]:
        """Pair paths with faces, best overlap first; return the paths and faces left over."""
        if not paths or not len(faces):
            return paths, list(range(len(faces)))
        predicted = np.array([path.predict(at) for path in paths], np.float32)
        overlaps = iou(predicted, faces.xyxy)
        free_paths, free_faces = set(range(len(paths))), set(range(len(faces)))
        for pair in np.argsort(-overlaps, axis=None, kind="stable"):
            row, column = divmod(int(pair), len(faces))
            if overlaps[row, column] < min_iou:
                break
            if row in free_paths and column in free_faces:
                paths[row].correct(faces.xyxy[column], at)
                free_paths.remove(row)
                free_faces.remove(column)
        return [paths[row] for row in sorted(free_paths)], sorted(free_faces)


def _box(sides: NDArray[np.float64]) -> Box:
    x0, y0, x1, y1 = (float(side) for side in sides)
    return x0, y0, x1, y1
