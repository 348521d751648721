"""Place boxes and captions: below their faces, without overlap, and without jumping."""

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

# Relative to the screen's shorter side: width of boxes' lines, margin, and gap around captions.
_BOX_LINE = 1 / 240
_MARGIN = 1 / 60
_GAP = 1 / 80
# A face of which a smaller share is on the screen is not shown.
_MIN_VISIBLE_SHARE = 1 / 3
# A face higher than this share of the screen leaves no room: its caption covers its chin.
_MAX_FACE_HEIGHT = 0.6
# A type size needs a face at least this many times as wide.
_FACE_WIDTHS_PER_TYPE = 3.5
# Lines are wrapped at this many times the type size. A width that followed the face would wrap and
# draw the caption again with every step.
_LINE_WIDTHS_PER_TYPE = 9
# A caption keeps its size until the face is this much too small or large for it, and its place
# until a better one has been free for this long: jumping words cannot be read.
_SIZE_HYSTERESIS = 0.1
_PLACE_HYSTERESIS_S = 2.0
# How long the caption state of a face out of view is kept.
_STATE_TTL_S = 3.0
# How long each candidate is shown.
_CANDIDATE_S = 0.12


@dataclass(slots=True)
class _CaptionState:
    """A face's last caption: spec, size, corner, and since when a better corner has been free."""

    seen_at: float
    spec: CaptionSpec | None = None
    size: float | None = None
    corner: int | None = None
    better_since: float | None = None


