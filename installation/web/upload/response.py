"""The response to an image: boxes and labels, drawn as requested; all of it in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.config.model import Config
from installation.display.draw_still import draw_scene
from installation.inference.crop import crop_resize
from installation.vision.classifier import context_regions
from installation.vision.still_classifier import ImageResult

_JPEG_QUALITY = 90
# The crop of a single face has the size that the network saw; those of several are small.
_CROP_SIZE_PX, _SMALL_CROP_SIZE_PX = 224, 128
_MAX_CROPS = 60

# How much of a response is wanted: the labels only, also the image they are drawn into, or also the
# crops that the classifier saw.
Detail = Literal["labels", "image", "page"]


@dataclass(frozen=True, slots=True, eq=False)
class ImageResponse:
    """What a visitor gets back.

    Attributes
    ----------
    result
        Faces and labels.
    jpeg
        The image with boxes and words as a JPEG file without metadata; None if not wanted.
    crops
        What the classifier saw of the first faces, as JPEG files; empty if not wanted.
    config
        In force when the image was classified.
    """

    result: ImageResult
    jpeg: bytes | None
    crops: tuple[bytes, ...]
    config: Config


def render(result: ImageResult, config: Config, detail: Detail) -> ImageResponse:
    """Return the response to an image, with as much detail as wanted."""
    jpeg = None
    if detail != "labels":
        jpeg = _jpeg(draw_scene(result.image, result.scene(), config.theme))
    return ImageResponse(result, jpeg, _crops_seen(result) if detail == "page" else (), config)


def _crops_seen(result: ImageResult) -> tuple[bytes, ...]:
    height, width = result.image.shape[:2]
    size = _CROP_SIZE_PX if len(result.faces) == 1 else _SMALL_CROP_SIZE_PX
    boxes = np.array([face.box for face in result.faces[:_MAX_CROPS]], np.float32).reshape(-1, 4)
    squares = context_regions(boxes, width, height)
    return tuple(_jpeg(crop_resize(result.image, square, size, size)) for square in squares)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
    return data.tobytes()
