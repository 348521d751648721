"""Draw boxes and words into an image in memory."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.config.model import Theme
from installation.display.captions import Typesetter
from installation.display.layout import Viewport
from installation.display.layout_engine import LayoutEngine
from installation.scene import Scene


def draw_scene(image: NDArray[np.uint8], scene: Scene, theme: Theme) -> NDArray[np.uint8]:
    """Draw a scene into a copy of its image.

    Parameters
    ----------
    image
        uint8 (height, width, 3), BGR.
    scene
        The faces and labels found in the image.
    theme
        Colours, font and sizes.

    Returns
    -------
    ndarray
        uint8, same shape as ``image``.
    """
    size = scene.width, scene.height
    typesetter = Typesetter(theme)
    engine = LayoutEngine(theme, typesetter.measure)
    layout = engine.arrange(scene, scene.at, Viewport(size, size, "contain", False))
    canvas = image.copy()
    bgr = tuple(bytes.fromhex(theme.colour[1:]))[::-1]
    for x0, y0, x1, y1 in layout.boxes if layout.line_width else ():
        cv2.rectangle(canvas, (x0, y0), (x1, y1), bgr, layout.line_width)
    for caption in layout.captions:
        words = typesetter.draw(caption.spec)
        # An image may be smaller than its words.
        view = canvas[caption.y : caption.y + len(words), caption.x : caption.x + words.shape[1]]
        words = words[: view.shape[0], : view.shape[1]]
        opacity = words[..., 3:] / 255.0
        view[:] = (view * (1 - opacity) + words[..., 2::-1]).clip(0, 255).astype(np.uint8)
    return np.asarray(canvas, np.uint8)
