"""What is measured while frames are shown, the same for every implementation."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from installation.bench.simulated_camera import SimulatedCamera
from installation.display.window import Window
from installation.scene import Frame, Scene

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """What was measured in a period of time.

    Attributes
    ----------
    duration_s
        Its length.
    cpu_s
        CPU time of this process, all threads.
    other_cpu_s
        CPU time of all other processes of the machine, an X server among them.
    ages_s, overlay_ages_s
        For each frame, when it was on the screen: its age, and the age of the frame in which its
        boxes were found.
    boxes
        How many were drawn per frame, on average.
    rss_bytes
        Memory of this process at the end, the footage included.
    """

    duration_s: float
    cpu_s: float
    other_cpu_s: float
    ages_s: tuple[float, ...]
    overlay_ages_s: tuple[float, ...]
    boxes: float
    rss_bytes: int


def _machine_cpu_s() -> float:
    """Return the CPU time that was not idle since the machine started."""
    first = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0]
    user, nice, system, _idle, _iowait, *interrupts = map(int, first.split()[1:8])
    return (user + nice + system + sum(interrupts)) / _TICKS_PER_S


class Measurement:
    """Measures the frames that are shown, after a warm-up.

    Parameters
    ----------
    camera
        Knows when each frame was captured.
    warm_up_s
        From the first overlay on; not measured.
    duration_s
        How long to measure then.

    Attributes
    ----------
    sample
        The result; None until it is complete.
    """

    def __init__(self, camera: SimulatedCamera, warm_up_s: float, duration_s: float) -> None:
        self._camera = camera
        self._warm_up_s = warm_up_s
        self._duration_s = duration_s
        self._warm_up_started_at: float | None = None
        # Time, and CPU times of the process and of the machine.
        self._start: tuple[float, float, float] | None = None
        self._last_seq = -1
        self._ages_s: list[float] = []
        self._overlay_ages_s: list[float] = []
        self._boxes: list[int] = []
        self.sample: Sample | None = None

    def presented(self, seq: int, overlay_seq: int, boxes: int) -> bool:
        """Count a frame; call it right after the frame is on the screen.

        Parameters
        ----------
        seq, overlay_seq
            Numbers, in order of reading, of the frame and of that in which its boxes were found.
        boxes
            How many were drawn.

        Returns
        -------
        bool
            Whether to continue.
        """
        now = time.monotonic()
        if self._warm_up_started_at is None:
            self._warm_up_started_at = now
        if now - self._warm_up_started_at < self._warm_up_s:
            return True
        if self._start is None:
            self._start = now, time.process_time(), _machine_cpu_s()
            self._last_seq = seq
            return True
        if seq != self._last_seq:
            self._last_seq = seq
            self._ages_s.append(now - self._camera.captured_at[seq])
            self._overlay_ages_s.append(now - self._camera.captured_at[overlay_seq])
            self._boxes.append(boxes)
        started_at, process_cpu_s, machine_cpu_s = self._start
        if now - started_at < self._duration_s or not self._ages_s:
            return True
        cpu_s = time.process_time() - process_cpu_s
        self.sample = Sample(
            now - started_at,
            cpu_s,
            max(_machine_cpu_s() - machine_cpu_s - cpu_s, 0.0),
            tuple(self._ages_s),
            tuple(self._overlay_ages_s),
            float(np.mean(self._boxes)),
            int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES,
        )
        return False

    def on_frame(self, frame: Frame, scene: Scene | None, window: Window) -> bool:  # noqa: ARG002
        """See `FrameObserver.on_frame`."""
        return scene is None or self.presented(frame.seq, scene.seq, len(scene.tracks))

    def on_close(self, window: Window) -> None:
        """See `FrameObserver.on_close`."""
