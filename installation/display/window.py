"""The window on the wall. OpenGL lives here and nowhere else, and only on the main thread."""

from __future__ import annotations

import ctypes
import os
from collections import OrderedDict
from typing import Any

import numpy as np
import pyglet
from numpy.typing import NDArray

from installation.config import Display
from installation.display.captions import Typesetter
from installation.display.layout import LARGE, Layout, Style, View, arrange
from installation.errors import InstallationError
from installation.scene import Frame, Scene

_VERTEX = """#version 330 core
in vec2 corner;
out vec2 texel;
uniform vec4 place;
uniform vec4 part;
void main() {
    gl_Position = vec4(mix(place.xy, place.zw, corner), 0.0, 1.0);
    texel = mix(part.xy, part.zw, corner);
}
"""
_FRAGMENT = """#version 330 core
in vec2 texel;
out vec4 colour;
uniform sampler2D picture;
void main() { colour = texture(picture, texel); }
"""
_TEXTURES_KEPT = 64


class DisplayError(InstallationError):
    """There is no screen, or none that OpenGL can draw on."""


def has_screen() -> bool:
    """Tell whether an X server is named in the environment."""
    return bool(os.environ.get("DISPLAY"))


class _Texture:
    """Pixels on the graphics card, allocated once and written in place."""

    def __init__(self, gl: Any, width: int, height: int, channels: int) -> None:
        self._gl = gl
        self.size = width, height
        self._format = {3: gl.GL_BGR, 4: gl.GL_RGBA}[channels]
        self.id = gl.GLuint()
        gl.glGenTextures(1, ctypes.byref(self.id))
        self.bind()
        for name, value in (
            (gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR),
            (gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR),
            (gl.GL_TEXTURE_WRAP_S, gl.GL_CLAMP_TO_EDGE),
            (gl.GL_TEXTURE_WRAP_T, gl.GL_CLAMP_TO_EDGE),
        ):
            gl.glTexParameteri(gl.GL_TEXTURE_2D, name, value)
        inner = {3: gl.GL_RGB8, 4: gl.GL_RGBA8}[channels]
        gl.glTexImage2D(
            *(gl.GL_TEXTURE_2D, 0, inner, width, height, 0),
            *(self._format, gl.GL_UNSIGNED_BYTE, None),
        )

    def bind(self) -> None:
        self._gl.glBindTexture(self._gl.GL_TEXTURE_2D, self.id)

    def write(self, pixels: NDArray[np.uint8]) -> None:
        gl = self._gl
        pixels = np.ascontiguousarray(pixels)
        self.bind()
        gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
        gl.glTexSubImage2D(
            *(gl.GL_TEXTURE_2D, 0, 0, 0, *self.size),
            *(self._format, gl.GL_UNSIGNED_BYTE, pixels.ctypes.data_as(ctypes.c_void_p)),
        )

    def delete(self) -> None:
        self._gl.glDeleteTextures(1, ctypes.byref(self.id))


