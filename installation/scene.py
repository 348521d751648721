"""The values that pass from capture to vision to display; all are immutable.

Times are monotonic seconds. Boxes are ``xyxy``: left, top, right, bottom in pixels of the frame,
with the origin in its upper left corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

# How far ahead a box is predicted, seconds: faces do not keep their velocity for longer.
MAX_PREDICTION_S = 0.3
# When a detection corrects a box, the box moves gradually from the old prediction to the new one.
# The transition begins and ends so many detection periods after the detection, about when its
# frame is on screen. Longer transitions are smoother but lag; with these, the first frame shows
# half of the jump and the third shows all of it.
_BLEND_FROM = 0.6
_BLEND_TO = 1.4

Box = tuple[float, float, float, float]
PixelLayout = Literal["BGR", "YUYV", "NV12"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of the camera, not mirrored.

    Attributes
    ----------
    seq
        Number of the frame since capture began, from 0; skipped frames are counted, too.
    captured_at
        When the frame was read and, if it was compressed, decoded.
    pixels
        uint8, read-only, in the layout that the camera sent. The shape determines the layout:
        (height, width, 3) is BGR; (height, width, 2) is YUYV; (height * 3 / 2, width) is NV12, that
        is, the rows of Y followed by the rows of interleaved U and V. YUYV and NV12 have even sides
        and are BT.601, limited range.
    """

    seq: int
    captured_at: float
    pixels: NDArray[np.uint8]

    @classmethod
    def from_image(cls, image: NDArray[np.uint8]) -> Frame:
        """Wrap a single image, uint8 (height, width, 3), BGR; `seq` and `captured_at` are 0."""
        return cls(0, 0.0, image)

    @property
    def layout(self) -> PixelLayout:
        """Pixel layout."""
        if self.pixels.ndim == 2:
            return "NV12"
        return "BGR" if self.pixels.shape[2] == 3 else "YUYV"

    @property
    def width(self) -> int:
        """Width, pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height, pixels."""
        rows = int(self.pixels.shape[0])
        return rows * 2 // 3 if self.layout == "NV12" else rows

    @cached_property
    def bgr(self) -> NDArray[np.uint8]:
        """The frame as BGR, uint8 (height, width, 3), converted on first access.

        Thread-safe: concurrent first accesses may both convert, with the same result.
        """
        if self.layout == "BGR":
            return self.pixels
        code = cv2.COLOR_YUV2BGR_NV12 if self.layout == "NV12" else cv2.COLOR_YUV2BGR_YUYV
        return np.asarray(cv2.cvtColor(self.pixels, code), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """N faces detected in one frame.

    Attributes
    ----------
    xyxy
        float32 (N, 4).
    scores
        float32 (N,), 0 to 1.
    landmarks
        float32 (N, 5, 2): x, y of both eyes, the nose and both corners of the mouth.
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Faces:
        return Faces(self.xyxy[index], self.scores[index], self.landmarks[index])


@dataclass(frozen=True, slots=True)
class Label:
    """A label for one person.

    Attributes
    ----------
    wnid
        WordNet identifier of the synset.
    words
        The synset's lemmas, as shown.
    score
        0 to 1. For a single image, the probability among the labels that the policy allows; for a
        verdict, the share of votes for this label.
    gloss
        Dictionary definition; empty if glosses are switched off.
    """

    wnid: str
    words: str
    score: float
    gloss: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of the votes for one face so far.

    Attributes
    ----------
    label
        The label to show.
    settled
        Whether the vote is decided; until then `label` is that of the first vote.
    candidates
        The leading labels, at most five, best first.
    """

    label: Label
    settled: bool
    candidates: tuple[Label, ...] = ()


@dataclass(frozen=True, slots=True)
class Track:
    """One face followed over time.

    Attributes
    ----------
    id
        Positive; never reused while the program runs.
    at
        Time of the latest detection.
    box
        The box at that time.
    velocity
        Velocity of the box's four sides, pixels per second.
    verdict
        The face's verdict; None before the first vote.
    drift
        Difference between the box predicted before the latest detection and the box after it,
        pixels.
    period
        Time between the latest two detections, seconds; 0 for the first.
    """

    id: int
    at: float
    box: Box
    velocity: Box
    verdict: Verdict | None
    drift: Box = (0.0, 0.0, 0.0, 0.0)
    period: float = 0.0

    def box_at(self, time: float) -> Box:
        """Predict the box at a time, at most `MAX_PREDICTION_S` ahead.

        The box moves gradually from the earlier prediction to the new one.
        """
        ahead = min(max(time - self.at, 0.0), MAX_PREDICTION_S)
        periods = (time - self.at) / self.period if self.period else _BLEND_TO
        share = min(max((_BLEND_TO - periods) / (_BLEND_TO - _BLEND_FROM), 0.0), 1.0)
        (x0, y0, x1, y1), (a, b, c, d), (e, f, g, h) = self.box, self.velocity, self.drift
        return (
            x0 + a * ahead + e * share,
            y0 + b * ahead + f * share,
            x1 + c * ahead + g * share,
            y1 + d * ahead + h * share,
        )

    def is_stale(self, time: float) -> bool:
        """Return whether the face may have moved too far by a time for its box to be shown."""
        unpredicted = max(time - self.at - MAX_PREDICTION_S, 0.0)
        distance = abs(self.velocity[0] + self.velocity[2]) / 2 * unpredicted
        return distance > (self.box[2] - self.box[0]) / 3


@dataclass(frozen=True, slots=True)
class Scene:
    """The result of vision for one frame.

    Attributes
    ----------
    seq, at
        The frame's `seq` and `captured_at`.
    width, height
        The frame's size, pixels; boxes are in these coordinates.
    tracks
        The faces in view, in order of id.
    whole
        Verdict for the whole frame; None if there is a face, or no vote yet.
    """

    seq: int
    at: float
    width: int
    height: int
    tracks: tuple[Track, ...]
    whole: Verdict | None
