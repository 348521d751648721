"""What is on screen now: the newest frame, a slate if there is none, or nothing at night."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from installation.config.model import Config
from installation.display.freeze_detector import FreezeDetector
from installation.display.idle import IdleWord
from installation.display.metrics import Metrics
from installation.display.window import Window
from installation.labels.policy import allowed
from installation.labels.synsets import load_synsets
from installation.labels.taxonomy import paths, words_of
from installation.runtime.latest import Latest
from installation.scene import Frame, Scene


@dataclass(frozen=True, slots=True)
class PresenterTiming:
    """How long things last on the screen, all in seconds.

    Attributes
    ----------
    event_poll_s
        Between two polls of the window's events while no frame comes.
    no_frame_s
        Time without a frame until the last one fades.
    fade_s
        Time that fading takes.
    slate_period_s
        Between two drawings of a slate, which hardly moves.
    debug_period_s
        Between two updates of the debug line.
    freeze_check_period_s
        Between two checks that the screen follows the camera.
    screen_off_period_s
        Time after which a screen that has to be off is turned off again: a key may have woken it.
    """

    event_poll_s: float = 0.05
    no_frame_s: float = 2.0
    fade_s: float = 1.5
    slate_period_s: float = 0.5
    debug_period_s: float = 1.0
    freeze_check_period_s: float = 5.0
    screen_off_period_s: float = 10.0


class FrameObserver(Protocol):
    """Is shown every frame that was presented."""

    def on_frame(self, frame: Frame, scene: Scene | None, window: Window) -> bool:
        """Take note of a frame; return False to end the program."""

    def on_close(self, window: Window) -> None:
        """Take a last look before the window closes, for whatever reason."""


class Presenter:
    """Shows frames and scenes on a window.

    Parameters
    ----------
    window
        The window; it belongs to the calling thread.
    no_camera_text
        Text of the slate when no frame comes.
    frames, scenes
        The slots whose newest values are shown.
    observer
        Is shown every frame that was presented; None: nobody is.
    timing
        See `PresenterTiming`.

    Attributes
    ----------
    metrics
        Counts and ages of presented frames.
    waiting
        Whether there is no frame to show.
    frame
        The frame on the screen; None if there is none.
    shown_at
        When a frame was last on the screen, or could first have been; monotonic seconds.
    freeze_detector
        Whether the screen follows the camera.
    """

    def __init__(
        self,
        window: Window,
        no_camera_text: str,
        frames: Latest[Frame],
        scenes: Latest[Scene],
        observer: FrameObserver | None = None,
        timing: PresenterTiming | None = None,
    ) -> None:
        self.metrics = Metrics()
        self.waiting = True
        self.frame: Frame | None = None
        self.freeze_detector = FreezeDetector()
        self._window = window
        self._no_camera_text = no_camera_text
        self._frames = frames
        self._scenes = scenes
        self._observer = observer
        self._timing = timing or PresenterTiming()
        self._observer_is_done = False
        self._version = self._scene_version = 0
        self._scene: Scene | None = None
        self.shown_at = self._debug_at = self._freeze_checked_at = time.monotonic()
        self._slate: tuple[str, float] | None = None
        self._screen_off_at: float | None = None

    @property
    def finished(self) -> bool:
        """Whether the window was closed, or the observer has asked for the end."""
        return self._window.closed or self._observer_is_done

    @property
    def face_count(self) -> int:
        """Faces in the scene on the screen."""
        return len(self._scene.tracks) if self._scene else 0

    def apply(self, config: Config, changed: Collection[str]) -> None:
        """Go on with another config, as far as the window can; see `Window.apply_config`."""
        if {"labels", "theme", "display"} & set(changed):
            self._no_camera_text = config.theme.text_no_camera
            self._window.apply_config(config.display, config.theme, idle_words(config))
            self._slate = None

    def show(self) -> None:
        """Show the newest frame with the newest scene; wait a moment if there is no new frame.

        Raises
        ------
        Closed
            No more frames will come.
        """
        timing = self._timing
        self._turn_screen_on()
        newest = self._frames.get(after=self._version, timeout=timing.event_poll_s)
        newest_scene = self._scenes.get(after=self._scene_version, timeout=0)
        if newest_scene is not None:
            self._scene_version, self._scene = newest_scene
            self.metrics.count_settled_labels(self._scene)
        if newest is None:
            self._handle_missing_frame()
            return
        began = time.monotonic()
        self._version, frame = newest
        check = began - self._freeze_checked_at >= timing.freeze_check_period_s
        self._window.show(frame, self._scene, self.freeze_detector if check else None)
        now = self.shown_at = time.monotonic()
        scene_at = self._scene.at if self._scene else None
        self.metrics.present(now, frame.captured_at, scene_at, now - began)
        # After an outage, the frames the camera did not deliver were not dropped here.
        if self.frame is not None and not self.waiting:
            self.metrics.dropped += frame.seq - self.frame.seq - 1
        self.frame, self.waiting, self._slate = frame, False, None
        if check:
            self._freeze_checked_at = now
        if now - self._debug_at >= timing.debug_period_s:
            self._window.note, self._debug_at = self.metrics.as_text(now), now
        if self._observer is not None:
            go_on = self._observer.on_frame(frame, self._scene, self._window)
            self._observer_is_done = not go_on

    def _handle_missing_frame(self) -> None:
        timing = self._timing
        missing_s = time.monotonic() - self.shown_at - timing.no_frame_s
        if missing_s <= 0:
            self._window.dispatch_events()
            return
        self.waiting = True
        # Whoever is in the next frame is somebody else.
        self._scene = None
        if self.frame is not None and missing_s < timing.fade_s:
            self._window.fade(self.frame, missing_s / timing.fade_s)
            return
        self.frame = None
        self._draw_slate(self._no_camera_text)

    def show_slate(self, text: str) -> None:
        """Show a slate for a moment; call it again for as long as it is to stay."""
        self._turn_screen_on()
        self._draw_slate(text)
        self.shown_at = time.monotonic()
        time.sleep(self._timing.event_poll_s)

    def _draw_slate(self, text: str) -> None:
        now = time.monotonic()
        if (
            self._slate is None
            or self._slate[0] != text
            or now - self._slate[1] >= self._timing.slate_period_s
        ):
            self._window.show_slate(text)
            self._slate = text, now
        else:
            self._window.dispatch_events()

    def show_dark(self) -> None:
        """Keep the screen off for a moment; call it again for as long as it is to stay off."""
        now = time.monotonic()
        self._window.dispatch_events()
        # Nobody who went home is on the screen in the morning, nor in memory overnight.
        self._frames.clear()
        self._scenes.clear()
        self.frame = self._scene = self._slate = None
        off_at = self._screen_off_at
        if off_at is None or now - off_at >= self._timing.screen_off_period_s:
            self._window.screen_off()
            self._screen_off_at = now
        time.sleep(2 * self._timing.event_poll_s)

    def _turn_screen_on(self) -> None:
        if self._screen_off_at is not None:
            self._window.screen_on()
            self._screen_off_at = None
            self.shown_at = time.monotonic()


def idle_words(config: Config) -> tuple[IdleWord, ...]:
    """Return the words that may be shown, each with its path down from *person*."""
    synsets = load_synsets()
    shown = zip(synsets, allowed(synsets, config.labels.choice), strict=True)
    return tuple(
        IdleWord(synset.words, _hypernym_path(synset.wnid)) for synset, may_be in shown if may_be
    )


@cache
def _hypernym_path(wnid: str) -> str:
    above = paths(wnid)[0][1:]
    return " > ".join(words_of(each).partition(",")[0] for each in reversed(above))
