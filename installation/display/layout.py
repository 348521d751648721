"""Where boxes and captions go on a screen, whose origin is its upper left. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from installation.scene import Box, Scene

# Heights of type and widths of lines, as parts of the screen's shorter side.
SMALL, MEDIUM, LARGE, HUGE = 1 / 40, 1 / 29, 1 / 21, 1 / 15
_LINE = 1 / 240
_MARGIN = 1 / 60
_GAP = 1 / 80
# A face of which less than this part is on the screen is not shown as one.
_VISIBLE = 1 / 3
# A face higher than this part of the screen leaves no room: its words go over its chin.
_FILLS = 0.6
# A face this many times as wide as the type is high gets that type.
_FACE_PER_TYPE = 3.5
# Lines are wrapped at this many times the type's height: always the same, because a width that
# followed the face would wrap, and draw, the words anew with every step.
_LINE_PER_TYPE = 9


@dataclass(frozen=True, slots=True)
class View:
    """How a frame lies on a screen.

    Attributes
    ----------
    frame_wh, screen_wh
        Pixels.
    fit
        ``cover``: the frame fills the screen and is cropped; ``contain``: all of it is seen.
    mirror
        Left and right exchanged.
    """

    frame_wh: tuple[int, int]
    screen_wh: tuple[int, int]
    fit: Literal["cover", "contain"]
    mirror: bool

    @property
    def scale(self) -> float:
        """Screen pixels per frame pixel."""
        ratios = [
            screen / frame for screen, frame in zip(self.screen_wh, self.frame_wh, strict=True)
        ]
        return max(ratios) if self.fit == "cover" else min(ratios)

    @property
    def picture(self) -> Box:
        """Where the whole frame lies on the screen; with ``cover`` it reaches beyond."""
        width, height = (side * self.scale for side in self.frame_wh)
        left, top = (self.screen_wh[0] - width) / 2, (self.screen_wh[1] - height) / 2
        return left, top, left + width, top + height

    def place(self, box: Box) -> Box:
        """Map a box in the frame to the screen."""
        left, top, right, _ = self.picture
        x0, y0, x1, y1 = (side * self.scale for side in box)
        if self.mirror:
            return right - x1, top + y0, right - x0, top + y1
        return left + x0, top + y0, left + x1, top + y1


@dataclass(frozen=True, slots=True)
class Style:
    """How a caption is to be set: the key under which it is kept once drawn.

    Attributes
    ----------
    words
        The text.
    size
        Height of the type, pixels.
    max_width
        Lines are wrapped to this many pixels; a longer word makes the type smaller.
    """

    words: str
    size: int
    max_width: int


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption and where its upper left corner goes, in whole pixels."""

    style: Style
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What to draw over a picture.

    Attributes
    ----------
    boxes
        Around faces, xyxy in whole pixels.
    captions
        Words.
    line
        Thickness of the boxes' lines, pixels.
    """

    boxes: tuple[tuple[int, int, int, int], ...]
    captions: tuple[Caption, ...]
    line: int


Measure = Callable[[Style], tuple[int, int]]


def arrange(scene: Scene, at: float, view: View, measure: Measure) -> Layout:
    """Lay out a scene's boxes and words.

    Captions go below their faces; where there is no room, above or beside, or in smaller type, or
    nowhere: no word is better than one under the wrong face. They stay on the screen and cover
    neither other faces nor each other. Faces that are not on the screen are left out.

    Parameters
    ----------
    scene
        What is known.
    at
        Time of the picture underneath: boxes are predicted to it.
    view
        How that picture lies on the screen.
    measure
        Gives the width and height, in pixels, that a style takes once set.
    """
    width, height = view.screen_wh
    unit = min(width, height)
    margin = max(round(unit * _MARGIN), 1)
    believed = [track for track in scene.tracks if not track.may_have_left(at)]
    placed = [(view.place(track.box_at(at)), track.verdict) for track in believed]
    screen = (0.0, 0.0, float(width), float(height))
    seen = [each for each in placed if _shared(each[0], screen) > _area(each[0]) * _VISIBLE]
    # Nearer faces choose first.
    seen.sort(key=lambda each: each[0][0] - each[0][2])
    faces = [face for face, _ in seen]
    captions: list[Caption] = []
    taken: list[Box] = []
    for face, verdict in seen:
        if verdict is None:
            continue
        others = [*(other for other in faces if other is not face), *taken]
        set_ = _set(verdict.label.words, face, others, view.screen_wh, measure)
        if set_ is not None:
            caption, spot = set_
            captions.append(caption)
            taken.append(spot)
    if scene.whole is not None:
        style = Style(scene.whole.label.words, round(HUGE * unit), round(0.7 * width))
        captions.append(Caption(style, 2 * margin, 2 * margin))
    line = max(round(unit * _LINE), 1)
    return Layout(tuple(_rounded(face) for face in faces), tuple(captions), line)


def _set(
    words: str, face: Box, others: Sequence[Box], screen_wh: tuple[int, int], measure: Measure
) -> tuple[Caption, Box] | None:
    """Set a face's words in the largest type that suits it and finds a place; None without one."""
    unit, gap = min(screen_wh), _gap(screen_wh)
    suiting = (s for s in (LARGE, MEDIUM) if face[2] - face[0] > _FACE_PER_TYPE * s * unit)
    for size in (*suiting, SMALL):
        type_size = round(size * unit)
        style = Style(words, type_size, min(_LINE_PER_TYPE * type_size, screen_wh[0] - 2 * gap))
        may_cover = size == SMALL and face[3] - face[1] > _FILLS * screen_wh[1]
        spot = _spot(face, measure(style), others, screen_wh, may_cover)
        if spot is not None:
            return Caption(style, round(spot[0]), round(spot[1])), spot
    return None


def _gap(screen_wh: tuple[int, int]) -> int:
    """Pixels between a face and its caption, and between captions and the screen's edge."""
    return max(round(min(screen_wh) * _GAP), 1)


def _spot(
    face: Box,
    size: tuple[int, int],
    others: Sequence[Box],
    screen_wh: tuple[int, int],
    may_cover: bool,
) -> Box | None:
    """Choose where a face's caption goes: near it, below if possible, on the screen, over no other.

    It stays off the face itself too unless it may cover it; None where there is no such place.
    """
    width, height = size
    gap = _gap(screen_wh)
    centre = (face[0] + face[2] - width) / 2
    middle = (face[1] + face[3] - height) / 2
    corners = (
        (centre, face[3] + gap),
        (face[0], face[3] + gap),
        (face[2] - width, face[3] + gap),
        (centre, face[1] - gap - height),
        (face[2] + gap, middle),
        (face[0] - gap - width, middle),
        (face[2] + gap, face[3] - height),
        (face[0] - gap - width, face[3] - height),
    )
    for x, y in corners:
        x = max(min(x, screen_wh[0] - gap - width), gap)
        y = max(min(y, screen_wh[1] - gap - height), gap)
        spot = (x, y, x + width, y + height)
        if any(_shared(spot, other) for other in others):
            continue
        if may_cover or not _shared(spot, face):
            return spot
    return None


def _rounded(box: Box) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(side) for side in box)
    return x0, y0, x1, y1


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(a: Box, b: Box) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return max(across, 0.0) * max(down, 0.0)
