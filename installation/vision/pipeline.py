"""Frame to Scene: detector, tracker, classifier and votes combined."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from installation.config.model import Config
from installation.inference.engine import Engine, ManifestError
from installation.inference.open_engines import Progress, open_engines, rebuild_damaged
from installation.labels.glosses import load_glosses
from installation.scene import Frame, Scene, Track, Verdict
from installation.vision.classifier import Classifier
from installation.vision.detector import Detector
from installation.vision.tracker import Tracker
from installation.vision.verdict import VoteAccumulator

log = logging.getLogger(__name__)

# Minimum score of a detection; low scores may continue a track but not start one.
_THRESHOLD = 0.3
# Time between votes for a face, before and after its label has settled; and faces per batch.
_VOTE_INTERVAL_S = 0.2
_SETTLED_VOTE_INTERVAL_S = 2.0
_BATCH = 8
# How long the votes for a lost track are kept, in case it is found again.
_KEEP_VOTES_S = 3.0
# How long no face must have been in view before the whole frame gets a label.
_EMPTY_AFTER_S = 1.0


@dataclass(slots=True)
class _TrackVotes:
    """The votes for one track, and when the last one was cast."""

    votes: VoteAccumulator = field(default_factory=VoteAccumulator)
    voted_at: float = -np.inf
    seen_at: float = -np.inf

    def overdue(self, at: float) -> float:
        """Return for how many seconds the next vote has been due; negative if it is not due yet."""
        return (
            at
            - self.voted_at
            - (_SETTLED_VOTE_INTERVAL_S if self.votes.settled else _VOTE_INTERVAL_S)
        )


class VisionPipeline:
    """Turns frames into scenes.

    Its clock is the frames' capture times: the same frames give the same scenes at any speed. Not
    thread-safe.

    Parameters
    ----------
    detector, classifier
        The engines.
    config
        Minimum face size, allowed labels and glosses.
    """

    def __init__(self, detector: Engine, classifier: Engine, config: Config) -> None:
        self._engines = detector, classifier
        self._build(config)
        self._tracker = Tracker()
        self._votes: dict[int, _TrackVotes] = {}
        self._whole = _TrackVotes()
        self._face_seen_at = -np.inf

    @property
    def device(self) -> str:
        """What the engines run on now; see `Engine.device`."""
        detector, classifier = (engine.device for engine in self._engines)
        # Such as "CPU" and "CPU (server … is unavailable)".
        return classifier if classifier.startswith(detector) else f"{detector} and {classifier}"

    @property
    def fallback(self) -> bool:
        """Whether any engine is on its fallback; see `Engine.fallback`."""
        return any(engine.fallback for engine in self._engines)

    def apply_config(self, config: Config) -> None:
        """Use another config with the same engines and tracks.

        Voting starts again if the allowed labels have changed.
        """
        labels = self._config.labels
        self._build(config)
        if config.labels != labels:
            self._votes.clear()
            self._whole = _TrackVotes()

    def _build(self, config: Config) -> None:
        self._detector, self._classifier = _build(
            *self._engines, config, config.vision.min_face_px, _THRESHOLD
        )
        self._config = config

    def observe(self, frame: Frame) -> Scene:
        """Process a frame, captured later than the last one."""
        at = frame.captured_at
        tracks = self._tracker.update(self._detector.find(frame), at)
        if tracks:
            self._face_seen_at = at
            self._whole = _TrackVotes()
        for track in tracks:
            self._votes.setdefault(track.id, _TrackVotes()).seen_at = at
        self._vote(frame, tracks)
        self._votes = {
            id_: votes for id_, votes in self._votes.items() if at - votes.seen_at <= _KEEP_VOTES_S
        }
        return Scene(
            seq=frame.seq,
            at=at,
            width=frame.width,
            height=frame.height,
            tracks=tuple(
                replace(track, verdict=self._verdict(self._votes[track.id].votes))
                for track in tracks
            ),
            whole=None if tracks else self._score_whole_frame(frame),
        )

    def _vote(self, frame: Frame, tracks: tuple[Track, ...]) -> None:
        """Classify the faces whose next vote is due, the longest overdue first."""
        at = frame.captured_at
        due = [track for track in tracks if self._votes[track.id].overdue(at) >= 0]
        due.sort(key=lambda track: -self._votes[track.id].overdue(at))
        batch = due[:_BATCH]
        boxes = np.array([track.box for track in batch], np.float32).reshape(-1, 4)
        for track, scores in zip(batch, self._classifier.score_faces(frame, boxes), strict=True):
            self._votes[track.id].votes.cast(scores, at)
            self._votes[track.id].voted_at = at

    def _score_whole_frame(self, frame: Frame) -> Verdict | None:
        at = frame.captured_at
        if at - self._face_seen_at < _EMPTY_AFTER_S:
            return None
        if self._whole.overdue(at) >= 0:
            self._whole.votes.cast(self._classifier.score_whole(frame), at)
            self._whole.voted_at = at
        return self._verdict(self._whole.votes)

    def _verdict(self, votes: VoteAccumulator) -> Verdict | None:
        if votes.winner < 0:
            return None
        label = self._classifier.label
        return Verdict(
            label(votes.winner, votes.share(votes.winner)),
            votes.settled,
            tuple(label(index, votes.share(index)) for index in votes.candidates),
        )


def _build(
    detector: Engine, classifier: Engine, config: Config, min_face_px: int, threshold: float
) -> tuple[Detector, Classifier]:
    settings = config.inference
    labels = classifier.manifest.labels
    path = settings.engines / settings.classifier
    try:
        wnids = (path / labels).read_text(encoding="utf-8").split() if labels else []
    except (OSError, UnicodeDecodeError) as error:
        reason = "not text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ManifestError(f"{path}/{labels}: cannot be read ({reason})") from error
    glosses = load_glosses(settings.engines) if config.theme.gloss else {}
    return (
        Detector(detector, min_face_px, threshold),
        Classifier(classifier, tuple(wnids), config.labels.choice, glosses),
    )


def _rebuild_damaged(config: Config) -> None:
    """Rebuild missing or damaged folders that a config needs."""
    needed = {config.inference.detector, config.inference.classifier}
    if config.theme.gloss:
        needed.add("person-glosses")
    if config.camera.source == "demo":
        needed.add("demo-visitors")
    rebuild_damaged(config.inference.engines, needed)


@contextmanager
def open_vision(
    config: Config,
    min_face_px: int,
    threshold: float,
    progress: Progress = lambda _what, _done: True,
    raise_overload: bool = False,
) -> Iterator[tuple[Detector, Classifier]]:
    """Open the detector and the classifier that a config names.

    Parameters
    ----------
    config
        Names the engines and the label policy.
    min_face_px, threshold
        See `Detector`.
    progress, raise_overload
        See `open_engines`, which also lists the errors.
    """
    settings = config.inference
    names = settings.detector, settings.classifier
    _rebuild_damaged(config)
    with open_engines(settings, names, progress, raise_overload) as (detector, classifier):
        yield _build(detector, classifier, config, min_face_px, threshold)


@contextmanager
def open_pipeline(
    config: Config, progress: Progress = lambda _what, _done: True
) -> Iterator[VisionPipeline]:
    """Open the engines that a config names and a pipeline that uses them; see `open_engines`."""
    settings = config.inference
    _rebuild_damaged(config)
    with open_engines(settings, (settings.detector, settings.classifier), progress) as engines:
        detector, classifier = engines
        yield VisionPipeline(detector, classifier, config)
