"""The window on the wall. OpenGL lives in this room alone, and only on the main thread."""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from math import sin
from time import monotonic
from typing import Any

import numpy as np
import pyglet
from numpy.typing import NDArray

from installation.config.model import Display, Theme
from installation.display.captions import CaptionRenderer, Typesetter
from installation.display.frame_renderer import FrameRenderer
from installation.display.freeze_detector import GRID, FreezeDetector
from installation.display.gl import Canvas, Texture
from installation.display.idle import IdleWord
from installation.display.layout import LARGE, SMALL, CaptionSpec, Layout, Viewport
from installation.display.layout_engine import LayoutEngine
from installation.display.opening import open_window
from installation.display.screen import DisplayError as DisplayError
from installation.display.screen import keep_awake, log_renderer, monitors, turn_off
from installation.scene import Frame, Scene

_TEXTURES_KEPT = 128


class Window:
    """Shows frames with what is known about them.

    Parameters
    ----------
    display
        Which screen, and how the picture lies on it.
    theme
        How it should look.
    headless
        Draw into memory, through EGL, instead of onto a screen.
    words
        What drifts by while nobody is there.

    Attributes
    ----------
    closed
        Whether somebody closed it.
    note
        A line for technicians, shown below while ``debug`` is on.

    Raises
    ------
    DisplayError
        No screen, or no OpenGL 3.3.
    """

    def __init__(
        self,
        display: Display,
        theme: Theme,
        headless: bool,
        words: tuple[IdleWord, ...] = (),
    ) -> None:
        self._window, self._connection = open_window(display, headless)
        # Not before a window: pyglet decides at import whether there is a screen.
        from pyglet import gl

        self._monitors = [] if self._connection is None else monitors(self._connection)
        self._gl: Any = gl
        self._display = display
        self.closed = False
        self.debug = display.debug
        self.note = ""
        self._noted: CaptionSpec | None = None
        log_renderer(self._window.context.get_info().get_renderer())
        self._window.push_handlers(on_close=self._close, on_key_press=self._key)
        self._canvas = Canvas(gl, display.rotate)
        self._picture = FrameRenderer(gl, self._canvas)
        self._draw_again: Callable[[], object] | None = None
        self._patient = False
        self._words: OrderedDict[CaptionSpec, Texture] = OrderedDict()
        self._ink, self._shade = Texture(gl, 1, 1, 4), Texture(gl, 1, 1, 4)
        self._build_theme_resources(theme, words)

    def dress(self, display: Display, theme: Theme, words: tuple[IdleWord, ...]) -> None:
        """Go on by other settings, as far as they take no other window."""
        if display.debug != self._display.debug:
            self.debug = display.debug
        self._display = display
        self._scribe.close()
        while self._words:
            self._words.popitem()[1].delete()
        self._build_theme_resources(theme, words)

    def _build_theme_resources(self, theme: Theme, words: tuple[IdleWord, ...]) -> None:
        self._typesetter = Typesetter(theme)
        self._scribe = CaptionRenderer(self._typesetter)
        self._arranger = LayoutEngine(theme, self._measure, words)
        self._ink.write(np.frombuffer(bytes.fromhex(f"{theme.colour[1:]}ff"), np.uint8))

    def _close(self) -> bool:
        self.closed = True
        return True

    def _key(self, symbol: int, _modifiers: int) -> bool:
        from pyglet.window import key

        self.closed = self.closed or symbol in (key.ESCAPE, key.Q)
        self.debug ^= symbol == key.D
        return True

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what can be drawn on, as it hangs, pixels."""
        return self._canvas.upright(self._screen_size)

    @property
    def _screen_size(self) -> tuple[int, int]:
        width, height = self._window.get_framebuffer_size()
        return int(width), int(height)

    @property
    def moved(self) -> bool:
        """Whether the monitors are no longer those that the window was made for.

        None at all is not a change: one that was turned off will be back.
        """
        if self._connection is None:
            return False
        return monitors(self._connection) not in (self._monitors, [], None)

    @property
    def dark(self) -> bool:
        """Whether no monitor is on, as far as the X server tells."""
        return self._connection is not None and monitors(self._connection) == []

    def attend(self) -> None:
        """Take note of keys and of the window being closed."""
        self._window.switch_to()
        self._window.dispatch_events()

    def show(
        self, frame: Frame, scene: Scene | None, stillness: FreezeDetector | None = None
    ) -> Layout | None:
        """Put a frame on the screen and over it what is known, in step with the screen.

        Parameters
        ----------
        frame
            Usually newer than the scene: boxes are predicted to its time.
        scene
            The newest, or None before the first.
        stillness
            Compares what is drawn with the frame; None: nobody does.

        Returns
        -------
        Layout or None
            What was drawn over the picture.
        """
        self.attend()
        layout = self._compose(frame, scene)
        if stillness is not None:
            stillness.look(self._sample_frame_luma(frame), self._read_back_rows())
        self._flip()
        self._draw_again = partial(self._compose, frame, scene)
        return layout

    def show_slate(self, words: str) -> None:
        """Show a sentence on black, when there is no picture to show."""
        self.attend()
        self._picture.forget()
        self._draw_slate(words)
        self._flip()
        self._draw_again = partial(self._draw_slate, words)

    def fade(self, frame: Frame, gone: float) -> None:
        """Show a frame that is no longer true, without what was known about it.

        Parameters
        ----------
        frame
            The last there was.
        gone
            How far it has faded, 0 to 1 (black).
        """
        self.attend()
        self._draw_faded(frame, gone)
        self._flip()
        self._draw_again = partial(self._draw_faded, frame, gone)

    def darken(self) -> None:
        """Turn the screen off, as far as it can be; drawing goes on unseen until `lighten`."""
        self.show_slate("")
        if self._connection is not None:
            turn_off(self._connection)

    def lighten(self) -> None:
        """Turn the screen on again."""
        if self._connection is not None:
            keep_awake(self._connection)

    def _draw_faded(self, frame: Frame, gone: float) -> None:
        self._compose(frame, None)
        self._darken(gone)

    def _draw_slate(self, words: str) -> None:
        self._canvas.clear(self._screen_size)
        if not words:
            return
        width, height = self.size
        unit = min(width, height)
        style = CaptionSpec(words, round(LARGE * unit), round(0.8 * width), "", round(0.8 * height))
        wide, high = self._typesetter.measure(style)
        # It sways, so that it does not burn in.
        now = monotonic()
        x, y = (unit / 30 * sin(now / period) for period in (29, 17))
        self._draw_words(style, round((width - wide) / 2 + x), round((height - high) / 2 + y))

    def _flip(self) -> None:
        self._window.flip()
        # A software renderer without a screen would otherwise queue up frames without end.
        if pyglet.options.headless:
            self._gl.glFinish()

    def _compose(self, frame: Frame, scene: Scene | None) -> Layout | None:
        """Draw a frame and a scene into the back buffer."""
        view = Viewport(
            (frame.width, frame.height), self.size, self._display.fit, self._display.mirror
        )
        self._canvas.clear(self._screen_size)
        self._picture.show(frame, view)
        if scene is None:
            return None
        layout = self._arranger.arrange(scene, frame.captured_at, view)
        if layout.brightness < 1:
            self._darken(1 - layout.brightness)
        for box in layout.boxes if layout.line else ():
            self._draw_box(box, layout.line)
        for caption in layout.captions:
            self._draw_words(caption.style, caption.x, caption.y)
        if self.debug and self.note:
            self._draw_note()
        return layout

    def _measure(self, style: CaptionSpec) -> tuple[int, int] | None:
        return (self._typesetter if self._patient else self._scribe).measure(style)

    def _sample_frame_luma(self, frame: Frame) -> NDArray[np.uint8]:
        """Return a grid of a frame's brightness, where it is on the screen."""
        view = Viewport(
            (frame.width, frame.height), self.size, self._display.fit, self._display.mirror
        )
        x, y = (
            ((np.arange(count) + 0.5) / count - 0.5) * min(screen / view.scale, side) + side / 2
            for count, screen, side in zip(GRID, self.size, view.frame_wh, strict=True)
        )
        pixels = frame.pixels[: frame.height]
        grid: NDArray[np.uint8] = pixels[np.ix_(y.astype(int), x.astype(int))]
        # Green, or luma.
        return grid if grid.ndim == 2 else grid[..., 1 if frame.layout == "BGR" else 0]

    def _read_back_rows(self) -> NDArray[np.uint8]:
        """Return some rows of what was drawn and is not on the screen yet."""
        gl = self._gl
        width, height = self._screen_size
        rows = np.empty((GRID[1], width, 4), np.uint8)
        gl.glReadBuffer(gl.GL_BACK)
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
        for index, row in enumerate(rows):
            y = (2 * index + 1) * height // (2 * GRID[1])
            data = row.ctypes.data_as(ctypes.c_void_p)
            gl.glReadPixels(0, y, width, 1, gl.GL_BGRA, gl.GL_UNSIGNED_BYTE, data)
        return rows[:, width // (2 * GRID[0]) :: width // GRID[0]]

    def _darken(self, by: float) -> None:
        self._shade.write(np.array([0, 0, 0, round(255 * by)], np.uint8))
        self._blend([self._shade], (0, 0, *self.size))

    def _draw_note(self) -> None:
        width, height = self.size
        style = CaptionSpec(self.note, round(SMALL * min(width, height)), width)
        if self._measure(style) is not None or self._noted is None:
            self._noted = style
        if (measured := self._measure(self._noted)) is not None:
            self._draw_words(self._noted, 0, height - measured[1])

    def _draw_words(self, style: CaptionSpec, x: int, y: int) -> None:
        texture = self._words.pop(style, None)
        if texture is None:
            pixels = self._scribe.draw(style)
            if pixels is None:
                pixels = self._typesetter.draw(style)
            height, width = pixels.shape[:2]
            texture = Texture(self._gl, width, height, 4)
            texture.write(pixels)
        self._words[style] = texture
        if len(self._words) > _TEXTURES_KEPT:
            self._words.popitem(last=False)[1].delete()
        width, height = texture.size
        self._blend([texture], (x, y, x + width, y + height))

    def _blend(self, textures: list[Texture], place: tuple[float, float, float, float]) -> None:
        gl = self._gl
        gl.glEnable(gl.GL_BLEND)
        gl.glBlendFunc(gl.GL_ONE, gl.GL_ONE_MINUS_SRC_ALPHA)
        self._canvas.draw(textures, place)
        gl.glDisable(gl.GL_BLEND)

    def _draw_box(self, box: tuple[int, int, int, int], line: int) -> None:
        x0, y0, x1, y1 = box
        for side in (
            (x0 - line, y0 - line, x1 + line, y0),
            (x0 - line, y1, x1 + line, y1 + line),
            (x0 - line, y0, x0, y1),
            (x1, y0, x1 + line, y1),
        ):
            self._canvas.draw([self._ink], side)

    def snapshot(self) -> NDArray[np.uint8]:
        """Draw what was shown last once more, unseen.

        Returns
        -------
        ndarray
            uint8 (height, width, 3), BGR: what people see, upright however the screen hangs.
        """
        assert self._draw_again is not None
        gl = self._gl
        self._patient = True
        try:
            self._draw_again()
        finally:
            self._patient = False
        width, height = self._screen_size
        pixels = np.empty((height, width, 3), np.uint8)
        gl.glReadBuffer(gl.GL_BACK)
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
        gl.glReadPixels(
            *(0, 0, width, height, gl.GL_BGR, gl.GL_UNSIGNED_BYTE),
            pixels.ctypes.data_as(ctypes.c_void_p),
        )
        return np.ascontiguousarray(np.rot90(pixels[::-1], -self._display.rotate // 90))

    def close(self) -> None:
        """Give the screen back."""
        self._scribe.close()
        self._window.close()
