"""Synthetic visitors in a synthetic gallery, with ground truth: for demonstrations and tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from installation.capture.source import CaptureError
from installation.runtime.advice import build_engines
from installation.scene import Box

# Length of the loop; nobody is in view at its end.
PERIOD_S = 32.0
_FLOOR = 0.86  # edge between wall and floor, as a fraction of the height
_NOISE_SEED = 7


@dataclass(frozen=True, slots=True)
class Visit:
    """One visitor's walk through the frame.

    Attributes
    ----------
    portrait
        Name of the portrait.
    face
        Height of the face as a fraction of the frame's height.
    waypoints
        (seconds, x) pairs, x as a fraction of the frame's width; linear in between.
    mirrored
        Whether the portrait is mirrored.
    grey
        Whether the portrait is black and white.
    """

    portrait: str
    face: float
    waypoints: tuple[tuple[float, float], ...]
    mirrored: bool = False
    grey: bool = False

    def at(self, time: float) -> float:
        """Return x at a time, as a fraction of the width."""
        seconds, x = np.array(self.waypoints).T
        return float(np.interp(time, seconds, x))


_VISITS = (
    Visit("hopper", 0.165, ((5.5, 1.10), (8.5, 0.515), (17.0, 0.48), (22.0, -0.15)), True, True),
    Visit("collins", 0.150, ((17.0, -0.20), (19.5, 0.26), (25.0, 0.30), (28.0, -0.20)), True),
    Visit("collins", 0.185, ((1.5, 1.30), (4.0, 0.76), (19.0, 0.72), (22.0, 1.30))),
    Visit("hopper", 0.235, ((0.2, -0.25), (2.5, 0.27), (14.0, 0.30), (17.0, -0.25))),
)


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The true position of a visitor's face.

    Attributes
    ----------
    visitor
        Index of the visitor.
    box
        xyxy in pixels.
    visible
        Share of the box that is inside the frame and not behind another visitor, 0 to 1.
    """

    visitor: int
    box: Box
    visible: float


@dataclass(frozen=True, slots=True)
class _Cutout:
    """A scaled portrait: premultiplied colours, transparency and box of the face."""

    colours: NDArray[np.float32]
    transparency: NDArray[np.float32]
    face: NDArray[np.float64]


class Crowd:
    """The visitors and the gallery, as a function of time.

    Parameters
    ----------
    engines
        Folder of the engines, which contains ``demo-visitors``.
    width, height
        Size of the frame, pixels.
    visits
        The visitors; later ones are in front of earlier ones.

    Raises
    ------
    CaptureError
        The portraits are missing or damaged.
    """

    def __init__(
        self, engines: Path, width: int, height: int, visits: tuple[Visit, ...] = _VISITS
    ) -> None:
        folder = engines / "demo-visitors"
        try:
            faces = yaml.safe_load((folder / "visitors.yaml").read_text(encoding="utf-8"))
            self._cutouts = [_cut_out(folder, visit, faces, height) for visit in visits]
        except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
            raise CaptureError(
                f"{folder}: the demonstration's visitors are missing or damaged; "
                f"run `{build_engines()}`"
            ) from error
        self._visits = visits
        self._size = width, height
        self._gallery = _paint_gallery(width, height)
        noise = np.random.default_rng(_NOISE_SEED).normal(0, 2.0, (height, width + 64, 1))
        self._noise = noise.astype(np.float32)

    def _places(self, time: float) -> list[tuple[float, float]]:
        """Return the upper left corner of each cutout."""
        width, height = self._size
        time %= PERIOD_S
        places = []
        for visit, cutout in zip(self._visits, self._cutouts, strict=True):
            rows, columns = cutout.colours.shape[:2]
            sway = 0.004 * height * np.sin(2.1 * time + 9 * visit.face)
            walking = abs(visit.at(time + 0.05) - visit.at(time - 0.05)) > 1e-3
            step = 0.006 * height * abs(np.sin(5.5 * time)) if walking else 0.0
            # Low enough that the lower edge of the portrait never shows.
            top = height - rows * 0.97 + step + 0.25 * sway
            places.append((visit.at(time) * width - columns / 2 + sway, top))
        return places

    def paint(self, time: float) -> NDArray[np.uint8]:
        """Paint the frame at a time: uint8 (height, width, 3), BGR."""
        width, height = self._size
        canvas = self._gallery.copy()
        for cutout, (left, top) in zip(self._cutouts, self._places(time), strict=True):
            rows, columns = cutout.colours.shape[:2]
            x0, y0 = int(np.floor(left)), int(np.floor(top))
            x1, y1 = min(x0 + columns + 1, width), min(y0 + rows + 1, height)
            column, row = max(-x0, 0), max(-y0, 0)
            if x0 + column >= x1 or y0 + row >= y1:
                continue
            shift = np.array([[1, 0, left - x0 - column], [0, 1, top - y0 - row]])
            size = (x1 - x0 - column, y1 - y0 - row)
            colours = cv2.warpAffine(cutout.colours, shift, size)
            through = cv2.warpAffine(cutout.transparency, shift, size, borderValue=(1.0,))
            view = canvas[y0 + row : y1, x0 + column : x1]
            np.multiply(view, through[..., None], out=view)
            view += np.asarray(colours, np.float32)
        offset = int(time * 997) % 64
        canvas += self._noise[:, offset : offset + width]
        return np.asarray(cv2.convertScaleAbs(np.clip(canvas, 0, 255)), np.uint8)

    def truth(self, time: float) -> tuple[GroundTruth, ...]:
        """Return the faces at a time; faces entirely outside the frame are omitted."""
        width, height = self._size
        places = self._places(time)
        found = []
        for index, (cutout, place) in enumerate(zip(self._cutouts, places, strict=True)):
            x0, y0, x1, y1 = cutout.face + np.tile(place, 2)
            inside = max(min(x1, width) - max(x0, 0), 0) * max(min(y1, height) - max(y0, 0), 0)
            visible = inside / ((x1 - x0) * (y1 - y0))
            for other, (left, top) in list(zip(self._cutouts, places, strict=True))[index + 1 :]:
                rows = slice(max(int(y0 - top), 0), max(int(y1 - top), 0))
                columns = slice(max(int(x0 - left), 0), max(int(x1 - left), 0))
                hidden = 1 - other.transparency[rows, columns]
                visible -= float(hidden.sum()) / ((x1 - x0) * (y1 - y0))
            if inside > 0:
                box = (float(x0), float(y0), float(x1), float(y1))
                found.append(GroundTruth(index, box, max(float(visible), 0.0)))
        return tuple(found)


