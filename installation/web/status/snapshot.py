"""What the wall tells of itself, twice a second: values that stay as they are, for any thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from installation.display.metrics import Metrics
from installation.scene import Frame


@dataclass(frozen=True, slots=True)
class StageHealth:
    """How a stage lives.

    Attributes
    ----------
    name
        Of the stage.
    silent
        Seconds since it last showed that it lives.
    patience
        Seconds of silence after which the process ends.
    """

    name: str
    silent: float
    patience: float


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """The wall at one moment.

    Attributes
    ----------
    at
        That moment, monotonic seconds; so are others unless they say otherwise.
    open, doors
        Whether it is open by its hours, and how a technician would say it.
    opens_at
        When it opens, seconds since 1970: 0 while it is open, infinite if never.
    open_seconds
        For how long it has been open since the start.
    preparing
        What is said while the engines are opened; None once they are.
    waiting
        Whether there is no picture on the wall.
    shown_at
        When there last was one, or could first have been.
    stuck
        Whether the screen stays the same while what the camera sees changes.
    metrics
        A copy.
    faces
        In the last frame.
    pulses
        Of the stages at work.
    camera, trouble, losses
        The source's name, why there are no frames of it now, and how often that began.
    device, classifier, policy
        What the networks run on, which one names, and which words may be given.
    fallback
        Whether they run there only because what was asked for cannot be had for now.
    record
        Where it is kept which words were given; None for nowhere.
    pause
        Why nothing is recorded just now; None while all is well.
    frame
        What is on the wall, where it may be looked at.
    engines
        Why the engines cannot be opened; None while that is not known.
    dark
        Whether no monitor is on though one should be.
    """

    at: float
    open: bool
    doors: str
    opens_at: float
    open_seconds: float
    preparing: str | None
    waiting: bool
    shown_at: float
    stuck: bool
    metrics: Metrics
    faces: int
    pulses: tuple[StageHealth, ...]
    camera: str
    trouble: str | None
    losses: int
    device: str
    fallback: bool
    classifier: str
    policy: str
    record: Path | None
    pause: str | None
    frame: Frame | None
    engines: str | None = None
    dark: bool = False
