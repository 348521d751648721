"""The window. OpenGL is used in this package alone, and on the main thread alone."""

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

_MAX_CAPTION_TEXTURES = 128


class Window:
    """Shows frames with boxes and captions.

    Parameters
    ----------
    display
        Monitor, and position of frames on it.
    theme
        Colour, font, sizes and texts.
    headless
        Whether to draw into memory, through EGL, instead of on a screen.
    words
        Words that drift by while nobody is there.

    Attributes
    ----------
    closed
        Whether somebody has closed the window.
    debug
        Whether ``note`` is shown.
    note
        A line for technicians at the bottom.

    Raises
    ------
    DisplayError
        There is no screen, or no OpenGL 3.3.
    """

    def __init__(
        self,
        display: Display,
        theme: Theme,
        headless: bool,
        words: tuple[IdleWord, ...] = (),
    ) -> None:
        self._window, self._connection = open_window(display, headless)
        # Not before the window is open: importing this fixes whether pyglet is headless.
        from pyglet import gl

        self._monitors = [] if self._connection is None else monitors(self._connection)
        self._gl: Any = gl
        self._display = display
        self.closed = False
        self.debug = display.debug
        self.note = ""
        self._drawn_note: CaptionSpec | None = None
        log_renderer(self._window.context.get_info().get_renderer())
        self._window.push_handlers(on_close=self._on_close, on_key_press=self._on_key_press)
        self._canvas = Canvas(gl, display.rotate)
        self._frame_renderer = FrameRenderer(gl, self._canvas)
        self._draw_again: Callable[[], object] | None = None
        self._wait_for_captions = False
        self._caption_textures: OrderedDict[CaptionSpec, Texture] = OrderedDict()
        self._colour_texture, self._shade_texture = Texture(gl, 1, 1, 4), Texture(gl, 1, 1, 4)
        self._build_theme_resources(theme, words)

    def apply_config(self, display: Display, theme: Theme, words: tuple[IdleWord, ...]) -> None:
        """Apply settings that do not require another window."""
        if display.debug != self._display.debug:
            self.debug = display.debug
        self._display = display
        self._caption_renderer.close()
        while self._caption_textures:
            self._caption_textures.popitem()[1].delete()
        self._build_theme_resources(theme, words)

    def _build_theme_resources(self, theme: Theme, words: tuple[IdleWord, ...]) -> None:
        self._typesetter = Typesetter(theme)
        self._caption_renderer = CaptionRenderer(self._typesetter)
        self._layout_engine = LayoutEngine(theme, self._measure, words)
        self._colour_texture.write(np.frombuffer(bytes.fromhex(f"{theme.colour[1:]}ff"), np.uint8))

    def _on_close(self) -> bool:
        self.closed = True
        return True

    def _on_key_press(self, symbol: int, _modifiers: int) -> bool:
        from pyglet.window import key

        self.closed = self.closed or symbol in (key.ESCAPE, key.Q)
        self.debug ^= symbol == key.D
        return True

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the drawing area as seen by viewers, pixels."""
        return self._canvas.upright(self._screen_size)

    @property
    def _screen_size(self) -> tuple[int, int]:
        width, height = self._window.get_framebuffer_size()
        return int(width), int(height)

    @property
    def monitors_changed(self) -> bool:
        """Whether the monitors have changed since the window was opened.

        No active monitor is not a change: one that was turned off will be back.
        """
        if self._connection is None:
            return False
        return monitors(self._connection) not in (self._monitors, [], None)

    @property
    def monitors_off(self) -> bool:
        """Whether no monitor is active, as far as the X server reports it."""
        return self._connection is not None and monitors(self._connection) == []

    def dispatch_events(self) -> None:
        """Process events of the window: keys, and its being closed."""
        self._window.switch_to()
        self._window.dispatch_events()

    def show(
        self, frame: Frame, scene: Scene | None, freeze_detector: FreezeDetector | None = None
    ) -> Layout | None:
        """Show a frame with boxes and captions, synchronised to the screen.

        Parameters
        ----------
        frame
            Usually newer than the scene: boxes are predicted to its time.
        scene
            The newest scene, or None before the first.
        freeze_detector
            Updated with samples of the frame and of what is drawn; None: no samples are taken.

        Returns
        -------
        Layout or None
            What was drawn over the frame.
        """
        self.dispatch_events()
        layout = self._draw_scene(frame, scene)
        if freeze_detector is not None:
            freeze_detector.update(self._sample_frame_luma(frame), self._read_back_rows())
        self._flip()
        self._draw_again = partial(self._draw_scene, frame, scene)
        return layout

    def show_slate(self, words: str) -> None:
        """Show a text on black."""
        self.dispatch_events()
        self._frame_renderer.release()
        self._draw_slate(words)
        self._flip()
        self._draw_again = partial(self._draw_slate, words)

    def fade(self, frame: Frame, faded: float) -> None:
        """Show an outdated frame, partly faded to black, without boxes and captions.

        Parameters
        ----------
        frame
            The last frame.
        faded
            How far it has faded, 0 to 1 (black).
        """
        self.dispatch_events()
        self._draw_faded(frame, faded)
        self._flip()
        self._draw_again = partial(self._draw_faded, frame, faded)

    def screen_off(self) -> None:
        """Turn the screen off if possible; drawing continues invisibly until `screen_on`."""
        self.show_slate("")
        if self._connection is not None:
            turn_off(self._connection)

    def screen_on(self) -> None:
        """Turn the screen on again."""
        if self._connection is not None:
            keep_awake(self._connection)

    def _draw_faded(self, frame: Frame, faded: float) -> None:
        self._draw_scene(frame, None)
        self._draw_shade(faded)

    def _draw_slate(self, words: str) -> None:
        self._canvas.clear(self._screen_size)
        if not words:
            return
        width, height = self.size
        unit = min(width, height)
        spec = CaptionSpec(words, round(LARGE * unit), round(0.8 * width), "", round(0.8 * height))
        wide, high = self._typesetter.measure(spec)
        # It sways to avoid burn-in.
        now = monotonic()
        x, y = (unit / 30 * sin(now / period) for period in (29, 17))
        self._draw_caption(spec, round((width - wide) / 2 + x), round((height - high) / 2 + y))

    def _flip(self) -> None:
        self._window.flip()
        # A software renderer without a screen would otherwise queue up frames without end.
        if pyglet.options.headless:
            self._gl.glFinish()

    def _draw_scene(self, frame: Frame, scene: Scene | None) -> Layout | None:
        """Draw a frame and a scene into the back buffer."""
        view = Viewport(
            (frame.width, frame.height), self.size, self._display.fit, self._display.mirror
        )
        self._canvas.clear(self._screen_size)
        self._frame_renderer.show(frame, view)
        if scene is None:
            return None
        layout = self._layout_engine.arrange(scene, frame.captured_at, view)
        if layout.brightness < 1:
            self._draw_shade(1 - layout.brightness)
        for box in layout.boxes if layout.line_width else ():
            self._draw_box(box, layout.line_width)
        for caption in layout.captions:
            self._draw_caption(caption.spec, caption.x, caption.y)
        if self.debug and self.note:
            self._draw_note()
        return layout

    def _measure(self, spec: CaptionSpec) -> tuple[int, int] | None:
        renderer = self._typesetter if self._wait_for_captions else self._caption_renderer
        return renderer.measure(spec)

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
        """Return samples of the back buffer, which is not on the screen yet."""
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

    def _draw_shade(self, by: float) -> None:
        self._shade_texture.write(np.array([0, 0, 0, round(255 * by)], np.uint8))
        self._blend([self._shade_texture], (0, 0, *self.size))

    def _draw_note(self) -> None:
        width, height = self.size
        spec = CaptionSpec(self.note, round(SMALL * min(width, height)), width)
        if self._measure(spec) is not None or self._drawn_note is None:
            self._drawn_note = spec
        if (measured := self._measure(self._drawn_note)) is not None:
            self._draw_caption(self._drawn_note, 0, height - measured[1])

    def _draw_caption(self, spec: CaptionSpec, x: int, y: int) -> None:
        texture = self._caption_textures.pop(spec, None)
        if texture is None:
            pixels = self._caption_renderer.draw(spec)
            if pixels is None:
                pixels = self._typesetter.draw(spec)
            height, width = pixels.shape[:2]
            texture = Texture(self._gl, width, height, 4)
            texture.write(pixels)
        self._caption_textures[spec] = texture
        if len(self._caption_textures) > _MAX_CAPTION_TEXTURES:
            self._caption_textures.popitem(last=False)[1].delete()
        width, height = texture.size
        self._blend([texture], (x, y, x + width, y + height))

    def _blend(self, textures: list[Texture], place: tuple[float, float, float, float]) -> None:
        gl = self._gl
        gl.glEnable(gl.GL_BLEND)
        gl.glBlendFunc(gl.GL_ONE, gl.GL_ONE_MINUS_SRC_ALPHA)
        self._canvas.draw(textures, place)
        gl.glDisable(gl.GL_BLEND)

    def _draw_box(self, box: tuple[int, int, int, int], line_width: int) -> None:
        x0, y0, x1, y1 = box
        for side in (
            (x0 - line_width, y0 - line_width, x1 + line_width, y0),
            (x0 - line_width, y1, x1 + line_width, y1 + line_width),
            (x0 - line_width, y0, x0, y1),
            (x1, y0, x1 + line_width, y1),
        ):
            self._canvas.draw([self._colour_texture], side)

    def snapshot(self) -> NDArray[np.uint8]:
        """Draw again, invisibly, what was shown last.

        Returns
        -------
        ndarray
            uint8 (height, width, 3), BGR, upright as seen by viewers.
        """
        assert self._draw_again is not None
        gl = self._gl
        self._wait_for_captions = True
        try:
            self._draw_again()
        finally:
            self._wait_for_captions = False
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
        """Close the window."""
        self._caption_renderer.close()
        self._window.close()
