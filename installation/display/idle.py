"""The idle animation: while nobody is there, the image dims and words drift by."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sin

from installation.config.model import Theme
from installation.display.layout import HUGE, MEDIUM, SMALL, Caption, CaptionSpec, Measure

# How long the image takes to dim, and its brightness then.
_DIM_DURATION_S = 3.0
_DIMMED_BRIGHTNESS = 0.3
# Words rise in lanes, two per lane at a time; each lane is a little slower than the one before.
_LANES = 4
_LANE_PERIOD_S = 22.0
_LANE_PERIOD_STEP_S = 3.7
# Large primes: words that are shown together are not neighbours in the taxonomy.
_STRIDES = 7919, 104729, 350_377
# After a longer gap between frames it is unknown whether anybody was there.
_MAX_GAP_S = 2.0


@dataclass(frozen=True, slots=True)
class IdleWord:
    """A word that drifts by, and its hypernym path from *person*."""

    words: str
    path: str


class IdleAnimation:
    """Animates words once nobody has been there for a while.

    Parameters
    ----------
    theme
        Idle settings and text size.
    measure
        Returns the size of a caption.
    words
        The words to show.
    """

    def __init__(self, theme: Theme, measure: Measure, words: tuple[IdleWord, ...]) -> None:
        self._theme = theme
        self._measure = measure
        self._words = words
        self._alone_since = self._updated_at = -inf
        self._round = 0

    def update(
        self, is_anyone_there: bool, at: float, screen_wh: tuple[int, int]
    ) -> tuple[list[Caption], float]:
        """Return the captions at a time, and the brightness of the image.

        Parameters
        ----------
        is_anyone_there
            Whether the scene has a face.
        at
            Time of the frame, monotonic seconds.
        screen_wh
            Size of the screen, pixels.

        Returns
        -------
        captions, brightness
            Captions to draw, and brightness of the image, 0 to 1.
        """
        if is_anyone_there or not 0 <= at - self._updated_at <= _MAX_GAP_S:
            # Next time, start with other words.
            self._round += self._updated_at - self._alone_since > self._theme.idle.after_s
            self._alone_since = at
        self._updated_at = at
        idle = at - self._alone_since - self._theme.idle.after_s
        if not self._theme.idle.after_s or idle < 0:
            return [], 1.0
        brightness = 1 - (1 - _DIMMED_BRIGHTNESS) * min(idle / _DIM_DURATION_S, 1)
        return [*self._rising_words(idle, screen_wh), *self._greeting(at, screen_wh)], brightness

    def _rising_words(self, idle: float, screen_wh: tuple[int, int]) -> list[Caption]:
        width, height = screen_wh
        unit = min(screen_wh) * self._theme.text_scale
        lane_width = width / _LANES
        captions = []
        for place in range(2 * _LANES if self._words else 0):
            lane = place % _LANES
            if self._theme.idle.text and 0 < lane < _LANES - 1:
                continue  # The middle is reserved for the text.
            period = _LANE_PERIOD_S + _LANE_PERIOD_STEP_S * ((lane * 2) % _LANES)
            turns = idle / period - ((place // _LANES) / 2 + lane * 0.37) % 1
            if turns < 0:
                continue
            turn, risen = divmod(turns, 1)
            number = int(turn) * _STRIDES[0] + place * _STRIDES[1] + self._round * _STRIDES[2]
            chosen = number % len(self._words)
            word = self._words[chosen]
            size = round((MEDIUM if place < _LANES else SMALL) * unit)
            spec = CaptionSpec(word.words, size, round(0.9 * lane_width), word.path)
            measured = self._measure(spec)
            if measured is not None:
                x = (lane + 0.5) * lane_width - measured[0] / 2
                y = height - risen * (height + measured[1])
                captions.append(Caption(spec, round(x), round(y)))
        return captions

    def _greeting(self, at: float, screen_wh: tuple[int, int]) -> list[Caption]:
        if not self._theme.idle.text:
            return []
        width, height = screen_wh
        unit = min(screen_wh)
        size = round(HUGE * unit * self._theme.text_scale)
        spec = CaptionSpec(self._theme.idle.text, size, width // 2, max_height=height // 2)
        measured = self._measure(spec)
        if measured is None:
            return []
        # It sways to avoid burn-in.
        x = (width - measured[0]) / 2 + unit / 30 * sin(at / 29)
        y = (height - measured[1]) / 2 + unit / 20 * sin(at / 17)
        return [Caption(spec, round(x), round(y))]