class LayoutEngine:
    """Lays out scenes so that captions stay in place from one to the next if possible.

    Captions go below their faces. Without room there, they go above or beside, or get smaller type,
    or are left out: no word is better than one at the wrong face. They stay on the screen and cover
    neither other faces nor each other. Faces outside the screen are left out.

    Parameters
    ----------
    theme
        Sizes, and which texts to show.
    measure
        Returns the size of a caption.
    words
        Words that drift by while nobody is there.
    """

    def __init__(self, theme: Theme, measure: Measure, words: tuple[IdleWord, ...] = ()) -> None:
        self._theme = theme
        self._measure = measure
        self._states: dict[int, _CaptionState] = {}
        self._idle = IdleAnimation(theme, measure, words)
        self._whole: CaptionSpec | None = None

    def arrange(self, scene: Scene, at: float, view: Viewport) -> Layout:
        """Lay out the boxes and captions of a scene.

        Parameters
        ----------
        scene
            The latest scene.
        at
            Time of the frame, monotonic seconds; boxes are predicted to it.
        view
            Position of the frame on the screen.
        """
        width, height = view.screen_wh
        unit = min(width, height)
        current = [track for track in scene.tracks if not track.is_stale(at)]
        boxes = [(track, view.place(track.box_at(at))) for track in current]
        screen = (0.0, 0.0, float(width), float(height))
        seen = [
            (track, box)
            for track, box in boxes
            if _intersection(box, screen) > _area(box) * _MIN_VISIBLE_SHARE
        ]
        # Nearer faces choose first.
        seen.sort(key=lambda each: each[1][0] - each[1][2])
        faces = [face for _, face in seen]
        for track in scene.tracks:
            self._states.setdefault(track.id, _CaptionState(at)).seen_at = at
        self._states = {
            id_: state
            for id_, state in self._states.items()
            if 0 <= at - state.seen_at <= _STATE_TTL_S
        }
        captions: list[Caption] = []
        taken: list[Box] = []
        for track, face in seen:
            if track.verdict is None:
                continue
            others = [*(other for other in faces if other is not face), *taken]
            label = None
            if self._theme.cycle_candidates:
                label = _rotating_candidate(track.verdict, at + track.id)
            words = self._caption_text(label or track.verdict.label, track.verdict.settled)
            placed_caption = self._place_caption(
                words, face, others, view.screen_wh, at, self._states[track.id]
            )
            if placed_caption is not None:
                caption, spot = placed_caption
                captions.append(caption)
                taken.append(spot)
        idle_captions, brightness = self._idle.update(bool(scene.tracks), at, view.screen_wh)
        captions += idle_captions
        if scene.whole is not None and brightness == 1:
            word, below = self._caption_text(scene.whole.label, scene.whole.settled)
            type_size = round(HUGE * unit * self._theme.text_scale)
            spec = CaptionSpec(word, type_size, round(0.7 * width), below, height // 2)
            if self._measure(spec) is not None or self._whole is None:
                self._whole = spec
            if self._measure(self._whole) is not None:
                captions.append(Caption(self._whole, *_burn_in_offset(at, unit)))
        else:
            self._whole = None
        line_width = 0
        if self._theme.box_width:
            line_width = max(round(unit * _BOX_LINE * self._theme.box_width), 1)
        rounded = tuple(_rounded(face) for face in faces)
        return Layout(rounded, tuple(captions), line_width, brightness)

    def _caption_text(self, label: Label, settled: bool) -> tuple[str, str]:
        """Return the text of a label's caption, and the text below it."""
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
        state: _CaptionState,
    ) -> tuple[Caption, Box] | None:
        """Place a face's caption in the largest type that fits; None if there is no room."""
        unit, gap = min(screen_wh), _gap(screen_wh)
        for size in (LARGE, MEDIUM, SMALL):
            min_width = _FACE_WIDTHS_PER_TYPE * size * unit if size != SMALL else 0
            kept = state.size is not None and size <= state.size
            min_width *= 1 - _SIZE_HYSTERESIS if kept else 1 + _SIZE_HYSTERESIS
            if face[2] - face[0] <= min_width:
                continue
            type_size = round(size * unit * self._theme.text_scale)
            max_width = min(_LINE_WIDTHS_PER_TYPE * type_size, screen_wh[0] - 2 * gap)
            spec = CaptionSpec(words[0], type_size, max_width, words[1], screen_wh[1] // 2)
            measured = self._measure(spec)
            if measured is None and state.spec is not None:
                # The previous caption stays until the next is drawn.
                spec = state.spec
                measured = self._measure(spec)
            if measured is None:
                return None
            may_cover = size == SMALL and face[3] - face[1] > _MAX_FACE_HEIGHT * screen_wh[1]
            spots = _spots(face, measured, others, screen_wh, may_cover)
            if spots:
                corner = _choose(spots, state, at)
                state.spec, state.size, state.corner = spec, size, corner
                spot = spots[corner]
                return Caption(spec, round(spot[0]), round(spot[1])), spot
        state.better_since = None
        return None


def _burn_in_offset(at: float, unit: int) -> tuple[int, int]:
    """Return a slowly moving position in the upper left corner, to avoid burn-in."""
    margin = max(unit * _MARGIN, 1)
    return round(margin * (2 + sin(at / 41))), round(margin * (2 + sin(at / 67)))


def _rotating_candidate(verdict: Verdict, at: float) -> Label | None:
    """Return the candidate to show now; None once the verdict is settled."""
    if verdict.settled or not verdict.candidates:
        return None
    return verdict.candidates[int(at / _CANDIDATE_S) % len(verdict.candidates)]


def _choose(spots: dict[int, Box], state: _CaptionState, at: float) -> int:
    """Choose a free corner: the best, but keep the current one for a while."""
    best = min(spots)
    if state.corner is None or state.corner not in spots or state.corner == best:
        state.better_since = None
        return best
    if state.better_since is None:
        state.better_since = at
    if at - state.better_since < _PLACE_HYSTERESIS_S:
        return state.corner
    state.better_since = None
    return best


def _gap(screen_wh: tuple[int, int]) -> int:
    """Return the gap around captions, pixels."""
    return max(round(min(screen_wh) * _GAP), 1)


def _spots(
    face: Box,
    size: tuple[int, int],
    others: Sequence[Box],
    screen_wh: tuple[int, int],
    may_cover: bool,
) -> dict[int, Box]:
    """Return the places for a face's caption: on the screen, near the face, without overlap.

    The caption covers its own face only if it may. Keys are the numbers of the corners, best first;
    occupied corners are missing.
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
        if any(_intersection(spot, other) for other in others):
            continue
        if may_cover or not _intersection(spot, face):
            found[corner] = spot
    return found


def _rounded(box: Box) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (round(side) for side in box)
    return x0, y0, x1, y1


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _intersection(a: Box, b: Box) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return max(across, 0.0) * max(down, 0.0)