class Window:
    """Shows frames with what is known about them.

    Parameters
    ----------
    display
        How it should look.
    headless
        Draw into memory, through EGL, instead of onto a screen.

    Raises
    ------
    DisplayError
        No screen, or no OpenGL 3.3.
    """

    def __init__(self, display: Display, headless: bool) -> None:
        if not headless and not has_screen():
            raise DisplayError("no screen: DISPLAY is not set; start it from a graphical session")
        pyglet.options.headless = headless
        # Imported late: pyglet decides at import whether there is a screen.
        try:
            from pyglet import gl
            from pyglet.display import get_display
            from pyglet.window import Window as GlWindow

            # Ask for 8 bits a channel: EGL alone would give 5 or 6.
            config = gl.Config(double_buffer=True, red_size=8, green_size=8, blue_size=8)  # type: ignore[abstract]
            where: dict[str, Any] = {"width": display.width, "height": display.height}
            if display.fullscreen and not headless:
                where = {"fullscreen": True, "screen": get_display().get_default_screen()}
            self._window = GlWindow(caption="installation", config=config, vsync=True, **where)
        except Exception as error:
            reason = str(error) or type(error).__name__
            where_to = "in memory" if headless else f"on the screen {os.environ['DISPLAY']}"
            needed = "EGL" if headless else "a running X server"
            raise DisplayError(
                f"nothing can be drawn {where_to}: {reason}; it takes {needed} with OpenGL 3.3"
            ) from error
        self._gl: Any = gl
        self._display = display
        self._window.set_mouse_visible(False)
        self.closed = False
        self._window.push_handlers(on_close=self._close, on_key_press=self._key)
        from pyglet.graphics.shader import Shader, ShaderProgram

        self._program = ShaderProgram(Shader(_VERTEX, "vertex"), Shader(_FRAGMENT, "fragment"))
        corners = (0, 0, 1, 0, 0, 1, 1, 1)
        self._quad = self._program.vertex_list(4, gl.GL_TRIANGLE_STRIP, corner=("f", corners))
        self._picture: _Texture | None = None
        self._shown_seq = -1
        self._shown: tuple[Frame, Scene | None] | None = None
        self._words: OrderedDict[Style, _Texture] = OrderedDict()
        self._typesetter = Typesetter(display.colour)
        self._colour = [part / 255 for part in bytes.fromhex(display.colour[1:])]

    def _close(self) -> bool:
        self.closed = True
        return True

    def _key(self, symbol: int, _modifiers: int) -> bool:
        from pyglet.window import key

        self.closed = self.closed or symbol in (key.ESCAPE, key.Q)
        return True

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what can be drawn on, pixels."""
        width, height = self._window.get_framebuffer_size()
        return int(width), int(height)

    def attend(self) -> None:
        """Take note of keys and of the window being closed."""
        self._window.switch_to()
        self._window.dispatch_events()

    def show(self, frame: Frame, scene: Scene | None) -> Layout | None:
        """Put a frame on the screen and over it what is known, in step with the screen.

        Parameters
        ----------
        frame
            Usually newer than the scene: boxes are predicted to its time.
        scene
            The newest, or None before the first.

        Returns
        -------
        Layout or None
            What was drawn over the picture.
        """
        self.attend()
        layout = self._compose(frame, scene)
        self._flip()
        self._shown = frame, scene
        return layout

    def show_slate(self, words: str) -> None:
        """Show a sentence on black, when there is no picture to show."""
        self.attend()
        self._clear()
        width, height = self.size
        style = Style(words, round(LARGE * min(width, height)), round(0.8 * width))
        wide, high = self._typesetter.measure(style)
        self._draw_words(style, (width - wide) // 2, (height - high) // 2)
        self._flip()

    def _clear(self) -> None:
        gl = self._gl
        gl.glViewport(0, 0, *self.size)
        gl.glClearColor(0, 0, 0, 1)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT)

    def _flip(self) -> None:
        self._window.flip()
        # A software renderer without a screen would otherwise queue up frames without end.
        if pyglet.options.headless:
            self._gl.glFinish()

    def _compose(self, frame: Frame, scene: Scene | None) -> Layout | None:
        """Draw a frame and a scene into the back buffer."""
        view = View((frame.width, frame.height), self.size, self._display.fit, self._display.mirror)
        self._clear()
        self._draw_picture(frame, view)
        if scene is None:
            return None
        layout = arrange(scene, frame.captured_at, view, self._typesetter.measure)
        for box in layout.boxes:
            self._draw_box(box, layout.line)
        for caption in layout.captions:
            self._draw_words(caption.style, caption.x, caption.y)
        return layout

    def _draw_picture(self, frame: Frame, view: View) -> None:
        size = frame.width, frame.height
        if self._picture is None or self._picture.size != size:
            if self._picture is not None:
                self._picture.delete()
            largest = ctypes.c_int()
            self._gl.glGetIntegerv(self._gl.GL_MAX_TEXTURE_SIZE, ctypes.byref(largest))
            if max(size) > largest.value:
                raise DisplayError(
                    f"a picture of {size[0]} x {size[1]} pixels is more than the graphics card "
                    f"can draw ({largest.value}); make the pictures smaller"
                )
            self._picture = _Texture(self._gl, *size, 3)
            self._shown_seq = -1
        if frame.seq != self._shown_seq:
            self._picture.write(frame.bgr)
            self._shown_seq = frame.seq
        left, right = (1.0, 0.0) if view.mirror else (0.0, 1.0)
        self._draw(self._picture, view.picture, (left, 0.0, right, 1.0))

    def _draw_words(self, style: Style, x: int, y: int) -> None:
        texture = self._words.pop(style, None)
        if texture is None:
            pixels = self._typesetter.draw(style)
            height, width = pixels.shape[:2]
            texture = _Texture(self._gl, width, height, 4)
            texture.write(pixels)
        self._words[style] = texture
        if len(self._words) > _TEXTURES_KEPT:
            self._words.popitem(last=False)[1].delete()
        gl = self._gl
        gl.glEnable(gl.GL_BLEND)
        gl.glBlendFunc(gl.GL_ONE, gl.GL_ONE_MINUS_SRC_ALPHA)
        width, height = texture.size
        self._draw(texture, (x, y, x + width, y + height), (0.0, 0.0, 1.0, 1.0))
        gl.glDisable(gl.GL_BLEND)

    def _draw(
        self,
        texture: _Texture,
        place: tuple[float, float, float, float],
        part: tuple[float, float, float, float],
    ) -> None:
        """Draw part of a texture (u0, v0, u1, v1) at a place (xyxy, pixels from the upper left)."""
        width, height = self.size
        x0, y0, x1, y1 = place
        texture.bind()
        self._program.use()
        self._program["place"] = (
            *(2 * x0 / width - 1, 1 - 2 * y0 / height),
            *(2 * x1 / width - 1, 1 - 2 * y1 / height),
        )
        self._program["part"] = part
        self._quad.draw(self._gl.GL_TRIANGLE_STRIP)

    def _draw_box(self, box: tuple[int, int, int, int], line: int) -> None:
        """Draw the four sides of a box, each as a cleared strip."""
        gl = self._gl
        x0, y0, x1, y1 = box
        gl.glEnable(gl.GL_SCISSOR_TEST)
        gl.glClearColor(*self._colour, 1)
        for left, top, right, bottom in (
            (x0 - line, y0 - line, x1 + line, y0),
            (x0 - line, y1, x1 + line, y1 + line),
            (x0 - line, y0, x0, y1),
            (x1, y0, x1 + line, y1),
        ):
            gl.glScissor(left, self.size[1] - bottom, max(right - left, 0), max(bottom - top, 0))
            gl.glClear(gl.GL_COLOR_BUFFER_BIT)
        gl.glDisable(gl.GL_SCISSOR_TEST)

    def snapshot(self) -> NDArray[np.uint8]:
        """Draw what was shown last once more, unseen: uint8 (height, width, 3), BGR."""
        assert self._shown is not None
        gl = self._gl
        self._compose(*self._shown)
        width, height = self.size
        pixels = np.empty((height, width, 3), np.uint8)
        gl.glReadBuffer(gl.GL_BACK)
        gl.glPixelStorei(gl.GL_PACK_ALIGNMENT, 1)
        gl.glReadPixels(
            *(0, 0, width, height, gl.GL_BGR, gl.GL_UNSIGNED_BYTE),
            pixels.ctypes.data_as(ctypes.c_void_p),
        )
        return np.ascontiguousarray(pixels[::-1])

    def close(self) -> None:
        """Give the screen back."""
        self._window.close()
