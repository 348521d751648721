"""How a picture, and what is drawn over it, lies on a screen, whose origin is its upper left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from installation.scene import Box

# Heights of type, as parts of the screen's shorter side.
SMALL, MEDIUM, LARGE, HUGE = 1 / 40, 1 / 29, 1 / 21, 1 / 15


@dataclass(frozen=True, slots=True)
class Viewport:
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
class CaptionSpec:
    """How a caption is to be set: the key under which it is kept once drawn.

    Attributes
    ----------
    words
        The text.
    size
        Height of the type, pixels.
    max_width
        Lines are wrapped to this many pixels; a longer word makes the type smaller.
    below
        What is said underneath in smaller type, or nothing.
    max_height
        More lines than fit into this many pixels make the type smaller.
    """

    words: str
    size: int
    max_width: int
    below: str = ""
    max_height: int = 10_000


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption and where its upper left corner goes, in whole pixels."""

    style: CaptionSpec
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
    brightness
        Of the picture underneath, 0 to 1.
    """

    boxes: tuple[tuple[int, int, int, int], ...]
    captions: tuple[Caption, ...]
    line: int
    brightness: float = 1.0


# Gives the width and height, in pixels, that a style takes once set; None while it is being set.
Measure = Callable[[CaptionSpec], tuple[int, int] | None]
