"""The camera's picture on the canvas, in whichever layout the camera gave its pixels."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from installation.display.gl import Canvas, Texture
from installation.display.layout import Viewport
from installation.errors import InstallationError
from installation.scene import Frame, PixelLayout

_HEAD = """#version 330 core
in vec2 texel;
out vec4 colour;
uniform sampler2D plane0;
"""
# BT.601 in the limited range: what V4L2 means by YUYV and NV12 unless a driver says otherwise
# ("Colorspaces" in the kernel's V4L2 documentation: SMPTE 170M), and what OpenCV's cvtColor and
# kernels.cu take it for. The matrix's columns are what Y, U and V add to red, green and blue.
_YUV = (
    _HEAD
    + """
vec4 from_yuv(vec3 yuv) {
    const mat3 rgb = mat3(1.0, 1.0, 1.0,  0.0, -0.344136, 1.772,  1.402, -0.714136, 0.0);
    vec3 full = (yuv * 255.0 - vec3(16.0, 128.0, 128.0)) / vec3(219.0, 224.0, 224.0);
    return vec4(rgb * full, 1.0);
}
"""
)
_FRAGMENTS: dict[PixelLayout, str] = {
    "BGR": _HEAD + "void main() { colour = texture(plane0, texel); }",
    # A texel holds two pixels, which the card must not mix from left to right: that is done here.
    "YUYV": _YUV
    + """
vec3 column(float x, float pairs) {
    x = clamp(x, 0.0, 2.0 * pairs - 1.0);
    float pair = floor(x * 0.5);
    vec4 both = texture(plane0, vec2((pair + 0.5) / pairs, texel.y));
    return vec3(x - 2.0 * pair < 0.5 ? both.r : both.b, both.ga);
}
void main() {
    float pairs = float(textureSize(plane0, 0).x);
    float x = texel.x * 2.0 * pairs - 0.5;
    float left = floor(x);
    colour = from_yuv(mix(column(left, pairs), column(left + 1.0, pairs), x - left));
}
""",
    "NV12": _YUV
    + """
uniform sampler2D plane1;
void main() { colour = from_yuv(vec3(texture(plane0, texel).r, texture(plane1, texel).rg)); }
""",
}


class PictureError(InstallationError):
    """The graphics card cannot hold a picture that large."""


def _planes(layout: PixelLayout, width: int, height: int) -> tuple[tuple[int, int, int], ...]:
    """Return the width, height and channels of the textures that a picture takes."""
    if layout == "YUYV":
        return ((width // 2, height, 4),)
    if layout == "NV12":
        return (width, height, 1), (width // 2, height // 2, 2)
    return ((width, height, 3),)


class FrameRenderer:
    """Shows frames: mirrored, scaled and turned by the card, written to it once each.

    Parameters
    ----------
    gl
        pyglet's OpenGL.
    canvas
        To draw on.
    """

    def __init__(self, gl: Any, canvas: Canvas) -> None:
        self._gl = gl
        self._canvas = canvas
        self._programs = {name: canvas.program(text) for name, text in _FRAGMENTS.items()}
        self._form: tuple[PixelLayout, int, int] | None = None
        self._textures: list[Texture] = []
        self._written: Frame | None = None

    def show(self, frame: Frame, view: Viewport) -> None:
        """Draw a frame; raises `PictureError` where the card cannot.

        Parameters
        ----------
        frame
            One that was drawn last is not written to the card again.
        view
            How it lies on the canvas.
        """
        form = frame.layout, frame.width, frame.height
        if form != self._form:
            self._allocate(*form)
            self._form = form
        if frame is not self._written:
            self._write(frame)
            self._written = frame
        left, right = (1.0, 0.0) if view.mirror else (0.0, 1.0)
        program = self._programs[frame.layout]
        self._canvas.draw(self._textures, view.picture, (left, 0.0, right, 1.0), program)

    def forget(self) -> None:
        """Let go of the frame that was drawn last, here and on the card."""
        for texture in self._textures:
            texture.delete()
        self._textures, self._form, self._written = [], None, None

    def _allocate(self, layout: PixelLayout, width: int, height: int) -> None:
        self.forget()
        largest = ctypes.c_int()
        self._gl.glGetIntegerv(self._gl.GL_MAX_TEXTURE_SIZE, ctypes.byref(largest))
        if max(width, height) > largest.value:
            raise PictureError(
                f"a picture of {width} x {height} pixels is more than the graphics card "
                f"can draw ({largest.value}); make the pictures smaller"
            )
        for plane in _planes(layout, width, height):
            self._textures.append(Texture(self._gl, *plane))

    def _write(self, frame: Frame) -> None:
        planes: list[NDArray[np.uint8]] = [frame.pixels]
        if frame.layout == "NV12":
            planes = [frame.pixels[: frame.height], frame.pixels[frame.height :]]
        for texture, plane in zip(self._textures, planes, strict=True):
            texture.write(plane)
