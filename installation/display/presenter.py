"""What people see: the newest picture, a slate where there is none, or nothing at night."""

from __future__ import annotations

import time
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

# The window answers keys and signals this often, seconds, when no picture comes.
_EVENT_POLL_S = 0.05
# Seconds without a picture before it fades, and until a slate has taken its place.
_PATIENCE = 2.0
_FADES = 1.5
# Seconds between drawings of a slate, which hardly moves.
_SLATE = 0.5
# Seconds between notes to technicians who look at the wall.
_DEBUG_LINE_INTERVAL_S = 1.0
# Seconds between looks at the screen itself.
_FREEZE_CHECK_INTERVAL_S = 5.0
# Seconds after which a screen that is to be dark is turned off once more: a key may have woken it.
_SCREEN_OFF_REPEAT_S = 10.0


class FrameObserver(Protocol):
    """Someone who looks at every picture that was put on the wall."""

    def saw(self, frame: Frame, scene: Scene | None, window: Window) -> bool:
        """Take note; return False to end the show."""

    def leave(self, window: Window) -> None:
        """Take a last look, before the window closes for whatever reason."""


class Presenter:
    """Puts on a window what comes out of the hand-overs.

    Parameters
    ----------
    window
        Where.
    lost
        What to say when no picture comes.
    frames, scenes
        Whose newest is shown.
    witness
        Sees every picture shown.

    Attributes
    ----------
    metrics
        Of what was shown.
    faces
        How many of them there were in the last picture.
    waiting
        Whether there is no picture to show.
    frame, shown_at
        The picture on the wall, if any, and when there last was one or could first have been.
    stillness
        Whether the screen follows the camera.
    over
        Whether somebody closed the window, or the witness has seen enough.
    """

    def __init__(
        self,
        window: Window,
        lost: str,
        frames: Latest[Frame],
        scenes: Latest[Scene],
        witness: FrameObserver | None,
    ) -> None:
        self.metrics = Metrics()
        self.waiting = True
        self.frame: Frame | None = None
        self.stillness = FreezeDetector()
        self._window = window
        self._lost = lost
        self._frames = frames
        self._scenes = scenes
        self._witness = witness
        self._enough = False
        self._version = self._scene_version = 0
        self._scene: Scene | None = None
        self.shown_at = self._noted_at = self._glanced_at = time.monotonic()
        self._slate: tuple[str, float] | None = None
        self._dark_at: float | None = None

    @property
    def over(self) -> bool:  # noqa: D102  # see above
        return self._window.closed or self._enough

    @property
    def faces(self) -> int:  # noqa: D102
        return len(self._scene.tracks) if self._scene else 0

    def dress(self, config: Config) -> None:
        """Go on by another config, as far as that takes no other window."""
        self._lost = config.theme.text_no_camera
        self._window.apply_config(config.display, config.theme, idle_words(config))
        self._slate = None

    def show(self) -> None:
        """Show the newest frame with the newest scene; wait a moment where there is no new one.

        Raises
        ------
        Closed
            No more will come.
        """
        self._leave_dark()
        newest = self._frames.get(after=self._version, timeout=_EVENT_POLL_S)
        news = self._scenes.get(after=self._scene_version, timeout=0)
        if news is not None:
            self._scene_version, self._scene = news
            self.metrics.count_settled_labels(self._scene)
        if newest is None:
            self._handle_missing_frame()
            return
        began = time.monotonic()
        self._version, frame = newest
        glance = began - self._glanced_at >= _FREEZE_CHECK_INTERVAL_S
        self._window.show(frame, self._scene, self.stillness if glance else None)
        now = self.shown_at = time.monotonic()
        scene_at = self._scene.at if self._scene else None
        self.metrics.present(now, frame.captured_at, scene_at, now - began)
        # After a gap the camera was away; what it would have given is not left out by us.
        if self.frame is not None and not self.waiting:
            self.metrics.dropped += frame.seq - self.frame.seq - 1
        self.frame, self.waiting, self._slate = frame, False, None
        if glance:
            self._glanced_at = now
        if now - self._noted_at >= _DEBUG_LINE_INTERVAL_S:
            self._window.note, self._noted_at = self.metrics.as_text(now), now
        if self._witness is not None:
            self._enough = not self._witness.saw(frame, self._scene, self._window)

    def _handle_missing_frame(self) -> None:
        gone = time.monotonic() - self.shown_at - _PATIENCE
        if gone <= 0:
            self._window.dispatch_events()
            return
        self.waiting = True
        # Who comes back into the picture is somebody else.
        self._scene = None
        if self.frame is not None and gone < _FADES:
            self._window.fade(self.frame, gone / _FADES)
            return
        self.frame = None
        self._draw(self._lost)

    def wait(self, words: str) -> None:
        """Show a slate for a moment; to be called again as long as it is to stand."""
        self._leave_dark()
        self._draw(words)
        self.shown_at = time.monotonic()
        time.sleep(_EVENT_POLL_S)

    def _draw(self, words: str) -> None:
        now = time.monotonic()
        if self._slate is None or self._slate[0] != words or now - self._slate[1] >= _SLATE:
            self._window.show_slate(words)
            self._slate = words, now
        else:
            self._window.dispatch_events()

    def show_dark(self) -> None:
        """Show nothing for a moment; to be called again as long as it is to stay so."""
        now = time.monotonic()
        self._window.dispatch_events()
        # Nobody who went home is on the wall in the morning, nor in memory overnight.
        self._frames.clear()
        self._scenes.clear()
        self.frame = self._scene = self._slate = None
        if self._dark_at is None or now - self._dark_at >= _SCREEN_OFF_REPEAT_S:
            self._window.screen_off()
            self._dark_at = now
        time.sleep(2 * _EVENT_POLL_S)

    def _leave_dark(self) -> None:
        if self._dark_at is not None:
            self._window.screen_on()
            self._dark_at = None
            self.shown_at = time.monotonic()


def idle_words(config: Config) -> tuple[IdleWord, ...]:
    """Return the words that may be shown, each with its way down from *person*."""
    synsets = load_synsets()
    shown = zip(synsets, allowed(synsets, config.labels.choice), strict=True)
    return tuple(
        IdleWord(synset.words, _hypernym_path(synset.wnid)) for synset, may_be in shown if may_be
    )


@cache
def _hypernym_path(wnid: str) -> str:
    above = paths(wnid)[0][1:]
    return " > ".join(words_of(each).partition(",")[0] for each in reversed(above))
