"""Synthetic portraits: two public-domain faces with random clothes, hair and light.

They represent an average person, from which the semantic classifier learns what it says about any
face. Only what most people have in common is painted (skin, hair, cloth, a neckline, a blurred
room), nothing that should influence somebody's label: no hats, no tools, no places.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

# Floating point, 0 to 255; 0 to 1 for an outline.
Pixels = NDArray[Any]
# Half of a symmetric outline: (x, y) in face widths right of the middle and face heights below the
# chin.
Half = list[tuple[float, float]]

SIZE = 224
# Share of the portrait that the face takes, as in the regions that the installation classifies.
_FACE_SHARE = 1 / 2.6
# y of the lower end of outlines, below the portrait's edge.
_BELOW = 3.0
# Black, brown, red, blond, grey; BGR.
_HAIR = np.array(
    [(22, 20, 22), (35, 50, 75), (45, 75, 130), (110, 155, 190), (165, 165, 165)], np.float32
)


@dataclass(frozen=True, slots=True)
class PortraitSource:
    """A photographed face, the basis of synthetic portraits.

    Attributes
    ----------
    image
        float32 (height, width, 3), BGR.
    outline
        float32 (height, width), 0 to 1: where the person is.
    face
        xyxy in pixels: cheek to cheek, brow to chin.
    hatless
        Share of the portraits in which painted hair replaces what is on the head.
    """

    image: Pixels
    outline: Pixels
    face: tuple[int, int, int, int]
    hatless: float


def read_sources(folder: Path) -> tuple[PortraitSource, ...]:
    """Read the two faces from the folder ``demo-visitors`` that the engine build makes."""
    faces = yaml.safe_load((folder / "visitors.yaml").read_text(encoding="utf-8"))
    sources = []
    for name, hatless in (("hopper", 0.7), ("collins", 0.0)):
        read = cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        image = np.asarray(read, np.float32)
        sources.append(
            PortraitSource(image[..., :3], image[..., 3] / 255, tuple(faces[name]), hatless)
        )
    return tuple(sources)


def paint(source: PortraitSource, random: np.random.Generator) -> NDArray[np.uint8]:
    """Paint one portrait: uint8 (224, 224, 3), BGR, with the face in the middle."""
    canvas = _Canvas(source, random)
    hair = random.uniform(0.5, 1.6) if random.random() < 0.4 else 0.0
    if hair:
        canvas.fill([(0.35, -1.15), (0.75, -0.6), (0.8, 0.2), (0.7, hair)], canvas.hair)
    shoulder, drop = random.uniform(1.05, 1.55), random.uniform(0.3, 0.6)
    sides: Half = [(0.75, 0.32), (shoulder, drop), (1.15 * shoulder, _BELOW)]
    canvas.fill([(0.34, -0.1), (0.36, 0.22), *sides], canvas.skin)
    _dress(canvas, sides, random)
    canvas.place_head(random.random() < source.hatless)
    if hair:
        for side in (-1, 1):
            lock = [(0.5, -0.75), (0.75, -0.5), (0.8, 0.1), (0.7, hair), (0.42, 0.9 * hair)]
            canvas.fill_one_side([*lock, (0.5, 0.1), (0.47, -0.4)], side, canvas.hair)
    return _photograph(canvas.pixels, random)


def _dress(canvas: _Canvas, sides: Half, random: np.random.Generator) -> None:
    cloth = _cloth(random)
    kind = random.random()
    if kind < 0.55:
        deep, wide = random.uniform(0.1, 0.7), random.uniform(0.34, 0.5)
        canvas.fill([(0, deep), (wide, min(0.3, deep)), *sides], cloth)
    elif kind < 0.77:
        canvas.fill([(0, 0.4), (0.36, 0.1), (0.6, 0.35), (0.5, _BELOW)], _cloth(random))
        for side in (-1, 1):
            canvas.fill_one_side([(0.36, 0.12), *sides, (-0.1, _BELOW), (0.05, 1.5)], side, cloth)
            lapel = [(0.38, 0.15), (0.62, 0.55), (0.5, 0.7), (0.05, 1.5)]
            canvas.fill_one_side(lapel, side, 0.85 * cloth)
    elif kind < 0.92:
        low, strap = random.uniform(0.9, 1.4), random.uniform(0.03, 0.12)
        canvas.fill([(0, low + 0.1), (0.4, low), (1.0, low + 0.2), sides[-1]], cloth)
        for side in (-1, 1):
            ends = [(0.6 + strap, 0.28), (0.55 + strap, low + 0.2)]
            inner = [(0.55 - strap, low + 0.2), (0.6 - strap, 0.28)]
            canvas.fill_one_side(ends + inner, side, cloth)


class _Canvas:
    """The portrait being painted; coordinates are relative to its face."""

    def __init__(self, source: PortraitSource, random: np.random.Generator) -> None:
        image, outline = source.image, source.outline
        x0, y0, x1, y1 = source.face
        if random.random() < 0.5:
            image, outline = image[:, ::-1], outline[:, ::-1]
            x0, x1 = image.shape[1] - x1, image.shape[1] - x0
        width, height = x1 - x0, y1 - y0
        middle = ((x0 + x1) / 2, (y0 + y1) / 2)
        zoom = _FACE_SHARE * SIZE / np.sqrt(width * height) * random.uniform(0.87, 1.13)
        angle = random.uniform(-12, 12)
        place = np.asarray(cv2.getRotationMatrix2D(middle, angle, zoom), np.float64)
        place[:, 2] += SIZE / 2 - np.array(middle) + random.uniform(-0.05, 0.05, 2) * SIZE
        tone = random.uniform(0.35, 1.1) * random.uniform((0.9, 1, 0.95), (1.05, 1, 1.1))
        self._head = image * tone.astype(np.float32)
        self._outline = outline
        self._face = x0, y0, x1, y1
        self._place = place
        self._chin = place @ np.array([middle[0], y1, 1])
        self._unit = np.array([width, height]) * zoom
        cheeks = (
            slice(y0 + height * 9 // 20, y0 + height * 3 // 4),
            slice(*map(int, (middle[0] - width / 4, middle[0] + width / 4))),
        )
        skin = np.median(self._head[cheeks].reshape(-1, 3), axis=0)
        self.skin = skin * (1 + 0.08 * _clouds(random, 12))
        self.hair = (
            _HAIR[random.integers(len(_HAIR))]
            * random.uniform(0.7, 1.3)
            * (1 + 0.2 * _clouds(random, 1.2, 12))
        )
        self.pixels = _room(random)

    def fill(self, half: Half, colours: Pixels) -> None:
        """Fill a symmetric outline, given its right half."""
        self._fill([*half, *((-x, y) for x, y in reversed(half))], colours)

    def fill_one_side(self, outline: Half, side: int, colours: Pixels) -> None:
        """Fill an outline on the right (1) or mirrored on the left (-1)."""
        self._fill([(side * x, y) for x, y in outline], colours)

    def _fill(self, outline: Half, colours: Pixels) -> None:
        points = np.array(outline)
        for _ in range(3):  # corner cutting approximates a curve (Chaikin 1974)
            after = np.roll(points, -1, axis=0)
            points = np.stack([0.75 * points + 0.25 * after, 0.25 * points + 0.75 * after], 1)
            points = points.reshape(-1, 2)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        where = np.round((self._chin + points * self._unit) * 16).astype(np.int32)
        cv2.fillPoly(mask, [where], (255,), cv2.LINE_AA, 4)
        self._blend(cv2.GaussianBlur(mask, (0, 0), 1).astype(np.float32) / 255, colours)

    def _blend(self, mask: Pixels, colours: Pixels) -> None:
        self.pixels += (colours - self.pixels) * mask[..., None]

    def place_head(self, with_painted_hair: bool) -> None:
        """Paint the head, with its own hair or with painted hair."""
        x0, y0, x1, y1 = self._face
        width, height = x1 - x0, y1 - y0
        oval = np.zeros(self._outline.shape, np.float32)
        centre = (x0 + x1) // 2, (y0 + y1) // 2
        cv2.ellipse(oval, centre, (width * 14 // 25, height * 53 // 100), 0, 0, 360, (1.0,), -1)
        if with_painted_hair:
            self.fill([(0.5, -0.25), (0.65, -0.6), (0.48, -1.3), (0.0, -1.45)], self.hair)
        else:
            oval[: y0 + height * 62 // 100] = 1
        mask = cv2.GaussianBlur(oval, (0, 0), 0.02 * width) * self._outline
        size = SIZE, SIZE
        head = cv2.warpAffine(self._head, self._place, size, flags=cv2.INTER_AREA)
        self._blend(cv2.warpAffine(mask, self._place, size, flags=cv2.INTER_AREA), head)


def _clouds(random: np.random.Generator, across: float, down: float = 0) -> Pixels:
    """Return blurred noise with mean 0 and standard deviation 1, float32 (224, 224, 1)."""
    noise = random.normal(0, 1, (SIZE, SIZE)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), across, sigmaY=down or across)
    clouds: Pixels = np.asarray(blurred / blurred.std(), np.float32)
    return np.asarray(clouds[..., None])


def _colour(random: np.random.Generator) -> Pixels:
    hsv = random.uniform((0, 0, 15), (180, random.choice((50, 200)), 245))
    pixel = np.asarray(hsv, np.uint8)[None, None]
    colour: Pixels = np.asarray(cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR), np.float32)
    return np.asarray(colour[0, 0])


def _cloth(random: np.random.Generator) -> Pixels:
    """Return folded cloth of one colour, sometimes with stripes or checks of a second one."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] // random.integers(6, 18)
    pattern = random.random()
    second = (y % 2 if pattern < 0.12 else (x % 2 + y % 2) / 2) * (pattern < 0.2)
    cloth = _colour(random) * (1 - second[..., None]) + _colour(random) * second[..., None]
    folds = _clouds(random, random.uniform(6, 14), random.uniform(10, 30))
    return np.asarray(np.clip(cloth + random.uniform(8, 25) * folds, 0, 255), np.float32)


def _room(random: np.random.Generator) -> Pixels:
    """Return an out-of-focus background of muted colours."""
    patches = random.integers(2, 12)
    grid = random.uniform(0, 255, (patches, patches, 3)).astype(np.float32)
    grey = grid.mean(2, keepdims=True)
    muted = grey + (grid - grey) * random.uniform(0, 0.6)
    room = cv2.resize(muted, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(room * random.uniform(0.3, 1) + random.uniform(0, 90), np.float32)


def _photograph(pixels: Pixels, random: np.random.Generator) -> NDArray[np.uint8]:
    """Add random light, exposure, blur and noise."""
    light = cv2.resize(random.uniform(0.75, 1.2, (2, 2)).astype(np.float32), (SIZE, SIZE))
    image: Pixels = (pixels * light[..., None] - 128) * random.uniform(0.8, 1.2) + 128
    image += random.uniform(-25, 25)
    if random.random() < 0.15:
        image = np.repeat(image.mean(2, keepdims=True), 3, axis=2)
    if random.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.5, 1.5))
    image += random.normal(0, random.uniform(0.5, 5), image.shape)
    return np.asarray(np.clip(image, 0, 255), np.uint8)
