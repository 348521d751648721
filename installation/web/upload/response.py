"""What came of a picture, as pixels and as data; all of it in memory."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from installation.config.model import Config
from installation.display.draw_still import draw_scene
from installation.inference.crop import crop_resize
from installation.labels.taxonomy import paths, words_of
from installation.scene import Box, Label
from installation.vision.classifier import context_regions
from installation.vision.still_classifier import ImageResult

_QUALITY = 90
# What the network saw of a face is shown at this size, for so many faces at the most.
_SEEN = 224
_MOST_SEEN = 12

# How much of an answer somebody wants: the words alone, the picture they are drawn into, or also
# what the classifier saw.
Detail = Literal["words", "picture", "page"]


@dataclass(frozen=True, slots=True, eq=False)
class ImageResponse:
    """What a visitor gets back.

    Attributes
    ----------
    found
        Faces and words.
    picture
        Boxes and words drawn into it, JPEG, without any metadata; None where nobody wants it.
    seen
        What the classifier saw of the first faces, JPEG; none where nobody wants them.
    config
        In force when it was looked at.
    """

    found: ImageResult
    picture: bytes | None
    seen: tuple[bytes, ...]
    config: Config


def draw(found: ImageResult, config: Config, extent: Detail) -> ImageResponse:
    """Make the answer to a picture, no more of it than somebody wants."""
    picture = (
        None if extent == "words" else _jpeg(draw_scene(found.picture, found.scene(), config.theme))
    )
    seen = _crops_seen(found) if extent == "page" else ()
    return ImageResponse(found, picture, seen, config)


def _crops_seen(found: ImageResult) -> tuple[bytes, ...]:
    height, width = found.picture.shape[:2]
    boxes = np.array([face.box for face in found.faces[:_MOST_SEEN]], np.float32).reshape(-1, 4)
    squares = context_regions(boxes, width, height)
    return tuple(_jpeg(crop_resize(found.picture, square, _SEEN, _SEEN)) for square in squares)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    _, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    return data.tobytes()


class Step(BaseModel):
    """One step of the way up through WordNet."""

    wnid: str = Field(description="WordNet 3.0 identifier of the meaning", examples=["n10340312"])
    words: str = Field(description="Its words", examples=["tenor saxophonist, saxophonist, saxist"])


class Word(Step):
    """A word for a person, and what stands behind it."""

    score: float = Field(ge=0, le=1, description="How firmly it was said, not how right it is")
    gloss: str = Field(description="What WordNet says it means")
    paths: list[list[Step]] = Field(
        description="The ways up from it to “person” in WordNet, the shortest first"
    )


class Face(BaseModel):
    """A face that was found."""

    box: Box = Field(
        description="Left, top, right, bottom in pixels of the answer's width and height"
    )
    score: float = Field(ge=0, le=1, description="How sure the detector is that it is a face")
    words: list[Word] = Field(description="Best first; the first is the one that is drawn")


class ClassifyResponse(BaseModel):
    """What was found in a picture."""

    width: int = Field(description="Pixels; large pictures are shrunk, upright as EXIF says")
    height: int
    faces: list[Face] = Field(description="From left to right")
    scene: list[Word] = Field(description="Words for the picture as a whole; empty if it has faces")
    policy: str = Field(description="The curator's choice of words: full, inoffensive or safe")
    picture: str | None = Field(
        default=None, description="The picture with boxes and words, a data URI; only if asked for"
    )


def reply(answer: ImageResponse, glosses: dict[str, str]) -> ClassifyResponse:
    """Put an answer into data."""
    found = answer.found
    height, width = found.picture.shape[:2]
    return ClassifyResponse(
        width=width,
        height=height,
        faces=[
            Face(
                box=_rounded(face.box),
                score=round(face.score, 4),
                words=[word(label, glosses) for label in face.labels],
            )
            for face in found.faces
        ],
        scene=[] if found.faces else [word(label, glosses) for label in found.whole],
        policy=answer.config.labels.policy,
        picture=None if answer.picture is None else data_uri(answer.picture),
    )


def _rounded(box: Box) -> Box:
    x0, y0, x1, y1 = (round(side, 1) for side in box)
    return x0, y0, x1, y1


def word(label: Label, glosses: dict[str, str]) -> Word:
    """Put a label into data."""
    return Word(
        wnid=label.wnid,
        words=label.words,
        score=float(f"{label.score:.4g}"),
        gloss=glosses.get(label.wnid, ""),
        paths=[
            [Step(wnid=each, words=words_of(each)) for each in path] for path in paths(label.wnid)
        ],
    )


def data_uri(jpeg: bytes) -> str:
    """Return a picture as an address that holds all of it."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