def _cut_out(folder: Path, visit: Visit, faces: dict[str, list[int]], height: int) -> _Cutout:
    image = cv2.imread(str(folder / f"{visit.portrait}.png"), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError(f"{visit.portrait}.png is not an image")
    face = np.array(faces[visit.portrait], np.float64)
    scale = visit.face * height / (face[3] - face[1])
    pixels = image.astype(np.float32)
    pixels[..., :3] *= pixels[..., 3:] / 255
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)
    face *= np.tile((size[0] / image.shape[1], size[1] / image.shape[0]), 2)
    if visit.mirrored:
        pixels = pixels[:, ::-1]
        face[[0, 2]] = size[0] - face[[2, 0]]
    if visit.grey:
        pixels[..., :3] = pixels[..., :3] @ np.array([[0.114], [0.587], [0.299]], np.float32)
    return _Cutout(
        np.ascontiguousarray(pixels[..., :3]),
        np.ascontiguousarray(1 - pixels[..., 3] / 255),
        face,
    )


def _paint_gallery(width: int, height: int) -> NDArray[np.float32]:
    """Paint a wall in warm light with three plain paintings, and a floor."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / height
    lamps = ((x - at) / 0.42 for at in (0.3, 0.9, 1.5))
    light = sum(np.exp(-(across**2) - ((y - 0.30) / 0.55) ** 2) for across in lamps)
    wall = np.array([176, 186, 192], np.float32) * (0.42 + 0.42 * light[..., None])
    boards = np.array([62, 84, 108], np.float32) * (0.9 - 0.5 * (1 - y[..., None]))
    room = np.asarray(np.where(y[..., None] > _FLOOR, boards, wall), np.float32)
    for left, colour in ((0.12, (58, 66, 140)), (0.74, (110, 92, 52)), (1.36, (70, 120, 134))):
        x0, x1 = round(left * height), round((left + 0.3) * height)
        y0, y1 = round(0.12 * height), round(0.50 * height)
        edge = max(height // 90, 1)
        room[y0 - edge : y1 + edge, x0 - edge : x1 + edge] *= 0.35
        fading = np.linspace(1.15, 0.75, y1 - y0, dtype=np.float32)[:, None, None]
        room[y0:y1, x0:x1] = np.array(colour, np.float32) * fading
    return np.asarray(cv2.GaussianBlur(room, (0, 0), height / 400), np.float32)


class DemoSource:
    """The crowd as a source.

    Parameters
    ----------
    engines
        See `Crowd`.
    width, height
        Size of the frame, pixels.
    fps
        Frames per second.
    """

    name = "demo"

    def __init__(self, engines: Path, width: int, height: int, fps: float) -> None:
        self.interval_s: float | None = 1 / fps
        self._fps = fps
        self._arguments = engines, width, height
        self._painted = 0
        self.crowd: Crowd | None = None

    def open(self) -> None:
        """See `Source.open`."""
        self.crowd = self.crowd or Crowd(*self._arguments)

    def read(self) -> NDArray[np.uint8]:
        """See `Source.read`; frame n shows the crowd after n / fps seconds."""
        assert self.crowd is not None
        pixels = self.crowd.paint(self.time_of(self._painted))
        self._painted += 1
        return pixels

    def time_of(self, seq: int) -> float:
        """Return the crowd's time in frame number ``seq``, seconds."""
        return seq / self._fps

    def close(self) -> None:
        """See `Source.close`."""
