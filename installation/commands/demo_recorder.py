"""Records what the demonstration shows, and compares it with the ground truth."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from installation.capture.demo import Crowd, DemoSource
from installation.display.window import Window
from installation.errors import InstallationError
from installation.scene import Frame, Scene
from installation.vision.boxes import iou

# Share of a face that is visible if it ought to be found.
_MIN_VISIBLE = 0.9
# A face counts as found if a box overlaps the ground truth this much.
_FOUND_IOU = 0.4
# The report covers this many frames at most, the latest.
_MAX_FRAMES = 100_000


class DemoRecorder:
    """Observes the frames that are shown: their ages, their boxes, their pixels.

    Parameters
    ----------
    source
        The simulated crowd.
    frames, seconds
        When to stop, whichever comes first; None: never.
    output
        File that receives the last frame (``.png``) or all frames (``.mp4``); None: neither.
    """

    def __init__(
        self, source: DemoSource, frames: int | None, seconds: float | None, output: Path | None
    ) -> None:
        self._source = source
        self._frames = frames
        self._seconds = seconds
        self._output = output
        self._video: cv2.VideoWriter | None = None
        self._started_at: float | None = None
        self._ages: deque[float] = deque(maxlen=_MAX_FRAMES)
        self._overlaps: deque[float] = deque(maxlen=_MAX_FRAMES)
        self._frame_count = 0

    def on_frame(self, frame: Frame, scene: Scene | None, window: Window) -> bool:
        """See `FrameObserver.on_frame`."""
        now = time.monotonic()
        self._started_at = self._started_at or frame.captured_at
        self._frame_count += 1
        self._ages.append(now - frame.captured_at)
        if self._source.crowd is not None:
            self._compare(frame, scene, self._source.crowd)
        last = (self._frames is not None and self._frame_count >= self._frames) or (
            self._seconds is not None and now - self._started_at >= self._seconds
        )
        if self._output is not None and self._output.suffix == ".mp4":
            self._write_to_video(window, self._output)
        return not last

    def on_close(self, window: Window) -> None:
        """See `FrameObserver.on_close`: save the last frame, or finish the video."""
        if self._output is None or not self._ages:
            return
        if self._output.suffix == ".png":
            self._save_frame(window, self._output)
        elif self._video is not None:
            self._finish_video(self._video, self._output)

    def _compare(self, frame: Frame, scene: Scene | None, crowd: Crowd) -> None:
        shown = [track.box_at(frame.captured_at) for track in scene.tracks] if scene else []
        boxes = np.array(shown, np.float32).reshape(-1, 4)
        for truth in crowd.truth(self._source.time_of(frame.seq)):
            if truth.visible >= _MIN_VISIBLE:
                overlaps = iou(np.array([truth.box], np.float32), boxes)
                self._overlaps.append(float(overlaps.max(initial=0.0)))

    def _write_to_video(self, window: Window, output: Path) -> None:
        image = window.snapshot()
        if self._video is None:
            size = image.shape[1], image.shape[0]
            fps = 1 / (self._source.interval_s or 1 / 30)
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            # OpenCV crashes on a string that contains bytes that are not valid text.
            video = cv2.VideoWriter(os.fsencode(output), codec, fps, size)  # type: ignore[call-overload]
            if not video.isOpened():
                raise InstallationError(f"{output}: cannot be written; does the folder exist?")
            self._video = video
        self._video.write(image)

    def _finish_video(self, video: cv2.VideoWriter, output: Path) -> None:
        video.release()
        # The writer does not report what it could not write, as to a full disk.
        written = cv2.VideoCapture(os.fsencode(output))  # type: ignore[call-overload]
        if written.get(cv2.CAP_PROP_FRAME_COUNT) < self._frame_count:
            raise InstallationError(f"{output}: could not be written completely; is the disk full?")

    def _save_frame(self, window: Window, output: Path) -> None:
        try:
            Image.fromarray(window.snapshot()[..., ::-1]).save(output)
        except OSError as error:
            reason = error.strerror or error
            raise InstallationError(f"{output}: cannot be written: {reason}") from error

    def report(self) -> str:
        """Return one line about what was shown."""
        if not self._ages:
            return "demo: no frame was shown"
        ages = np.array(self._ages) * 1000
        text = (
            f"demo: {self._frame_count} frames, camera to screen {np.median(ages):.0f} ms "
            f"(99 % within {np.percentile(ages, 99):.0f} ms)"
        )
        if self._overlaps:
            overlaps = np.array(self._overlaps)
            found = (overlaps >= _FOUND_IOU).mean()
            text += f"; {found:.0%} of faces boxed, mean IoU {overlaps.mean():.2f}"
        return text if self._output is None else f"{text}; see {self._output}"
