"""The JSON of the API, as models from which its OpenAPI description is generated."""

from __future__ import annotations

import base64

from pydantic import BaseModel, Field

from installation.labels.taxonomy import paths, words_of
from installation.scene import Box, Label
from installation.web.upload.response import ImageResponse


class Synset(BaseModel):
    """A meaning in WordNet."""

    wnid: str = Field(description="WordNet 3.0 identifier", examples=["n10340312"])
    words: str = Field(
        description="Words with this meaning", examples=["tenor saxophonist, saxophonist, saxist"]
    )


class Word(Synset):
    """A word for a person, with its meaning and its place in WordNet."""

    score: float = Field(
        ge=0, le=1, description="The network's confidence; it says nothing about accuracy"
    )
    gloss: str = Field(description="WordNet's definition")
    paths: list[list[Synset]] = Field(
        description="Paths from this word up to “person” in WordNet, shortest first"
    )


class Face(BaseModel):
    """A face in the image."""

    box: Box = Field(
        description="Left, top, right and bottom edge, in pixels of the response's width and height"
    )
    score: float = Field(ge=0, le=1, description="The detector's confidence that this is a face")
    words: list[Word] = Field(description="Best first; the first one is drawn into the image")


class ClassifyResponse(BaseModel):
    """The faces in an image and their words."""

    width: int = Field(
        description="Width in pixels, after large images were shrunk and turned upright"
    )
    height: int = Field(description="Height in pixels, likewise")
    faces: list[Face] = Field(description="From left to right")
    scene: list[Word] = Field(
        description="Words for the image as a whole; empty if there are faces"
    )
    policy: str = Field(description="Which words the curator allows: full, inoffensive or safe")
    picture: str | None = Field(
        default=None,
        description="The image with boxes and words, as a JPEG data URI; only if requested",
    )


class ErrorResponse(BaseModel):
    """Why a request failed."""

    error: str = Field(description="What went wrong, in a sentence or two")


def to_schema(response: ImageResponse, glosses: dict[str, str]) -> ClassifyResponse:
    """Convert a response to its JSON model.

    Parameters
    ----------
    response
        Faces, labels and, if requested, the drawn image.
    glosses
        Definitions by wnid.
    """
    result = response.result
    height, width = result.image.shape[:2]
    return ClassifyResponse(
        width=width,
        height=height,
        faces=[
            Face(
                box=_rounded(face.box),
                score=round(face.score, 4),
                words=[_word(label, glosses) for label in face.labels],
            )
            for face in result.faces
        ],
        scene=[] if result.faces else [_word(label, glosses) for label in result.whole],
        policy=response.config.labels.policy,
        picture=None if response.jpeg is None else data_uri(response.jpeg),
    )


def _rounded(box: Box) -> Box:
    x0, y0, x1, y1 = (round(edge, 1) for edge in box)
    return x0, y0, x1, y1


def _word(label: Label, glosses: dict[str, str]) -> Word:
    return Word(
        wnid=label.wnid,
        words=label.words,
        score=float(f"{label.score:.4g}"),
        gloss=glosses.get(label.wnid, ""),
        paths=[
            [Synset(wnid=wnid, words=words_of(wnid)) for wnid in path] for path in paths(label.wnid)
        ],
    )


def data_uri(jpeg: bytes) -> str:
    """Return a JPEG file as a data URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
