"""Which box and which words go where: below their faces, off each other, and not jumping about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sin

from installation.config.model import Theme
from installation.display.idle import IdleAnimation, IdleWord
from installation.display.layout import (
    HUGE,
    LARGE,
    MEDIUM,
    SMALL,
    Caption,
    CaptionSpec,
    Layout,
    Measure,
    Viewport,
)
from installation.scene import Box, Label, Scene, Verdict

# The thickness of boxes, the margin around, and the gap between a face and its words: parts of the
# screen's shorter side.
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
# A caption keeps its size until the face is this much too small or large for it, and its place
# until a better one has been free for so many seconds: words that jump cannot be read.
_KEEPS_SIZE = 0.1
_KEEPS_PLACE = 2.0
# Seconds for which a face out of view is remembered to have had its words where they were.
_REMEMBERED = 3.0
# Seconds for which each word is seen while a face's words turn.
_TURN = 0.12


@dataclass(slots=True)
class _CaptionState:
    """How a face's caption was last set: its size, its corner, since when a better one is free."""

    seen_at: float
    style: CaptionSpec | None = None
    size: float | None = None
    corner: int | None = None
    better_since: float | None = None


class LayoutEngine:
    """Lays out scenes, one after the other, so that captions stay where they are if they can.

    Captions go below their faces; where there is no room, above or beside, or in smaller type, or
    nowhere: no word is better than one under the wrong face. They stay on the screen and cover
    neither other faces nor each other. Faces that are not on the screen are left out.

    Parameters
    ----------
    theme
        How it should look.
    measure
        Of captions.
    words
        What drifts by while nobody is there.
    """

    def __init__(self, theme: Theme, measure: Measure, words: tuple[IdleWord, ...] = ()) -> None:
        self._theme = theme
        self._measure = measure
        self._habits: dict[int, _CaptionState] = {}
        self._idle = IdleAnimation(theme, measure, words)
        self._whole: CaptionSpec | None = None

    def arrange(self, scene: Scene, at: float, view: Viewport) -> Layout:
        """Lay out a scene's boxes and words.

        Parameters
        ----------
        scene
            What is known.
        at
            Time of the picture underneath: boxes are predicted to it.
        view
            How that picture lies on the screen.
        """
        width, height = view.screen_wh
        unit = min(width, height)
        believed = [track for track in scene.tracks if not track.is_stale(at)]
        placed = [(track, view.place(track.box_at(at))) for track in believed]
        screen = (0.0, 0.0, float(width), float(height))
        seen = [each for each in placed if _shared(each[1], screen) > _area(each[1]) * _VISIBLE]
        # Nearer faces choose first.
        seen.sort(key=lambda each: each[1][0] - each[1][2])
        faces = [face for _, face in seen]
        for track in scene.tracks:
            self._habits.setdefault(track.id, _CaptionState(at)).seen_at = at
        self._habits = {
            id_: habit
            for id_, habit in self._habits.items()
            if 0 <= at - habit.seen_at <= _REMEMBERED
        }
        captions: list[Caption] = []
        taken: list[Box] = []
        for track, face in seen:
            if track.verdict is None:
                continue
            others = [*(other for other in faces if other is not face), *taken]
            label = (
                _rotating_candidate(track.verdict, at + track.id) if self._theme.reveal else None
            )
            words = self._say(label or track.verdict.label, track.verdict.settled)
            set_ = self._place_caption(
                words, face, others, view.screen_wh, at, self._habits[track.id]
            )
            if set_ is not None:
                caption, spot = set_
                captions.append(caption)
                taken.append(spot)
        drifting, brightness = self._idle.drift(bool(scene.tracks), at, view.screen_wh)
        captions += drifting
        if scene.whole is not None and brightness == 1:
            word, below = self._say(scene.whole.label, scene.whole.settled)
            type_size = round(HUGE * unit * self._theme.size)
            style = CaptionSpec(word, type_size, round(0.7 * width), below, height // 2)
            if self._measure(style) is not None or self._whole is None:
                self._whole = style
            if self._measure(self._whole) is not None:
                captions.append(Caption(self._whole, *_burn_in_offset(at, unit)))
        else:
            self._whole = None
        line = max(round(unit * _LINE * self._theme.line), 1) if self._theme.line else 0
        return Layout(tuple(_rounded(face) for face in faces), tuple(captions), line, brightness)

    def _say(self, label: Label, settled: bool) -> tuple[str, str]:
        """Return the words to show for a label, and what is said below them."""
        if not settled:
            return label.words, ""
        words = f"{label.words} {label.score:.0%}" if self._theme.score else label.words
        return words, label.gloss if self._theme.gloss else ""

    def _place_caption(
        self,
        words: tuple[str, str],
        face: Box,
        others: Sequence[Box],
        screen_wh: tuple[int, int],
        at: float,
        habit: _CaptionState,
    ) -> tuple[Caption, Box] | None:
        """Set a face's words in the largest type that suits it and finds a place, or nowhere."""
        unit, gap = min(screen_wh), _gap(screen_wh)
        for size in (LARGE, MEDIUM, SMALL):
            least = _FACE_PER_TYPE * size * unit if size != SMALL else 0
            kept = habit.size is not None and size <= habit.size
            if face[2] - face[0] <= least * (1 - _KEEPS_SIZE if kept else 1 + _KEEPS_SIZE):
                continue
            type_size = round(size * unit * self._theme.size)
            max_width = min(_LINE_PER_TYPE * type_size, screen_wh[0] - 2 * gap)
            style = CaptionSpec(words[0], type_size, max_width, words[1], screen_wh[1] // 2)
            measured = self._measure(style)
            if measured is None and habit.style is not None:
                # The last words stay until the next are set.
                style = habit.style
                measured = self._measure(style)
            if measured is None:
                return None
            may_cover = size == SMALL and face[3] - face[1] > _FILLS * screen_wh[1]
            spots = _spots(face, measured, others, screen_wh, may_cover)
            if spots:
                corner = _choose(spots, habit, at)
                habit.style, habit.size, habit.corner = style, size, corner
                spot = spots[corner]
                return Caption(style, round(spot[0]), round(spot[1])), spot
        habit.better_since = None
        return None


def _burn_in_offset(at: float, unit: int) -> tuple[int, int]:
    """Return the upper left corner's place for what stands there long: it must not burn in."""
    margin = max(unit * _MARGIN, 1)
    return round(margin * (2 + sin(at / 41))), round(margin * (2 + sin(at / 67)))


def _rotating_candidate(verdict: Verdict, at: float) -> Label | None:
    """Return the candidate whose turn it is while the contest lasts."""
    if verdict.settled or not verdict.candidates:
        return None
    return verdict.candidates[int(at / _TURN) % len(verdict.candidates)]


def _choose(spots: dict[int, Box], habit: _CaptionState, at: float) -> int:
    """Choose among the corners that are free: the best, but not hastily."""
    best = min(spots)
    if habit.corner is None or habit.corner not in spots or habit.corner == best:
        habit.better_since = None
        return best
    if habit.better_since is None:
        habit.better_since = at
    if at - habit.better_since < _KEEPS_PLACE:
        return habit.corner
    habit.better_since = None
    return best


def _gap(screen_wh: tuple[int, int]) -> int:
    """Pixels between a face and its caption, and between captions and the screen's edge."""
    return max(round(min(screen_wh) * _GAP), 1)


def _spots(
    face: Box,
    size: tuple[int, int],
    others: Sequence[Box],
    screen_wh: tuple[int, int],
    may_cover: bool,
) -> dict[int, Box]:
    """Find where a face's caption may go: near it, on the screen, over no other.

    It stays off the face itself too unless it may cover it. The corners are numbered, the best
    first; those that are taken are left out.
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
    found = {}
    for corner, (x, y) in enumerate(corners):
        x = max(min(x, screen_wh[0] - gap - width), gap)
        y = max(min(y, screen_wh[1] - gap - height), gap)
        spot = (x, y, x + width, y + height)
        if any(_shared(spot, other) for other in others):
            continue
        if may_cover or not _shared(spot, face):
            found[corner] = spot
    return found


def _rounded(box: Box) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(side) for side in box)
    return x0, y0, x1, y1


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(a: Box, b: Box) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return max(across, 0.0) * max(down, 0.0)
