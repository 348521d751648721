"""A webcam in front of the demonstration's crowd, as its driver shows it to a program."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.capture.demo import Crowd, Visit
from installation.capture.source import CaptureError

FPS = 30.0
# As many as OpenCV asks of V4L2.
_BUFFERS = 4
# Seconds of film, which is shown forwards and backwards in turn so that nobody jumps.
_SECONDS = 4.0
# How good a picture webcams send; percent of JPEG.
_QUALITY = 85
# Steps: seconds, and parts of a visitor's share of the width.
_STRIDE = ((0.0, -0.15), (1.0, 0.15), (2.0, -0.15), (3.0, 0.15), (4.0, -0.15))


@dataclass(frozen=True, slots=True)
class Footage:
    """What the webcam sees, in a circle.

    Painting a picture takes as long as finding the faces in it, so it is done beforehand. Pictures
    are kept as webcams send them; decoding them is the reader's work, as it is there.

    Attributes
    ----------
    pictures
        JPEG files.
    """

    pictures: tuple[bytes, ...]


def film(engines: Path, size: tuple[int, int], faces: int) -> Footage:
    """Film a row of visitors who walk to and fro.

    Parameters
    ----------
    engines
        See `Crowd`.
    size
        Width and height, pixels.
    faces
        How many; all stay in view.

    Raises
    ------
    CaptureError
        See `Crowd`.
    """
    crowd = Crowd(engines, *size, _row(faces, size[0] / size[1]))
    quality = (cv2.IMWRITE_JPEG_QUALITY, _QUALITY)
    painted = [
        cv2.imencode(".jpg", crowd.paint(index / FPS), quality)[1].tobytes()
        for index in range(round(_SECONDS * FPS))
    ]
    return Footage((*painted, *reversed(painted)))


def _row(faces: int, aspect: float) -> tuple[Visit, ...]:
    share = 1 / faces
    face = min(0.17, 0.5 * share * aspect)
    # The taller portraits are behind: no shoulder hides a face.
    behind_first = [*range(1, faces, 2), *range(0, faces, 2)]
    return tuple(
        Visit(
            "collins" if index % 2 else "hopper",
            face,
            tuple((second, (index + 0.5 + part) * share) for second, part in _STRIDE),
            mirrored=index % 4 > 1,
        )
        for index in behind_first
    )


class Driver:
    """The queue of filled buffers between a webcam and its reader.

    The oldest is handed out first. While all are full, what the camera sees is lost. The reader is
    the only one who empties buffers, so what has become of the queue can be told when it asks.

    Parameters
    ----------
    began
        When the camera took picture number 0, seconds.

    Examples
    --------
    >>> driver = Driver(began=0.0)
    >>> [driver.take(now=0.2) for _ in range(5)]
    [0, 1, 2, 3, None]
    >>> driver.due == 7 / FPS
    True
    """

    def __init__(self, began: float) -> None:
        self._began = began
        self._next = 0
        self._full: deque[int] = deque()

    def captured_at(self, number: int) -> float:
        """Return when the camera had a picture, seconds."""
        return self._began + number / FPS

    @property
    def due(self) -> float:
        """When the next picture comes, seconds."""
        return self.captured_at(self._next)

    def take(self, now: float) -> int | None:
        """Empty the oldest buffer; return the number of its picture, None where none is full."""
        while self.due <= now:
            if len(self._full) < _BUFFERS:
                self._full.append(self._next)
            self._next += 1
        return self._full.popleft() if self._full else None


class Webcam:
    """The footage as a source.

    Attributes
    ----------
    captured
        When the camera had the pictures that were read, seconds, in the order of reading.
    """

    name = "webcam"
    interval_s: float | None = None

    def __init__(self, footage: Footage) -> None:
        self._pictures = footage.pictures
        self._driver: Driver | None = None
        self.captured: list[float] = []

    def open(self) -> None:
        """See `Source.open`; the camera begins."""
        self._driver = Driver(time.monotonic())

    def read(self) -> NDArray[np.uint8]:
        """See `Source.read`; decodes as OpenCV does what V4L2 hands out."""
        if self._driver is None:
            raise CaptureError(f"{self.name}: not open")
        while (number := self._driver.take(time.monotonic())) is None:
            time.sleep(max(self._driver.due - time.monotonic(), 0))
        self.captured.append(self._driver.captured_at(number))
        picture = self._pictures[number % len(self._pictures)]
        decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        return np.asarray(decoded, np.uint8)

    def close(self) -> None:
        """See `Source.close`."""
        self._driver = None
