"""Render captions: outlined type, wrapped to a width, cached."""

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
# Width of the dark outline, relative to the type size.
_OUTLINE_RATIO = 0.11
_MIN_TYPE_PX = 8
# Type size of the text below a word, relative to the word's.
_BELOW_RATIO = 0.55
_CACHE_SIZE = 512
_FONTCONFIG_TIMEOUT_S = 2.0
# A code point that no font contains: it renders as the font's glyph for missing characters.
_UNASSIGNED = "\U0010fffe"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=64)
def _open(path: Path | None, size: int) -> Font:
    if path is None:
        return ImageFont.load_default(size)
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=_CACHE_SIZE)
def _missing_glyphs(path: Path | None, characters: frozenset[str]) -> frozenset[str]:
    """Return the characters for which a font has no glyph."""
    font = _open(path, 20)
    nothing = bytes(font.getmask(_UNASSIGNED))
    return frozenset(
        character for character in characters if bytes(font.getmask(character)) == nothing
    )


@lru_cache(maxsize=_CACHE_SIZE)
def _substitute(missing: frozenset[str], wanted: Path | None) -> Path | None:
    """Return a font of this machine that has characters which the wanted one lacks.

    fontconfig finds it (fc-match, with the characters as the charset).
    """
    codes = " ".join(f"{ord(character):x}" for character in sorted(missing))
    command = shutil.which("fc-match") or "fc-match"
    try:
        found = subprocess.run(
            [command, "--format=%{file}", f"sans:bold:charset={codes}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_FONTCONFIG_TIMEOUT_S,
        )
        other = Path(found.stdout)
        if len(_missing_glyphs(other, missing)) < len(missing):
            return other
    except (OSError, subprocess.SubprocessError, ValueError):
        pass
    log.warning("no font on this machine has the characters %s", "".join(sorted(missing)))
    return wanted


def _wrap(words: str, font: Font, max_width: float) -> str:
    """Break a text into lines that fit; a single word that is too long stays so."""
    lines: list[str] = []
    for word in words.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= max_width:
            lines[-1] = joined
        else:
            lines.append(word)
    return "\n".join(lines)


class Typesetter:
    """Renders captions in a theme's colour and font.

    Parameters
    ----------
    theme
        Colour and font.

    Attributes
    ----------
    draw
        Returns a caption as uint8 (height, width, 4), RGBA with premultiplied alpha; cached.
    """

    def __init__(self, theme: Theme) -> None:
        self._colour = theme.colour
        self._font = theme.font or (FONT if FONT.is_file() else None)
        self.draw = lru_cache(maxsize=_CACHE_SIZE)(self._draw_or_blank)

    def measure(self, spec: CaptionSpec) -> tuple[int, int]:
        """Return the width and height of a caption, pixels."""
        height, width = self.draw(spec).shape[:2]
        return width, height

    def _draw_or_blank(self, spec: CaptionSpec) -> NDArray[np.uint8]:
        """Draw a caption, or nothing if that fails: one word must not stop the installation."""
        try:
            return self._draw(spec)
        except (OSError, RuntimeError, ValueError) as error:
            # Not the word, which the journal would keep with the time of a visit.
            log.warning("a caption cannot be drawn: %s", error)
            return np.zeros((1, 1, 4), np.uint8)

    def _draw(self, spec: CaptionSpec) -> NDArray[np.uint8]:
        if not spec.below:
            return self._draw_text(spec.words, spec.size, spec.max_width, spec.max_height)
        share = spec.max_height // 2
        word = self._draw_text(spec.words, spec.size, spec.max_width, share)
        below = self._draw_text(spec.below, round(spec.size * _BELOW_RATIO), spec.max_width, share)
        width = max(word.shape[1], below.shape[1])
        rows = []
        for part in (word, below):
            left = (width - part.shape[1]) // 2
            rows.append(np.pad(part, ((0, 0), (left, width - part.shape[1] - left), (0, 0))))
        return np.concatenate(rows)

    def _draw_text(
        self, words: str, size: int, max_width: int, max_height: int
    ) -> NDArray[np.uint8]:
        words = "".join(character if character.isprintable() else " " for character in words)
        missing = _missing_glyphs(self._font, frozenset(words) - {" "})
        path = _substitute(missing, self._font) if missing else self._font
        size = max(size, _MIN_TYPE_PX)
        while True:
            outline = max(round(size * _OUTLINE_RATIO), 1)
            font = _open(path, size)
            text = _wrap(words, font, max_width - 2 * outline)
            measure = ImageDraw.Draw(Image.new("L", (1, 1)))
            options: dict[str, Any] = {
                "font": font,
                "stroke_width": outline,
                "align": "center",
                "spacing": 0,
            }
            left, top, right, bottom = measure.multiline_textbbox((0, 0), text, **options)
            fits = right - left <= max_width and bottom - top <= max_height
            if fits or size <= _MIN_TYPE_PX:
                break
            size = max(min(size - 1, round(0.95 * size)), _MIN_TYPE_PX)
        image = Image.new("RGBA", (int(right - left) + 2, int(bottom - top) + 2), (0, 0, 0, 0))
        ImageDraw.Draw(image).multiline_text(
            (1 - left, 1 - top), text, fill=self._colour, stroke_fill="black", **options
        )
        pixels = np.array(image, np.float32)
        pixels[..., :3] *= pixels[..., 3:] / 255
        return np.asarray(pixels.round(), np.uint8)


class CaptionRenderer:
    """Renders captions on a thread of its own, so that frames never wait for a word.

    Parameters
    ----------
    typesetter
        Draws the captions.
    """

    def __init__(self, typesetter: Typesetter) -> None:
        self._typesetter = typesetter
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="captions")
        self._pending: dict[CaptionSpec, Future[NDArray[np.uint8]]] = {}

    def draw(self, spec: CaptionSpec) -> NDArray[np.uint8] | None:
        """Return the pixels of a caption, or None while it is being drawn."""
        future = self._pending.pop(spec, None) or self._executor.submit(self._typesetter.draw, spec)
        # The most recently used is evicted last.
        self._pending[spec] = future
        if len(self._pending) > _CACHE_SIZE:
            self._pending.pop(next(iter(self._pending))).cancel()
        return future.result() if future.done() else None

    def measure(self, spec: CaptionSpec) -> tuple[int, int] | None:
        """Return the width and height of a caption in pixels, or None while it is being drawn."""
        pixels = self.draw(spec)
        return None if pixels is None else (pixels.shape[1], pixels.shape[0])

    def close(self) -> None:
        """Stop the thread."""
        self._executor.shutdown(cancel_futures=True)
