"""The values that flow through the house. All are immutable; times are monotonic seconds.

Boxes are ``xyxy``: left, top, right, bottom in pixels of the frame, the origin at its upper left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

# Seconds for which a face can be expected to go on as it went.
FORESIGHT = 0.3
# When a box glides, in periods after its detection: about when it comes to the wall. The longer,
# the smoother and the later; these halve the jumps of the first picture and end in the third.
_GLIDE_FROM = 0.6
_GLIDE_TO = 1.4

Box = tuple[float, float, float, float]


PixelLayout = Literal["BGR", "YUYV", "NV12"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of the camera.

    Attributes
    ----------
    seq
        Number of the picture since capture began, from 0; pictures left out are counted too.
    captured_at
        When reading it was done; what a webcam compresses is decoded by then.
    pixels
        uint8, as the camera saw it (not mirrored) and gave it. Its shape tells the layout:
        (height, width, 3) is BGR; (height, width, 2) is YUYV; (height * 3 / 2, width) is NV12, the
        luma's rows and then those of U and V in turn. The latter two have even sides and are BT.601
        in the limited range. Nobody writes to it.
    """

    seq: int
    captured_at: float
    pixels: NDArray[np.uint8]

    @classmethod
    def from_image(cls, image: NDArray[np.uint8]) -> Frame:
        """Wrap a single image, uint8 (height, width, 3), BGR; number and time are 0."""
        return cls(0, 0.0, image)

    @property
    def layout(self) -> PixelLayout:
        """How the pixels are stored."""
        if self.pixels.ndim == 2:
            return "NV12"
        return "BGR" if self.pixels.shape[2] == 3 else "YUYV"

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        rows = int(self.pixels.shape[0])
        return rows * 2 // 3 if self.layout == "NV12" else rows

    @cached_property
    def bgr(self) -> NDArray[np.uint8]:
        """uint8 (height, width, 3): converted when first asked for, then kept.

        Threads may share a frame: two that ask at the same moment get the same values.
        """
        if self.layout == "BGR":
            return self.pixels
        code = cv2.COLOR_YUV2BGR_NV12 if self.layout == "NV12" else cv2.COLOR_YUV2BGR_YUYV
        return np.asarray(cv2.cvtColor(self.pixels, code), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """What the detector found in one frame: N faces.

    Attributes
    ----------
    xyxy
        float32 (N, 4).
    scores
        float32 (N,), 0 to 1.
    landmarks
        float32 (N, 5, 2): eyes, nose, corners of the mouth, each x, y.
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
    """One word for one person.

    Attributes
    ----------
    wnid
        Synset.
    words
        Its lemmas as shown.
    score
        0 to 1. Of one picture, probability among the labels the policy allows; of a verdict, the
        share of the looks at this face that named the word.
    gloss
        What the dictionary says it means; empty where nobody asked.
    """

    wnid: str
    words: str
    score: float
    gloss: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the votes of one face have come to.

    Attributes
    ----------
    label
        The word to show.
    settled
        Whether it has won; until then it is the word that came first.
    candidates
        The labels that stand best now, at most five, best first: the contest.
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
        Positive, never reused while the program runs.
    at
        When the box was true.
    box
        Where the face was then.
    velocity
        How fast the four sides move, pixels a second.
    verdict
        Its word, or None as long as nothing has been said.
    drift
        How far the box as predicted from what was known before is from this one, pixels: on the
        wall it goes from there to here.
    period
        Seconds between detections: how late what they find is on the wall, and how long it stays.
    """

    id: int
    at: float
    box: Box
    velocity: Box
    verdict: Verdict | None
    drift: Box = (0.0, 0.0, 0.0, 0.0)
    period: float = 0.0

    def box_at(self, time: float) -> Box:
        """Predict the box at a time; at most 0.3 s ahead, faces do not keep on longer.

        It glides: what was predicted before is let go while the track is new to the wall.
        """
        ahead = min(max(time - self.at, 0.0), FORESIGHT)
        since = (time - self.at) / self.period if self.period else _GLIDE_TO
        held = min(max((_GLIDE_TO - since) / (_GLIDE_TO - _GLIDE_FROM), 0.0), 1.0)
        (x0, y0, x1, y1), (a, b, c, d), (e, f, g, h) = self.box, self.velocity, self.drift
        return (
            x0 + a * ahead + e * held,
            y0 + b * ahead + f * held,
            x1 + c * ahead + g * held,
            y1 + d * ahead + h * held,
        )

    def is_stale(self, time: float) -> bool:
        """Tell whether the face has moved too far by a time for its box to be believed."""
        unseen = max(time - self.at - FORESIGHT, 0.0)
        across = abs(self.velocity[0] + self.velocity[2]) / 2 * unseen
        return across > (self.box[2] - self.box[0]) / 3


@dataclass(frozen=True, slots=True)
class Scene:
    """What vision made of a frame.

    Attributes
    ----------
    seq, at
        Of the frame it looked at.
    width, height
        Size of that frame: the pixels boxes are measured in.
    tracks
        The faces in view, by id.
    whole
        The word for the picture as a whole; None when there is a face, or nothing said yet.
    """

    seq: int
    at: float
    width: int
    height: int
    tracks: tuple[Track, ...]
    whole: Verdict | None
