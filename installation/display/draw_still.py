"""Boxes and words drawn into a picture in memory, where there is no screen to show it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.config.model import Theme
from installation.display.captions import Typesetter
from installation.display.layout import Viewport
from installation.display.layout_engine import LayoutEngine
from installation.scene import Scene


def paint(picture: NDArray[np.uint8], scene: Scene, theme: Theme) -> NDArray[np.uint8]:
    """Draw a scene into a copy of its picture.

    Parameters
    ----------
    picture
        uint8 (height, width, 3), BGR.
    scene
        What was found in it.
    theme
        How it should look.

    Returns
    -------
    ndarray
        uint8, shaped like ``picture``.
    """
    size = scene.width, scene.height
    typesetter = Typesetter(theme)
    arranger = LayoutEngine(theme, typesetter.measure)
    layout = arranger.arrange(scene, scene.at, Viewport(size, size, "contain", False))
    canvas = picture.copy()
    bgr = tuple(bytes.fromhex(theme.colour[1:]))[::-1]
    for x0, y0, x1, y1 in layout.boxes if layout.line else ():
        cv2.rectangle(canvas, (x0, y0), (x1, y1), bgr, layout.line)
    for caption in layout.captions:
        words = typesetter.draw(caption.style)
        # A picture may be smaller than its words.
        view = canvas[caption.y : caption.y + len(words), caption.x : caption.x + words.shape[1]]
        words = words[: view.shape[0], : view.shape[1]]
        opacity = words[..., 3:] / 255.0
        view[:] = (view * (1 - opacity) + words[..., 2::-1]).clip(0, 255).astype(np.uint8)
    return np.asarray(canvas, np.uint8)
