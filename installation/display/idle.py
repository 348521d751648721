"""What the wall does while nobody is there: the picture dims and the words drift by."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sin

from installation.config.model import Theme
from installation.display.layout import HUGE, MEDIUM, SMALL, Caption, CaptionSpec, Measure

# Seconds over which the picture dims, and how dark it becomes.
_DIMS = 3.0
_DIM = 0.3
# Words rise in lanes, two to a lane at a time; a lane takes so many seconds from edge to edge, each
# a little more than the one before.
_LANES = 4
_LANE_PERIOD_S = 22.0
_SLOWER = 3.7
# Far apart and without a common divisor of the number of words: neighbours are never related.
_STRIDES = 7919, 104729, 350_377
# A gap of so many seconds without pictures says nothing about who was there.
_GAP = 2.0


@dataclass(frozen=True, slots=True)
class IdleWord:
    """A word to drift by, and its way down from *person*."""

    words: str
    path: str


class IdleAnimation:
    """Knows for how long nobody has been there.

    Parameters
    ----------
    theme
        How it should look.
    measure
        Of captions.
    words
        To choose from.
    """

    def __init__(self, theme: Theme, measure: Measure, words: tuple[IdleWord, ...]) -> None:
        self._theme = theme
        self._measure = measure
        self._words = words
        self._alone_since = self._looked_at = -inf
        self._times = 0

    def drift(
        self, someone: bool, at: float, screen_wh: tuple[int, int]
    ) -> tuple[list[Caption], float]:
        """Return what drifts by at a time, seconds, and how bright the picture is, 0 to 1."""
        if someone or not 0 <= at - self._looked_at <= _GAP:
            # Another time, other words.
            self._times += self._looked_at - self._alone_since > self._theme.idle.after
            self._alone_since = at
        self._looked_at = at
        idle = at - self._alone_since - self._theme.idle.after
        if not self._theme.idle.after or idle < 0:
            return [], 1.0
        brightness = 1 - (1 - _DIM) * min(idle / _DIMS, 1)
        return [*self._rising_words(idle, screen_wh), *self._greeting(at, screen_wh)], brightness

    def _rising_words(self, idle: float, screen_wh: tuple[int, int]) -> list[Caption]:
        width, height = screen_wh
        unit = min(screen_wh) * self._theme.size
        lane_width = width / _LANES
        captions = []
        for place in range(2 * _LANES if self._words else 0):
            lane = place % _LANES
            if self._theme.idle.text and 0 < lane < _LANES - 1:
                continue  # The middle is the greeting's.
            period = _LANE_PERIOD_S + _SLOWER * ((lane * 2) % _LANES)
            turns = idle / period - ((place // _LANES) / 2 + lane * 0.37) % 1
            if turns < 0:
                continue
            turn, risen = divmod(turns, 1)
            number = int(turn) * _STRIDES[0] + place * _STRIDES[1] + self._times * _STRIDES[2]
            chosen = number % len(self._words)
            word = self._words[chosen]
            size = round((MEDIUM if place < _LANES else SMALL) * unit)
            style = CaptionSpec(word.words, size, round(0.9 * lane_width), word.path)
            measured = self._measure(style)
            if measured is not None:
                x = (lane + 0.5) * lane_width - measured[0] / 2
                y = height - risen * (height + measured[1])
                captions.append(Caption(style, round(x), round(y)))
        return captions

    def _greeting(self, at: float, screen_wh: tuple[int, int]) -> list[Caption]:
        if not self._theme.idle.text:
            return []
        width, height = screen_wh
        unit = min(screen_wh)
        size = round(HUGE * unit * self._theme.size)
        style = CaptionSpec(self._theme.idle.text, size, width // 2, max_height=height // 2)
        measured = self._measure(style)
        if measured is None:
            return []
        # It sways, so that it does not burn in.
        x = (width - measured[0]) / 2 + unit / 30 * sin(at / 29)
        y = (height - measured[1]) / 2 + unit / 20 * sin(at / 17)
        return [Caption(style, round(x), round(y))]
