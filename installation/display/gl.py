"""A thin layer over OpenGL: textures, and quads on a canvas that is upright."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rectangle = tuple[float, float, float, float]

_VERTEX = """#version 330 core
layout(location = 0) in vec2 corner;
out vec2 texel;
uniform vec4 place;
uniform vec4 part;
uniform vec4 orientation;
void main() {
    vec2 upright = mix(place.xy, place.zw, corner);
    gl_Position = vec4(mat2(orientation.xy, orientation.zw) * upright, 0.0, 1.0);
    texel = mix(part.xy, part.zw, corner);
}
"""
_PLAIN = """#version 330 core
in vec2 texel;
out vec4 colour;
uniform sampler2D plane0;
void main() { colour = texture(plane0, texel); }
"""
_WHOLE_TEXTURE: Rectangle = (0.0, 0.0, 1.0, 1.0)
# By the clockwise rotation of the screen in degrees: the viewer's right and up, as vectors in the
# screen's own coordinates.
_ORIENTATIONS = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


class Texture:
    """A texture on the GPU, allocated once and overwritten in place.

    Parameters
    ----------
    gl
        pyglet's OpenGL.
    width, height
        Texels.
    channels
        Bytes per texel: 1 is R, 2 is RG, 3 is BGR, 4 is RGBA.
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
        """Bind the texture as ``plane<unit>`` of the shaders."""
        self._gl.glActiveTexture(self._gl.GL_TEXTURE0 + unit)
        self._gl.glBindTexture(self._gl.GL_TEXTURE_2D, self.id)

    def write(self, pixels: NDArray[np.uint8]) -> None:
        """Replace the content by uint8 (height, width, channels), or its bytes in another shape."""
        gl = self._gl
        pixels = np.ascontiguousarray(pixels)
        self.bind(0)
        gl.glPixelStorei(gl.GL_UNPACK_ALIGNMENT, 1)
        gl.glTexSubImage2D(
            *(gl.GL_TEXTURE_2D, 0, 0, 0, *self.size),
            *(self._format, gl.GL_UNSIGNED_BYTE, pixels.ctypes.data_as(ctypes.c_void_p)),
        )

    def delete(self) -> None:
        """Free the memory."""
        self._gl.glDeleteTextures(1, ctypes.byref(self.id))


class Canvas:
    """The drawing surface, upright for viewers however the screen is mounted.

    Parameters
    ----------
    gl
        pyglet's OpenGL, its context current.
    rotate
        Clockwise rotation of the screen: 0, 90, 180 or 270 degrees.

    Attributes
    ----------
    size
        Width and height as seen by viewers, pixels; set by `clear`.
    """

    def __init__(self, gl: Any, rotate: int) -> None:
        from pyglet.graphics.shader import Shader

        self._gl = gl
        self._orientation = _ORIENTATIONS[rotate]
        self._vertex = Shader(_VERTEX, "vertex")
        self._plain = self.program(_PLAIN)
        corners = (0, 0, 1, 0, 0, 1, 1, 1)
        self._quad = self._plain.vertex_list(4, gl.GL_TRIANGLE_STRIP, corner=("f", corners))
        self.size = 1, 1

    def upright(self, screen_wh: tuple[int, int]) -> tuple[int, int]:
        """Return the width and height of a screen as seen by viewers, pixels."""
        width, height = screen_wh
        return (width, height) if self._orientation[0] else (height, width)

    def clear(self, screen_wh: tuple[int, int]) -> None:
        """Clear a screen of the given size; everything is drawn on it from now on."""
        gl = self._gl
        self.size = self.upright(screen_wh)
        gl.glViewport(0, 0, *screen_wh)
        gl.glClearColor(0, 0, 0, 1)
        gl.glClear(gl.GL_COLOR_BUFFER_BIT)

    def program(self, fragment: str) -> Any:
        """Compile a fragment shader that computes ``colour`` from ``plane0``, … at ``texel``."""
        from pyglet.graphics.shader import Shader, ShaderProgram

        program = ShaderProgram(self._vertex, Shader(fragment, "fragment"))
        program.use()
        program["orientation"] = self._orientation
        for name in program.uniforms:
            if name.startswith("plane"):
                program[name] = int(name.removeprefix("plane"))
        return program

    def draw(
        self,
        textures: Sequence[Texture],
        place: Rectangle,
        part: Rectangle = _WHOLE_TEXTURE,
        program: Any = None,
    ) -> None:
        """Draw textures onto a rectangle.

        Parameters
        ----------
        textures
            The planes that the program samples.
        place
            The rectangle: xyxy in pixels from the canvas's upper left corner.
        part
            The part of the textures: u0, v0, u1, v1, each 0 to 1.
        program
            A result of `program`; None: the texture as it is.
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
