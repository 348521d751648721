"""What it costs to bring a frame to the screen, by the layout of its pixels.

    python -m tests.benchmarks.upload [--screen WIDTHxHEIGHT] [--rounds N] [--json FILE]

A camera that sends YUYV or NV12 is drawn in several ways, in turns, frame by frame; medians in
milliseconds, each step finished (glFinish), in memory through EGL:

convert
    OpenCV's conversion to BGR: on the capture thread where BGR is drawn, else on the vision thread,
    and there only for the frames it looks at.
write
    To bring a new frame to the card: what drawing it takes longer than drawing it again.
draw
    To draw it again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyglet

pyglet.options.headless = True

from pyglet import gl  # noqa: E402  # after it is settled that there is no screen
from pyglet.image import ImageData  # noqa: E402
from pyglet.window import Window  # noqa: E402

from installation.display.frame_renderer import FrameRenderer  # noqa: E402
from installation.display.gl import Canvas  # noqa: E402
from installation.display.layout import Viewport  # noqa: E402
from installation.scene import Frame  # noqa: E402

_SIZES = ((1280, 720), (1920, 1080))
_STEPS = ("convert", "write", "draw")
_WARM_UP = 5


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


class _Screen:
    """A window in memory, and the two ways to draw a frame into it."""

    def __init__(self, width: int, height: int) -> None:
        config = gl.Config(double_buffer=True, red_size=8, green_size=8, blue_size=8)
        self._window = Window(width=width, height=height, config=config)
        self._canvas = Canvas(gl, 0)
        self._pictures: dict[str, FrameRenderer] = {}
        self._image: Any = None
        self._drawn: Frame | None = None

    def ours(self, name: str, frame: Frame) -> None:
        """Draw as the installation does."""
        self._canvas.clear(self._window.get_framebuffer_size())
        view = Viewport((frame.width, frame.height), self._canvas.size, "cover", True)
        if name not in self._pictures:
            self._pictures[name] = FrameRenderer(gl, self._canvas)
        self._pictures[name].show(frame, view)
        self._finish()

    def naive(self, _name: str, frame: Frame) -> None:
        """Draw as pyglet's guide would have it."""
        self._window.clear()
        if frame is not self._drawn:
            pixels, pitch = frame.bgr.tobytes(), -3 * frame.width
            if self._image is None or self._image.width != frame.width:
                self._image = ImageData(frame.width, frame.height, "BGR", pixels, pitch)
            else:
                self._image.set_data("BGR", pitch, pixels)
            self._drawn = frame
        self._image.blit(0, 0, width=self._window.width, height=self._window.height)
        self._finish()

    def _finish(self) -> None:
        self._window.flip()
        gl.glFinish()


def _measure(screen: _Screen, width: int, height: int, rounds: int) -> dict[str, dict[str, float]]:
    random = np.random.default_rng(0)
    yuyv = random.integers(16, 236, (height, width, 2), dtype=np.uint8)
    nv12 = random.integers(16, 236, (height * 3 // 2, width), dtype=np.uint8)
    # The name, the pixels the camera gives, whether OpenCV converts them, and who draws.
    ways: list[tuple[str, Any, bool, Callable[[str, Frame], None]]] = [
        ("YUYV, converted by the card", yuyv, False, screen.ours),
        ("NV12, converted by the card", nv12, False, screen.ours),
        ("YUYV, converted to BGR first", yuyv, True, screen.ours),
        ("NV12, converted to BGR first", nv12, True, screen.ours),
        ("YUYV, to BGR, pyglet's way", yuyv, True, screen.naive),
    ]
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name, *_ in ways}
    for turn in range(_WARM_UP + rounds):
        for name, pixels, converts, draw in ways:
            frame = Frame(turn, 0.0, pixels)
            convert = _milliseconds(lambda frame=frame: frame.bgr)
            shown = Frame(turn, 0.0, frame.bgr) if converts else frame
            new, again = (
                _milliseconds(lambda name=name, draw=draw, shown=shown: draw(name, shown))
                for _ in range(2)
            )
            if turn >= _WARM_UP:
                times[name].append((convert, new - again, again))
    return {
        name: dict(zip(_STEPS, np.median(each, 0).tolist(), strict=True))
        for name, each in times.items()
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--screen", default="1920x1080")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    screen = _Screen(*(int(side) for side in arguments.screen.split("x")))
    renderer = gl.gl_info.get_renderer()
    print(f"{renderer}, a screen of {arguments.screen}")
    found: dict[str, Any] = {"renderer": renderer, "screen": arguments.screen, "sizes": {}}
    for width, height in _SIZES:
        rows = _measure(screen, width, height, arguments.rounds)
        found["sizes"][f"{width}x{height}"] = rows
        print(f"\n{f'{width} x {height}':32}" + "".join(f"{step:>9}" for step in _STEPS))
        for name, row in rows.items():
            print(f"{name:32}" + "".join(f"{row[step]:9.2f}" for step in _STEPS))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
