"""A simulated webcam: the demonstration's crowd, behind a driver's queue of buffers."""

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
# As many as OpenCV requests from V4L2.
_BUFFERS = 4
# Length of the footage, which is played forwards and backwards in turn so that nobody jumps.
_FOOTAGE_S = 4.0
# Typical of webcams.
_JPEG_QUALITY = 85
# How visitors walk to and fro: seconds, and parts of a visitor's share of the width.
_STEPS = ((0.0, -0.15), (1.0, 0.15), (2.0, -0.15), (3.0, 0.15), (4.0, -0.15))


@dataclass(frozen=True, slots=True)
class Footage:
    """What the camera sees, in a loop.

    Painting a frame takes as long as detecting the faces in it, so it is done in advance. Frames
    are kept compressed, as webcams send them; the reader decodes them, as with a webcam.

    Attributes
    ----------
    frames
        JPEG files.
    """

    frames: tuple[bytes, ...]


def record_footage(engines: Path, size: tuple[int, int], faces: int) -> Footage:
    """Paint a row of visitors who walk to and fro.

    Parameters
    ----------
    engines
        See `Crowd`.
    size
        Width and height, pixels.
    faces
        How many visitors; all stay in view.

    Raises
    ------
    CaptureError
        See `Crowd`.
    """
    crowd = Crowd(engines, *size, row_of_visitors(faces, size[0] / size[1]))
    quality = (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
    frames = [
        cv2.imencode(".jpg", crowd.paint(index / FPS), quality)[1].tobytes()
        for index in range(round(_FOOTAGE_S * FPS))
    ]
    return Footage((*frames, *reversed(frames)))


def row_of_visitors(faces: int, aspect: float) -> tuple[Visit, ...]:
    """Return visitors side by side.

    Parameters
    ----------
    faces
        How many.
    aspect
        Width of the frame by its height.
    """
    share = 1 / faces
    face = min(0.17, 0.5 * share * aspect)
    # The taller portraits are behind, so that no shoulder hides a face.
    behind_first = [*range(1, faces, 2), *range(0, faces, 2)]
    return tuple(
        Visit(
            "collins" if index % 2 else "hopper",
            face,
            tuple((second, (index + 0.5 + part) * share) for second, part in _STEPS),
            mirrored=index % 4 > 1,
        )
        for index in behind_first
    )


class DriverQueue:
    """A driver's queue of filled buffers.

    The reader gets the oldest first. While all buffers are full, frames are dropped. Only the
    reader empties buffers, so the queue is brought up to date when it reads.

    Parameters
    ----------
    started_at
        When frame 0 was captured, seconds.

    Examples
    --------
    >>> queue = DriverQueue(started_at=0.0)
    >>> [queue.take(now=0.2) for _ in range(5)]
    [0, 1, 2, 3, None]
    >>> queue.next_at == 7 / FPS
    True
    """

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._next = 0
        self._full: deque[int] = deque()

    def captured_at(self, number: int) -> float:
        """Return when a frame was captured, seconds."""
        return self._started_at + number / FPS

    @property
    def next_at(self) -> float:
        """When the next frame is captured, seconds."""
        return self.captured_at(self._next)

    def take(self, now: float) -> int | None:
        """Empty the oldest buffer; return its frame's number, None if no buffer is full."""
        while self.next_at <= now:
            if len(self._full) < _BUFFERS:
                self._full.append(self._next)
            self._next += 1
        return self._full.popleft() if self._full else None


class SimulatedCamera:
    """A `Source` that plays footage.

    Attributes
    ----------
    captured_at
        When each frame that was read was captured, seconds, in order of reading.
    """

    name = "simulated camera"
    interval_s: float | None = None

    def __init__(self, footage: Footage) -> None:
        self._frames = footage.frames
        self._queue: DriverQueue | None = None
        self.captured_at: list[float] = []

    def open(self) -> None:
        """See `Source.open`."""
        self._queue = DriverQueue(time.monotonic())

    def read(self) -> NDArray[np.uint8]:
        """See `Source.read`; decodes as OpenCV decodes what V4L2 delivers."""
        if self._queue is None:
            raise CaptureError(f"{self.name}: not open")
        while (number := self._queue.take(time.monotonic())) is None:
            time.sleep(max(self._queue.next_at - time.monotonic(), 0))
        self.captured_at.append(self._queue.captured_at(number))
        data = np.frombuffer(self._frames[number % len(self._frames)], np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    def close(self) -> None:
        """See `Source.close`."""
        self._queue = None
