"""Words to pixels: outlined type, wrapped to a width, kept once drawn."""

from __future__ import annotations

import logging
import shutil
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from installation.config.model import Theme
from installation.display.layout import CaptionSpec

log = logging.getLogger(__name__)

FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf")
# Thickness of the dark outline, as a part of the type's height.
_OUTLINE = 0.11
_SMALLEST_TYPE = 8
# Height of what is said below a word, in parts of the word's.
_BELOW = 0.55
_KEPT = 512
# Seconds that fontconfig has to find a font.
_PATIENCE = 2.0
# A code point that no font has: drawn, it shows what a font puts where it has no glyph.
_NOWHERE = "\U0010fffe"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=64)
def _open(path: Path | None, size: int) -> Font:
    if path is None:
        return ImageFont.load_default(size)
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=_KEPT)
def _missing_glyphs(path: Path | None, letters: frozenset[str]) -> frozenset[str]:
    """Return the letters a font has no glyph for."""
    font = _open(path, 20)
    nothing = bytes(font.getmask(_NOWHERE))
    return frozenset(letter for letter in letters if bytes(font.getmask(letter)) == nothing)


@lru_cache(maxsize=_KEPT)
def _substitute(missing: frozenset[str], wanted: Path | None) -> Path | None:
    """Return one of the machine's fonts that has letters the wanted one lacks.

    fontconfig knows which (fc-match, with the letters as the set of characters to cover).
    """
    codes = " ".join(f"{ord(letter):x}" for letter in sorted(missing))
    command = shutil.which("fc-match") or "fc-match"
    try:
        found = subprocess.run(
            [command, "--format=%{file}", f"sans:bold:charset={codes}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE,
        )
        other = Path(found.stdout)
        if len(_missing_glyphs(other, missing)) < len(missing):
            return other
    except (OSError, subprocess.SubprocessError, ValueError):
        pass
    log.warning("no font on this machine has the letters %s", "".join(sorted(missing)))
    return wanted


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
    """Sets captions in a theme's colour and type.

    Parameters
    ----------
    theme
        How they look.
    """

    def __init__(self, theme: Theme) -> None:
        self._colour = theme.colour
        self._font = theme.font or (FONT if FONT.is_file() else None)
        self.draw = lru_cache(maxsize=_KEPT)(self._draw_anyway)

    def measure(self, style: CaptionSpec) -> tuple[int, int]:
        """Width and height in pixels of a style once set."""
        height, width = self.draw(style).shape[:2]
        return width, height

    def _draw_anyway(self, style: CaptionSpec) -> NDArray[np.uint8]:
        """Set a caption, or nothing where that fails: one word is not worth the wall."""
        try:
            return self._draw(style)
        except (OSError, RuntimeError, ValueError) as error:
            log.warning("%r cannot be set: %s", style.words, error)
            return np.zeros((1, 1, 4), np.uint8)

    def _draw(self, style: CaptionSpec) -> NDArray[np.uint8]:
        """Set a caption; through ``draw`` it is kept for the next time.

        Returns
        -------
        ndarray
            uint8 (height, width, 4), RGBA, colours multiplied by alpha.
        """
        if not style.below:
            return self._set(style.words, style.size, style.max_width, style.max_height)
        share = style.max_height // 2
        word = self._set(style.words, style.size, style.max_width, share)
        below = self._set(style.below, round(style.size * _BELOW), style.max_width, share)
        width = max(word.shape[1], below.shape[1])
        rows = []
        for part in (word, below):
            left = (width - part.shape[1]) // 2
            rows.append(np.pad(part, ((0, 0), (left, width - part.shape[1] - left), (0, 0))))
        return np.concatenate(rows)

    def _set(self, words: str, size: int, max_width: int, max_height: int) -> NDArray[np.uint8]:
        words = "".join(letter if letter.isprintable() else " " for letter in words)
        missing = _missing_glyphs(self._font, frozenset(words) - {" "})
        path = _substitute(missing, self._font) if missing else self._font
        size = max(size, _SMALLEST_TYPE)
        while True:
            outline = max(round(size * _OUTLINE), 1)
            font = _open(path, size)
            text = _wrap(words, font, max_width - 2 * outline)
            measure = ImageDraw.Draw(Image.new("L", (1, 1)))
            setting: dict[str, Any] = {
                "font": font,
                "stroke_width": outline,
                "align": "center",
                "spacing": 0,
            }
            left, top, right, bottom = measure.multiline_textbbox((0, 0), text, **setting)
            fits = right - left <= max_width and bottom - top <= max_height
            if fits or size <= _SMALLEST_TYPE:
                break
            size = max(min(size - 1, round(0.95 * size)), _SMALLEST_TYPE)
        image = Image.new("RGBA", (int(right - left) + 2, int(bottom - top) + 2), (0, 0, 0, 0))
        ImageDraw.Draw(image).multiline_text(
            (1 - left, 1 - top), text, fill=self._colour, stroke_fill="black", **setting
        )
        pixels = np.array(image, np.float32)
        pixels[..., :3] *= pixels[..., 3:] / 255
        return np.asarray(pixels.round(), np.uint8)


class CaptionRenderer:
    """Sets captions in a thread of its own, so that the picture never waits for a word.

    Parameters
    ----------
    typesetter
        Who sets them.
    """

    def __init__(self, typesetter: Typesetter) -> None:
        self._typesetter = typesetter
        self._desk = ThreadPoolExecutor(1, thread_name_prefix="scribe")
        self._ordered: dict[CaptionSpec, Future[NDArray[np.uint8]]] = {}

    def draw(self, style: CaptionSpec) -> NDArray[np.uint8] | None:
        """Return the pixels of a caption, or None while it is being set."""
        order = self._ordered.pop(style, None) or self._desk.submit(self._typesetter.draw, style)
        # The last asked for is the last to be forgotten.
        self._ordered[style] = order
        if len(self._ordered) > _KEPT:
            self._ordered.pop(next(iter(self._ordered))).cancel()
        return order.result() if order.done() else None

    def measure(self, style: CaptionSpec) -> tuple[int, int] | None:
        """Width and height in pixels of a style, or None while it is being set."""
        pixels = self.draw(style)
        return None if pixels is None else (pixels.shape[1], pixels.shape[0])

    def close(self) -> None:
        """Lay down the pen."""
        self._desk.shutdown(cancel_futures=True)
