"""Three implementations from camera to screen: ours, and two that are common in demonstrations.

All read the same camera and run the same networks through the same code, with all faces of a frame
in one batch, so that only the structure around the networks differs. The demonstrations draw with
OpenCV and present with pyglet, as ours does: OpenCV's own window needs a screen, and this must run
without one too.
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
from installation.bench.simulated_camera import SimulatedCamera
from installation.config.model import Config
from installation.scene import Frame
from installation.vision.classifier import Classifier
from installation.vision.detector import Detector
from installation.vision.pipeline import open_vision
from installation.wall import WallOptions, run

# uint8 (height, width, 3), BGR.
Pixels = NDArray[np.uint8]
# Boxes, each with the words for that face.
LabelledBoxes = list[tuple[NDArray[np.float32], str]]

Variant = Callable[[Config, SimulatedCamera, bool, Measurement], None]

_THRESHOLD = 0.5
_GREEN = (20, 255, 57)


def ours(config: Config, camera: SimulatedCamera, headless: bool, measurement: Measurement) -> None:
    """Run the installation itself."""
    run(config, camera, WallOptions(headless=headless, observer=measurement))


def naive(
    config: Config, camera: SimulatedCamera, headless: bool, measurement: Measurement
) -> None:
    """Read, detect, classify, draw and present, one after the other, in one thread."""
    with open_vision(config, config.vision.min_face_px, _THRESHOLD) as (detector, classifier):
        window = _Window(config, headless)
        camera.open()
        running, seq = True, 0
        while running:
            pixels = _mirror(camera.read())
            boxes = _recognise(pixels, detector, classifier)
            _draw(pixels, boxes)
            window.show(pixels)
            running = measurement.presented(seq, seq, len(boxes))
            seq += 1
        camera.close()
        window.close()


def two_thread(
    config: Config, camera: SimulatedCamera, headless: bool, measurement: Measurement
) -> None:
    """Detect and classify in a second thread; present each frame when that is done with it.

    The first thread reads the camera continuously and offers the second the newest frame, so that
    no frame grows old in the driver.
    """
    waiting: queue.Queue[tuple[int, Pixels] | None] = queue.Queue(maxsize=1)
    done: queue.Queue[tuple[int, Pixels, LabelledBoxes]] = queue.Queue()

    def work() -> None:
        while (item := waiting.get()) is not None:
            seq, pixels = item
            done.put((seq, pixels, _recognise(pixels, detector, classifier)))

    def offer(item: tuple[int, Pixels] | None) -> None:
        with suppress(queue.Empty):
            waiting.get_nowait()
        waiting.put(item)

    with open_vision(config, config.vision.min_face_px, _THRESHOLD) as (detector, classifier):
        window = _Window(config, headless)
        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        camera.open()
        running, seq = True, 0
        while running and worker.is_alive():
            offer((seq, _mirror(camera.read())))
            seq += 1
            with suppress(queue.Empty):
                done_seq, pixels, boxes = done.get_nowait()
                _draw(pixels, boxes)
                window.show(pixels)
                running = measurement.presented(done_seq, done_seq, len(boxes))
        offer(None)
        worker.join()
        camera.close()
        window.close()


VARIANTS: dict[str, Variant] = {"ours": ours, "naive": naive, "two_thread": two_thread}


def _mirror(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.flip(pixels, 1), np.uint8)


def _recognise(pixels: Pixels, detector: Detector, classifier: Classifier) -> LabelledBoxes:
    frame = Frame.from_image(pixels)
    faces = detector.find(frame)
    scores = classifier.score_faces(frame, faces.xyxy)
    return [
        (box, classifier.best(row, 1)[0].words) for box, row in zip(faces.xyxy, scores, strict=True)
    ]


def _draw(pixels: Pixels, boxes: LabelledBoxes) -> None:
    for box, words in boxes:
        x0, y0, x1, y1 = (round(float(side)) for side in box)
        cv2.rectangle(pixels, (x0, y0), (x1, y1), _GREEN, 2)
        cv2.putText(pixels, words, (x0, y1 + 24), cv2.FONT_HERSHEY_SIMPLEX, 0.8, _GREEN, 2)


class _Window:
    """A window that presents finished frames."""

    def __init__(self, config: Config, headless: bool) -> None:
        pyglet.options.headless = headless
        # Imported late: pyglet decides at import whether there is a screen.
        from pyglet import gl
        from pyglet.window import Window

        self._gl: Any = gl
        self._window = Window(config.display.width, config.display.height)

    def show(self, pixels: Pixels) -> None:
        height, width = pixels.shape[:2]
        self._window.switch_to()
        self._window.dispatch_events()
        # OpenGL's rows start at the bottom; flipping here is faster than in pyglet.
        data = cv2.flip(pixels, 0).tobytes()
        pyglet.image.ImageData(width, height, "BGR", data).blit(0, 0)
        self._window.flip()
        # As in our window: a frame that has not been rendered yet must not count as shown.
        if pyglet.options.headless:
            self._gl.glFinish()

    def close(self) -> None:
        self._window.close()
