"""Draw frames on the canvas in the pixel layout that the camera delivered."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from installation.display.gl import Canvas, Texture
from installation.display.layout import Viewport
from installation.errors import InstallationError
from installation.scene import Frame, PixelLayout

_HEADER = """#version 330 core
in vec2 texel;
out vec4 colour;
uniform sampler2D plane0;
"""
# BT.601, limited range: the default of YUYV and NV12 in V4L2 ("Colorspaces" in the kernel's V4L2
# documentation: SMPTE 170M), and what OpenCV's cvtColor and kernels.cu assume. The columns of the
# matrix are the contributions of Y, U and V to red, green and blue.
_YUV = (
    _HEADER
    + """
vec4 from_yuv(vec3 yuv) {
    const mat3 rgb = mat3(1.0, 1.0, 1.0,  0.0, -0.344136, 1.772,  1.402, -0.714136, 0.0);
    vec3 full = (yuv * 255.0 - vec3(16.0, 128.0, 128.0)) / vec3(219.0, 224.0, 224.0);
    return vec4(rgb * full, 1.0);
}
"""
)
_FRAGMENTS: dict[PixelLayout, str] = {
    "BGR": _HEADER + "void main() { colour = texture(plane0, texel); }",
    # A texel holds two pixels, so the GPU must not interpolate horizontally: the shader does.
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


class FrameTooLargeError(InstallationError):
    """The frame is larger than the GPU's largest texture."""


def _planes(layout: PixelLayout, width: int, height: int) -> tuple[tuple[int, int, int], ...]:
    """Return the width, height and channels of the textures for a frame."""
    if layout == "YUYV":
        return ((width // 2, height, 4),)
    if layout == "NV12":
        return (width, height, 1), (width // 2, height // 2, 2)
    return ((width, height, 3),)


class FrameRenderer:
    """Draws frames; the GPU mirrors, scales and rotates them. Each is uploaded once.

    Parameters
    ----------
    gl
        pyglet's OpenGL.
    canvas
        Canvas to draw on.
    """

    def __init__(self, gl: Any, canvas: Canvas) -> None:
        self._gl = gl
        self._canvas = canvas
        self._programs = {name: canvas.program(text) for name, text in _FRAGMENTS.items()}
        self._format: tuple[PixelLayout, int, int] | None = None
        self._textures: list[Texture] = []
        self._uploaded: Frame | None = None

    def show(self, frame: Frame, view: Viewport) -> None:
        """Draw a frame.

        Parameters
        ----------
        frame
            The frame; it is not uploaded again if it was drawn last.
        view
            Its position on the canvas.

        Raises
        ------
        FrameTooLargeError
            The GPU cannot hold the frame.
        """
        format_ = frame.layout, frame.width, frame.height
        if format_ != self._format:
            self._allocate(*format_)
            self._format = format_
        if frame is not self._uploaded:
            self._upload(frame)
            self._uploaded = frame
        left, right = (1.0, 0.0) if view.mirror else (0.0, 1.0)
        program = self._programs[frame.layout]
        self._canvas.draw(self._textures, view.frame_box, (left, 0.0, right, 1.0), program)

    def release(self) -> None:
        """Release the frame that was drawn last, here and on the GPU."""
        for texture in self._textures:
            texture.delete()
        self._textures, self._format, self._uploaded = [], None, None

    def _allocate(self, layout: PixelLayout, width: int, height: int) -> None:
        self.release()
        largest = ctypes.c_int()
        self._gl.glGetIntegerv(self._gl.GL_MAX_TEXTURE_SIZE, ctypes.byref(largest))
        if max(width, height) > largest.value:
            raise FrameTooLargeError(
                f"a frame of {width} x {height} pixels exceeds the largest texture of the GPU "
                f"({largest.value}); use smaller frames"
            )
        for plane in _planes(layout, width, height):
            self._textures.append(Texture(self._gl, *plane))

    def _upload(self, frame: Frame) -> None:
        planes: list[NDArray[np.uint8]] = [frame.pixels]
        if frame.layout == "NV12":
            planes = [frame.pixels[: frame.height], frame.pixels[frame.height :]]
        for texture, plane in zip(self._textures, planes, strict=True):
            texture.write(plane)
