"""Words to pixels: outlined type, wrapped to a width, kept once drawn."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from installation.display.layout import Style

_FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf")
# Thickness of the dark outline, as a part of the type's height.
_OUTLINE = 0.11
_SMALLEST_TYPE = 8
_KEPT = 256

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=32)
def _font(size: int) -> Font:
    return ImageFont.truetype(_FONT, size) if _FONT.is_file() else ImageFont.load_default(size)


def _wrap(words: str, font: Font, max_width: float) -> str:
    """Break a text into lines that fit; a word that is too long alone stays too long."""
    lines: list[str] = []
    for word in words.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= max_width:
            lines[-1] = joined
        else:
            lines.append(word)
    return "\n".join(lines)


class Typesetter:
    """Sets captions in one colour.

    Parameters
    ----------
    colour
        ``#rrggbb``.
    """

    def __init__(self, colour: str) -> None:
        self._colour = colour
        self.draw = lru_cache(maxsize=_KEPT)(self._draw)

    def measure(self, style: Style) -> tuple[int, int]:
        """Width and height in pixels of a style once set."""
        height, width = self.draw(style).shape[:2]
        return width, height

    def _draw(self, style: Style) -> NDArray[np.uint8]:
        """Set a caption; through ``draw`` it is kept for the next time.

        Returns
        -------
        ndarray
            uint8 (height, width, 4), RGBA, colours multiplied by alpha.
        """
        size = max(style.size, _SMALLEST_TYPE)
        while True:
            outline = max(round(size * _OUTLINE), 1)
            font = _font(size)
            text = _wrap(style.words, font, style.max_width - 2 * outline)
            measure = ImageDraw.Draw(Image.new("L", (1, 1)))
            setting: dict[str, Any] = {
                "font": font,
                "stroke_width": outline,
                "align": "center",
                "spacing": 0,
            }
            left, top, right, bottom = measure.multiline_textbbox((0, 0), text, **setting)
            if right - left <= style.max_width or size <= _SMALLEST_TYPE:
                break
            size -= 1
        image = Image.new("RGBA", (int(right - left) + 2, int(bottom - top) + 2), (0, 0, 0, 0))
        ImageDraw.Draw(image).multiline_text(
            (1 - left, 1 - top), text, fill=self._colour, stroke_fill="black", **setting
        )
        pixels = np.array(image, np.float32)
        pixels[..., :3] *= pixels[..., 3:] / 255
        return np.asarray(pixels.round(), np.uint8)
