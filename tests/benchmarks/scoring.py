"""Tracking metrics: the counts of CLEAR MOT, and jitter and latency of the boxes.

Bernardin and Stiefelhagen 2008, "Evaluating Multiple Object Tracking Performance".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from installation.vision.boxes import iou
from tests.benchmarks.crowds import Array, Truth

_MIN_IOU = 0.5
# Visible share from which a face must have a box.
_REQUIRED = 0.5
# A person who was not visible for this long counts as new.
_NEW_AFTER_S = 3.0


@dataclass(slots=True)
class Score:
    """Counts over frames; add scores with ``+``.

    Attributes
    ----------
    required, missed, false
        Faces that must have a box, those without one, and boxes without a face.
    switches, fragments
        How often a face got another id than before, and how often it lost its box and got one
        again while it was visible.
    stolen
        How often an id passed to another face.
    overlaps, centres
        Of every box with its face: IoU, and distance of the centres in face widths.
    jerks
        Second differences of the errors of a box's sides, in face widths.
    waits
        Seconds from when a new person became visible to their first box.
    """

    required: int = 0
    missed: int = 0
    false: int = 0
    switches: int = 0
    fragments: int = 0
    stolen: int = 0
    overlaps: list[float] = field(default_factory=list)
    centres: list[float] = field(default_factory=list)
    jerks: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def __add__(self, other: Score) -> Score:
        return Score(
            *(getattr(self, name) + getattr(other, name) for name in Score.__dataclass_fields__)
        )

    def figures(self) -> dict[str, float]:
        """Return the figures of the table; errors and jitter in % of the face's width."""
        return {
            "switches": self.switches,
            "stolen": self.stolen,
            "fragments": self.fragments,
            "missed": self.missed / max(self.required, 1),
            "false": self.false / max(self.required, 1),
            "error": 100 * float(np.mean([1 - overlap for overlap in self.overlaps] or [0])),
            "centre": 100 * float(np.mean(self.centres or [0])),
            "jitter": 100 * float(np.sqrt(np.mean(np.square(self.jerks or [0.0])))),
            "new_ms": 1000 * float(np.mean(self.waits or [0])),
        }


class Scorer:
    """Compares boxes with the ground truth, frame by frame."""

    def __init__(self) -> None:
        self.score = Score()
        self._last_id: dict[int, int] = {}
        self._owner: dict[int, int] = {}
        self._has_box: dict[int, bool] = {}
        self._seen_at: dict[int, float] = {}
        self._waiting: dict[int, float] = {}
        self._off: dict[int, list[tuple[int, Array]]] = {}

    def add_frame(self, truth: Truth, ids: NDArray[np.intp], boxes: Array, at: float) -> None:
        """Score the M boxes shown at a time: float64 (M, 4), ids int (M,)."""
        score = self.score
        overlaps = iou(truth.xyxy.astype(np.float32), boxes.astype(np.float32))
        pairs = self._pair(truth, ids, overlaps)
        score.false += len(ids) - len(pairs)
        kept = {}
        for row, who in enumerate(truth.who.tolist()):
            column = pairs.get(row)
            if truth.visible[row] < _REQUIRED:
                if column is None:
                    self._has_box.pop(who, None)
                continue
            score.required += 1
            if at - self._seen_at.get(who, -np.inf) > _NEW_AFTER_S:
                self._waiting[who] = at
                self._has_box.pop(who, None)
            self._seen_at[who] = at
            if column is None:
                score.missed += 1
                if who in self._has_box:
                    self._has_box[who] = False
                continue
            id_ = int(ids[column])
            score.switches += self._last_id.get(who, id_) != id_
            score.fragments += not self._has_box.get(who, True)
            score.stolen += self._owner.get(id_, who) != who
            self._last_id[who], self._owner[id_] = id_, who
            self._has_box[who] = True
            if who in self._waiting:
                score.waits.append(at - self._waiting.pop(who))
            width = truth.xyxy[row, 2] - truth.xyxy[row, 0]
            off = (boxes[column] - truth.xyxy[row]) / width
            score.overlaps.append(float(overlaps[row, column]))
            score.centres.append(float(np.hypot(*(off[:2] + off[2:]) / 2)))
            if truth.visible[row] > 0.95:
                kept[who] = self._moved(who, id_, off)
        self._off = kept

    def add_unlabelled_frame(self, ids: NDArray[np.intp], boxes: Array) -> None:
        """Score boxes without ground truth: jitter then includes the faces' own motion."""
        widths = np.maximum(boxes[:, 2] - boxes[:, 0], 1.0)
        seen = zip(ids.tolist(), boxes, widths.tolist(), strict=True)
        self._off = {id_: self._moved(id_, id_, box, width) for id_, box, width in seen}

    def _moved(self, who: int, id_: int, off: Array, unit: float = 1.0) -> list[tuple[int, Array]]:
        latest = [*self._off.get(who, [])[-2:], (id_, off)]
        if len(latest) == 3 and len({each for each, _ in latest}) == 1:
            first, second, third = (off for _, off in latest)
            self.score.jerks.extend(((third - 2 * second + first) / unit).tolist())
        return latest

    def _pair(
        self, truth: Truth, ids: NDArray[np.intp], overlaps: NDArray[np.float32]
    ) -> dict[int, int]:
        """Match faces with boxes: as before if they still overlap, then by IoU."""
        pairs: dict[int, int] = {}
        free = set(range(len(ids)))
        for row, who in enumerate(truth.who.tolist()):
            for column in np.flatnonzero(ids == self._last_id.get(who, -1)).tolist():
                if column in free and overlaps[row, column] >= _MIN_IOU:
                    pairs[row] = column
                    free.remove(column)
        order = np.argsort(-overlaps, axis=None, kind="stable")
        for index in order[: int((overlaps >= _MIN_IOU).sum())]:
            row, column = divmod(int(index), len(ids))
            if row not in pairs and column in free:
                pairs[row] = column
                free.remove(column)
        return pairs
