"""Where a frame and its captions go on the screen; the origin is the upper left corner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from installation.scene import Box

# Type sizes relative to the screen's shorter side.
SMALL, MEDIUM, LARGE, HUGE = 1 / 40, 1 / 29, 1 / 21, 1 / 15


@dataclass(frozen=True, slots=True)
class Viewport:
    """Position of a frame on the screen.

    Attributes
    ----------
    frame_wh, screen_wh
        Sizes, pixels.
    fit
        ``cover``: the frame fills the screen and is cropped; ``contain``: all of it is visible.
    mirror
        Whether left and right are exchanged.
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
    def frame_box(self) -> Box:
        """The whole frame in screen pixels; with ``cover`` it extends beyond the screen."""
        width, height = (side * self.scale for side in self.frame_wh)
        left, top = (self.screen_wh[0] - width) / 2, (self.screen_wh[1] - height) / 2
        return left, top, left + width, top + height

    def place(self, box: Box) -> Box:
        """Map a box in the frame to the screen."""
        left, top, right, _ = self.frame_box
        x0, y0, x1, y1 = (side * self.scale for side in box)
        if self.mirror:
            return right - x1, top + y0, right - x0, top + y1
        return left + x0, top + y0, left + x1, top + y1


@dataclass(frozen=True, slots=True)
class CaptionSpec:
    """Text and type size of a caption; the key of the caption caches.

    Attributes
    ----------
    words
        The text.
    size
        Type size, pixels.
    max_width
        Width at which lines are wrapped, pixels; a longer word makes the type smaller.
    below
        Text underneath in smaller type, or nothing.
    max_height
        Height, pixels; more lines than fit make the type smaller.
    """

    words: str
    size: int
    max_width: int
    below: str = ""
    max_height: int = 10_000


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption and its upper left corner, whole pixels."""

    spec: CaptionSpec
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What to draw over a frame.

    Attributes
    ----------
    boxes
        Around faces, xyxy in whole pixels.
    captions
        Captions.
    line_width
        Width of the boxes' lines, pixels.
    brightness
        Brightness of the frame underneath, 0 to 1.
    """

    boxes: tuple[tuple[int, int, int, int], ...]
    captions: tuple[Caption, ...]
    line_width: int
    brightness: float = 1.0


# Returns the width and height of a caption in pixels; None while it is being drawn.
Measure = Callable[[CaptionSpec], tuple[int, int] | None]
