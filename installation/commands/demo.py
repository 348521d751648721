"""The demonstration: the installation before a made-up crowd, and how well it did."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from installation.capture.demo import Crowd, DemoSource
from installation.config.model import Config
from installation.display.window import Window
from installation.errors import InstallationError
from installation.scene import Frame, Scene
from installation.vision.boxes import iou
from installation.wall import run

# Faces that ought to be found: this much of them can be seen.
_VISIBLE = 0.9
# A face counts as found where a box overlaps the truth this much.
_FOUND_IOU = 0.4
# The report tells of the latest pictures, however long it has been running.
_REMEMBERED = 100_000


class DemoRecorder:
    """Watches the wall during the demonstration, keeps its picture, and compares with the truth.

    Parameters
    ----------
    source
        The crowd.
    frames, seconds
        When to stop, whichever comes first; None never.
    output
        ``.png`` receives the last picture, ``.mp4`` all of them; None neither.
    """

    def __init__(
        self, source: DemoSource, frames: int | None, seconds: float | None, output: Path | None
    ) -> None:
        self._source = source
        self._frames = frames
        self._seconds = seconds
        self._output = output
        self._film: cv2.VideoWriter | None = None
        self._began: float | None = None
        self._ages: deque[float] = deque(maxlen=_REMEMBERED)
        self._overlaps: deque[float] = deque(maxlen=_REMEMBERED)
        self._shown = 0

    def saw(self, frame: Frame, scene: Scene | None, window: Window) -> bool:
        """See `Witness.saw`."""
        now = time.monotonic()
        self._began = self._began or frame.captured_at
        self._shown += 1
        self._ages.append(now - frame.captured_at)
        if self._source.crowd is not None:
            self._compare(frame, scene, self._source.crowd)
        last = (self._frames is not None and self._shown >= self._frames) or (
            self._seconds is not None and now - self._began >= self._seconds
        )
        if self._output is not None and self._output.suffix == ".mp4":
            self._record(window, self._output)
        return not last

    def leave(self, window: Window) -> None:
        """See `Witness.leave`: the last picture is kept, the film finished."""
        if self._output is None or not self._ages:
            return
        if self._output.suffix == ".png":
            self._write(window, self._output)
        elif self._film is not None:
            self._finish(self._film, self._output)

    def _compare(self, frame: Frame, scene: Scene | None, crowd: Crowd) -> None:
        shown = [track.box_at(frame.captured_at) for track in scene.tracks] if scene else []
        boxes = np.array(shown, np.float32).reshape(-1, 4)
        for truth in crowd.truth(self._source.time_of(frame.seq)):
            if truth.visible >= _VISIBLE:
                overlaps = iou(np.array([truth.box], np.float32), boxes)
                self._overlaps.append(float(overlaps.max(initial=0.0)))

    def _record(self, window: Window, output: Path) -> None:
        picture = window.snapshot()
        if self._film is None:
            size = picture.shape[1], picture.shape[0]
            fps = 1 / (self._source.interval_s or 1 / 30)
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            # OpenCV crashes on a string with bytes in it that are no text.
            film = cv2.VideoWriter(os.fsencode(output), codec, fps, size)  # type: ignore[call-overload]
            if not film.isOpened():
                raise InstallationError(f"{output}: cannot be written; is the folder there?")
            self._film = film
        self._film.write(picture)

    def _finish(self, film: cv2.VideoWriter, output: Path) -> None:
        film.release()
        # What cannot be written, to a full disk say, the writer keeps to itself.
        written = cv2.VideoCapture(os.fsencode(output))  # type: ignore[call-overload]
        if written.get(cv2.CAP_PROP_FRAME_COUNT) < self._shown:
            raise InstallationError(f"{output}: not all of it could be written; is the disk full?")

    def _write(self, window: Window, output: Path) -> None:
        try:
            Image.fromarray(window.snapshot()[..., ::-1]).save(output)
        except OSError as error:
            why = error.strerror or error
            raise InstallationError(f"{output}: cannot be written: {why}") from error

    def report(self) -> str:
        """Say in one line what was seen."""
        if not self._ages:
            return "demo: no picture was shown"
        ages = np.array(self._ages) * 1000
        text = (
            f"demo: {self._shown} pictures, camera to screen {np.median(ages):.0f} ms "
            f"(99 % within {np.percentile(ages, 99):.0f} ms)"
        )
        if self._overlaps:
            overlaps = np.array(self._overlaps)
            found = (overlaps >= _FOUND_IOU).mean()
            text += f"; {found:.0%} of faces boxed, mean IoU {overlaps.mean():.2f}"
        return text if self._output is None else f"{text}; see {self._output}"


def demonstrate(
    config: Config, headless: bool, frames: int | None, seconds: float | None, output: Path | None
) -> str:
    """Run the demonstration.

    Returns
    -------
    str
        The report.

    Raises
    ------
    InstallationError
        Something a technician has to mend.
    """
    if output is not None and not output.resolve().parent.is_dir():
        raise InstallationError(f"{output}: the folder {output.resolve().parent} is not there")
    camera = config.camera
    source = DemoSource(config.inference.engines, camera.width, camera.height, camera.fps)
    rehearsal = DemoRecorder(source, frames, seconds, output)
    run(config, source, headless, rehearsal)
    return rehearsal.report()
