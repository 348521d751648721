"""The little of OpenGL that is used here: textures, and quads on a canvas that is upright."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Place = tuple[float, float, float, float]

_VERTEX = """#version 330 core
layout(location = 0) in vec2 corner;
out vec2 texel;
uniform vec4 place;
uniform vec4 part;
uniform vec4 hang;
void main() {
    vec2 upright = mix(place.xy, place.zw, corner);
    gl_Position = vec4(mat2(hang.xy, hang.zw) * upright, 0.0, 1.0);
    texel = mix(part.xy, part.zw, corner);
}
"""
_PLAIN = """#version 330 core
in vec2 texel;
out vec4 colour;
uniform sampler2D plane0;
void main() { colour = texture(plane0, texel); }
"""
_WHOLE: Place = (0.0, 0.0, 1.0, 1.0)
# By the degrees that a screen hangs turned clockwise: where what is right and what is up to those
# who look at it lies for the screen itself.
_HANG = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


class Texture:
    """Bytes on the graphics card, allocated once and written in place.

    Parameters
    ----------
    gl
        pyglet's OpenGL.
    width, height
        Texels.
    channels
        Bytes a texel: 1 and 2 are red, green; 3 is blue, green, red; 4 is red, green, blue, alpha.
    """

    def __init__(self, gl: Any, width: int, height: int, channels: int) -> None:
        self._gl = gl
        self.size = width, height
        inner, self._format = {
            1: (gl.GL_R8, gl.GL_RED),
            2: (gl.GL_RG8, gl.GL_RG),
            3: (gl.GL_RGB8, gl.GL_BGR),
            4: (gl.GL_RGBA8, gl.GL_RGBA),
        }[channels]
        self.id = gl.GLuint()
        gl.glGenTextures(1, ctypes.byref(self.id))
        self.bind(0)
        for name, value in (
            (gl.GL_TEXTURE_MIN_FILTER, gl.GL_LINEAR),
            (gl.GL_TEXTURE_MAG_FILTER, gl.GL_LINEAR),
            (gl.GL_TEXTURE_WRAP_S, gl.GL_CLAMP_TO_EDGE),
            (gl.GL_TEXTURE_WRAP_T, gl.GL_CLAMP_TO_EDGE),
        ):
            gl.glTexParameteri(gl.GL_TEXTURE_2D, name, value)
        gl.glTexImage2D(
            *(gl.GL_TEXTURE_2D, 0, inner, width, height, 0),
            *(self._format, gl.GL_UNSIGNED_BYTE, None),
        )

    def bind(self, unit: int) -> None:
        """Let shaders find it as ``plane<unit>``."""
        self._gl.glActiveTexture(self._gl.GL_TEXTURE0 + unit)
        self._gl.glBindTexture(self._gl.GL_TEXTURE_2D, self.id)

    def write(self, pixels: NDArray[np.uint8]) -> None:
        """Replace all of it, by uint8 (height, width, channels) or as many bytes in that order."""
        gl = self._gl
        pixels = np.ascontiguousarray(pixels)
        self.bind(0)
        gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
        gl.glTexSubImage2D(
            *(gl.GL_TEXTURE_2D, 0, 0, 0, *self.size),
            *(self._format, gl.GL_UNSIGNED_BYTE, pixels.ctypes.data_as(ctypes.c_void_p)),
        )

    def delete(self) -> None:
        """Give the memory back."""
        self._gl.glDeleteTextures(1, ctypes.byref(self.id))


class Canvas:
    """What is drawn on: upright for those who look at it, however the screen hangs.

    Parameters
    ----------
    gl
        pyglet's OpenGL, its context current.
    rotate
        Degrees clockwise that the screen hangs turned: 0, 90, 180 or 270.

    Attributes
    ----------
    size
        Width and height of what `clear` made black, as it hangs, pixels.
    """

    def __init__(self, gl: Any, rotate: int) -> None:
        from pyglet.graphics.shader import Shader

        self._gl = gl
        self._hang = _HANG[rotate]
        self._vertex = Shader(_VERTEX, "vertex")
        self._plain = self.program(_PLAIN)
        corners = (0, 0, 1, 0, 0, 1, 1, 1)
        self._quad = self._plain.vertex_list(4, gl.GL_TRIANGLE_STRIP, corner=("f", corners))
        self.size = 1, 1

    def upright(self, screen_wh: tuple[int, int]) -> tuple[int, int]:
        """Return the width and height that a screen has once hung, pixels."""
        width, height = screen_wh
        return (width, height) if self._hang[0] else (height, width)

    def clear(self, screen_wh: tuple[int, int]) -> None:
        """Make a screen of some width and height black; all is drawn on it from here on."""
        gl = self._gl
        self.size = self.upright(screen_wh)
        gl.glViewport(0, 0, *screen_wh)
        gl.glClearColor(0, 0, 0, 1)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT)

    def program(self, fragment: str) -> Any:
        """Compile a fragment shader that makes ``colour`` of ``plane0``, … at ``texel``."""
        from pyglet.graphics.shader import Shader, ShaderProgram

        program = ShaderProgram(self._vertex, Shader(fragment, "fragment"))
        program.use()
        program["hang"] = self._hang
        for name in program.uniforms:
            if name.startswith("plane"):
                program[name] = int(name.removeprefix("plane"))
        return program

    def draw(
        self,
        textures: Sequence[Texture],
        place: Place,
        part: Place = _WHOLE,
        program: Any = None,
    ) -> None:
        """Draw textures onto a rectangle.

        Parameters
        ----------
        textures
            The planes of the program.
        place
            Where: xyxy in pixels from the canvas's upper left.
        part
            Which part of them: u0, v0, u1, v1.
        program
            Of `program`; None shows a texture as it is.
        """
        program = program or self._plain
        width, height = self.size
        x0, y0, x1, y1 = place
        for unit, texture in enumerate(textures):
            texture.bind(unit)
        program.use()
        program["place"] = (
            *(2 * x0 / width - 1, 1 - 2 * y0 / height),
            *(2 * x1 / width - 1, 1 - 2 * y1 / height),
        )
        program["part"] = part
        self._quad.draw(self._gl.GL_TRIANGLE_STRIP)
