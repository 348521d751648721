"""Three ways from a camera to a screen: ours, and the two that demonstrations take.

All read the same webcam and run the same networks through the same code, with a batch for all
faces of a picture, so that only what is around the networks differs. The demonstrations draw with
OpenCV and show through pyglet, as we do: OpenCV's own window needs a screen, and this is to be
measured without one, too.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pyglet
from numpy.typing import NDArray

from installation.bench.measurements import Measurement
from installation.bench.simulated_camera import Webcam
from installation.config.model import Config
from installation.scene import Frame
from installation.vision.classifier import Classifier
from installation.vision.detector import Detector
from installation.vision.pipeline import open_vision
from installation.wall import run

Picture = NDArray[np.uint8]
# Box, and the word for who is in it.
Named = list[tuple[NDArray[np.float32], str]]

Way = Callable[[Config, Webcam, bool, Measurement], None]

_THRESHOLD = 0.5
_GREEN = (20, 255, 57)


def ours(config: Config, webcam: Webcam, headless: bool, tally: Measurement) -> None:
    """Run the installation itself."""
    run(config, webcam, headless, tally)


def naive(config: Config, webcam: Webcam, headless: bool, tally: Measurement) -> None:
    """Read, detect, classify, draw and show, one after the other, in one thread."""
    with open_vision(config, config.vision.smallest_face, _THRESHOLD) as (detector, classifier):
        window = _Window(config, headless)
        webcam.open()
        going, seq = True, 0
        while going:
            picture = _mirrored(webcam.read())
            faces = _recognise(picture, detector, classifier)
            _draw(picture, faces)
            window.show(picture)
            going = tally.presented(seq, seq, len(faces))
            seq += 1
        webcam.close()
        window.close()


def two_thread(config: Config, webcam: Webcam, headless: bool, tally: Measurement) -> None:
    """Detect and classify in a second thread, and show each picture when that is done with it.

    The first thread reads the camera all the time and offers the second the newest picture, so
    that none grows old in the driver.
    """
    waiting: queue.Queue[tuple[int, Picture] | None] = queue.Queue(maxsize=1)
    done: queue.Queue[tuple[int, Picture, Named]] = queue.Queue()

    def work() -> None:
        while (item := waiting.get()) is not None:
            seq, picture = item
            done.put((seq, picture, _recognise(picture, detector, classifier)))

    def offer(item: tuple[int, Picture] | None) -> None:
        with suppress(queue.Empty):
            waiting.get_nowait()
        waiting.put(item)

    with open_vision(config, config.vision.smallest_face, _THRESHOLD) as (detector, classifier):
        window = _Window(config, headless)
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        webcam.open()
        going, seq = True, 0
        while going and worker.is_alive():
            offer((seq, _mirrored(webcam.read())))
            seq += 1
            with suppress(queue.Empty):
                done_seq, picture, faces = done.get_nowait()
                _draw(picture, faces)
                window.show(picture)
                going = tally.presented(done_seq, done_seq, len(faces))
        offer(None)
        worker.join()
        webcam.close()
        window.close()


WAYS: dict[str, Way] = {"ours": ours, "naive": naive, "two_thread": two_thread}


def _mirrored(picture: Picture) -> Picture:
    return np.asarray(cv2.flip(picture, 1), np.uint8)


def _recognise(picture: Picture, detector: Detector, classifier: Classifier) -> Named:
    frame = Frame.from_image(picture)
    faces = detector.find(frame)
    scores = classifier.score_faces(frame, faces.xyxy)
    return [
        (box, classifier.best(row, 1)[0].words) for box, row in zip(faces.xyxy, scores, strict=True)
    ]


def _draw(picture: Picture, faces: Named) -> None:
    for box, words in faces:
        x0, y0, x1, y1 = (round(float(side)) for side in box)
        cv2.rectangle(picture, (x0, y0), (x1, y1), _GREEN, 2)
        cv2.putText(picture, words, (x0, y1 + 24), cv2.FONT_HERSHEY_SIMPLEX, 0.8, _GREEN, 2)


class _Window:
    """A window that is given whole pictures."""

    def __init__(self, config: Config, headless: bool) -> None:
        pyglet.options.headless = headless
        # Imported late: pyglet decides at import whether there is a screen.
        from pyglet import gl
        from pyglet.window import Window

        self._gl: Any = gl
        self._window = Window(config.display.width, config.display.height)

    def show(self, picture: Picture) -> None:
        height, width = picture.shape[:2]
        self._window.switch_to()
        self._window.dispatch_events()
        # OpenGL counts rows from below; turning them here is quicker than having pyglet do it.
        pixels = cv2.flip(picture, 0).tobytes()
        pyglet.image.ImageData(width, height, "BGR", pixels).blit(0, 0)
        self._window.flip()
        # As in our window: pictures that have not been drawn yet must not count as shown.
        if pyglet.options.headless:
            self._gl.glFinish()

    def close(self) -> None:
        self._window.close()
