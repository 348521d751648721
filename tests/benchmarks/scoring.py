"""How well tracks tell who is where: CLEAR MOT's counts, and how steady and how late boxes are.

Bernardin and Stiefelhagen 2008, "Evaluating Multiple Object Tracking Performance".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from installation.vision.boxes import iou
from tests.benchmarks.crowds import Array, Truth

_SAME = 0.5
# Who can be seen this much has to be boxed; of others nothing is asked.
_REQUIRED = 0.5
# Who was not to be seen for so many seconds is new.
_NEW_AFTER = 3.0


@dataclass(slots=True)
class Score:
    """Counts and sums over pictures; add them up with ``+``.

    Attributes
    ----------
    required, missed, false
        Faces to be boxed, those that were not, boxes where nobody is.
    switches, fragments
        How often a face got another id than it had last, and how often it lost its box and got one
        again while it could be seen.
    stolen
        How often an id went to another face than had it last.
    overlaps, centres
        IoU, and distance of the centres in widths of the face, of every box with its face.
    jerks
        Second differences of what the sides of a box are off, in widths of the face.
    waits
        Seconds from when somebody new could be seen to their first box.
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
        """Return what the table shows; errors and jitter in % of the face's width."""
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


class Judge:
    """Compares boxes with the truth, picture by picture."""

    def __init__(self) -> None:
        self.score = Score()
        self._last_id: dict[int, int] = {}
        self._owner: dict[int, int] = {}
        self._has_box: dict[int, bool] = {}
        self._seen_at: dict[int, float] = {}
        self._waiting: dict[int, float] = {}
        self._off: dict[int, list[tuple[int, Array]]] = {}

    def look(self, truth: Truth, ids: NDArray[np.intp], boxes: Array, at: float) -> None:
        """Take in a picture shown at a time with M boxes, float64 (M, 4), ids int (M,)."""
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
            if at - self._seen_at.get(who, -np.inf) > _NEW_AFTER:
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

    def watch(self, ids: NDArray[np.intp], boxes: Array) -> None:
        """Take in a picture of which no truth is known: jitter then has the faces' motion in it."""
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
        """Pair faces with boxes: as the last time where that still holds, then the best first."""
        pairs: dict[int, int] = {}
        free = set(range(len(ids)))
        for row, who in enumerate(truth.who.tolist()):
            for column in np.flatnonzero(ids == self._last_id.get(who, -1)).tolist():
                if column in free and overlaps[row, column] >= _SAME:
                    pairs[row] = column
                    free.remove(column)
        order = np.argsort(-overlaps, axis=None, kind="stable")
        for index in order[: int((overlaps >= _SAME).sum())]:
            row, column = divmod(int(index), len(ids))
            if row not in pairs and column in free:
                pairs[row] = column
                free.remove(column)
        return pairs
