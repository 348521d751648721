"""The state the wall publishes twice a second: immutable, for any thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from installation.display.metrics import Metrics
from installation.scene import Frame


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """The heartbeat of one worker thread.

    Attributes
    ----------
    name
        Name of the worker.
    heartbeat_age_s
        Seconds since its last heartbeat.
    timeout_s
        Age in seconds at which the process is ended.
    """

    name: str
    heartbeat_age_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """The wall at one moment.

    Attributes
    ----------
    at
        When it was taken, monotonic seconds.
    open
        Whether the opening hours say open.
    hours_text
        The same for people, such as "closed until Mon 23 Nov 2026, 10:00".
    opens_at
        Unix time at which it opens; 0 while open, infinite if never.
    open_seconds
        Seconds it has been open since the process started.
    preparing
        What is being prepared while the engines open; None once they are open.
    picture_visible
        Whether the screen shows the camera.
    shown_at
        When it last did, or first could have, monotonic seconds.
    screen_stuck
        Whether the screen does not change although the camera's frames do.
    metrics
        A copy.
    faces
        Number of faces in the latest frame.
    workers
        Heartbeats of the running workers.
    camera
        Name of the source.
    camera_error
        Why it delivers no frames; None while it does.
    camera_disconnects
        How often it stopped since the process started.
    device
        What runs the networks, such as "CPU"; empty until they are open.
    fallback
        Whether they run there only because the configured device or server is unavailable.
    classifier
        Engine that chooses the labels.
    policy
        Which labels may be shown.
    record
        File of the record; None without one.
    recording_error
        Why nothing is being recorded; None while all is well.
    frame
        The frame on the screen, if it may be previewed.
    engine_error
        Why the engines cannot be opened; None if nothing is known to be wrong.
    monitors_off
        Whether no monitor is on although one should be.
    """

    at: float
    open: bool
    hours_text: str
    opens_at: float
    open_seconds: float
    preparing: str | None
    picture_visible: bool
    shown_at: float
    screen_stuck: bool
    metrics: Metrics
    faces: int
    workers: tuple[WorkerHealth, ...]
    camera: str
    camera_error: str | None
    camera_disconnects: int
    device: str
    fallback: bool
    classifier: str
    policy: str
    record: Path | None
    recording_error: str | None
    frame: Frame | None
    engine_error: str | None = None
    monitors_off: bool = False
