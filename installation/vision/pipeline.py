"""Frame to Scene: the detector, the tracker, the classifier and the ballots at work together."""

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

# Detections down to this certainty may continue a track, though not begin one.
_THRESHOLD = 0.3
# Seconds between votes, until a word settles and after; and how many faces vote in one batch.
_VOTE_SOON = 0.2
_VOTE_LATER = 2.0
_BATCH = 8
# Ballots of faces out of view are kept this long, for when the track is found again.
_REMEMBERED = 3.0
# Nobody must have been seen for this long before the picture as a whole gets a word.
_ALONE = 1.0


@dataclass(slots=True)
class _TrackVotes:
    """A ballot and when it was last used."""

    ballot: VoteAccumulator = field(default_factory=VoteAccumulator)
    voted_at: float = -np.inf
    seen_at: float = -np.inf

    def due(self, at: float) -> float:
        """Seconds since the next vote was due; negative while there is time."""
        return at - self.voted_at - (_VOTE_LATER if self.ballot.settled else _VOTE_SOON)


class VisionPipeline:
    """Turns frames into scenes.

    Its only clock is the frames' own: the same frames give the same scenes, however fast they come.

    Parameters
    ----------
    finding, naming
        The engines, used from the calling thread alone.
    config
        How to look, and which words may be given.
    """

    def __init__(self, finding: Engine, naming: Engine, config: Config) -> None:
        self._engines = finding, naming
        self._use(config)
        self._tracker = Tracker()
        self._polls: dict[int, _TrackVotes] = {}
        self._whole = _TrackVotes()
        self._someone_at = -np.inf

    @property
    def device(self) -> str:
        """What the engines run on, by now."""
        finding, naming = (engine.device for engine in self._engines)
        # Such as "CPU" and "CPU (server … is gone)".
        return naming if naming.startswith(finding) else f"{finding} and {naming}"

    @property
    def fallback(self) -> bool:
        """Whether that is the CPU for now, though something better was asked for."""
        return any(engine.fallback for engine in self._engines)

    def use(self, config: Config) -> None:
        """Go on by another config, with the same engines; faces keep their tracks.

        Where other words may be given, all are voted on anew.
        """
        words = self._config.labels
        self._use(config)
        if config.labels != words:
            self._polls.clear()
            self._whole = _TrackVotes()

    def _use(self, config: Config) -> None:
        smallest_face = config.vision.smallest_face
        made = _build(*self._engines, config, smallest_face, _THRESHOLD)
        self._detector, self._classifier = made
        self._config = config

    def observe(self, frame: Frame) -> Scene:
        """Look at a frame, captured later than the last one."""
        at = frame.captured_at
        tracks = self._tracker.update(self._detector.find(frame), at)
        if tracks:
            self._someone_at = at
            self._whole = _TrackVotes()
        for track in tracks:
            self._polls.setdefault(track.id, _TrackVotes()).seen_at = at
        self._vote(frame, tracks)
        self._polls = {
            id_: poll for id_, poll in self._polls.items() if at - poll.seen_at <= _REMEMBERED
        }
        return Scene(
            seq=frame.seq,
            at=at,
            width=frame.width,
            height=frame.height,
            tracks=tuple(
                replace(track, verdict=self._verdict(self._polls[track.id].ballot))
                for track in tracks
            ),
            whole=None if tracks else self._score_whole_frame(frame),
        )

    def _vote(self, frame: Frame, tracks: tuple[Track, ...]) -> None:
        """Let the faces vote whose turn has come, those that waited longest first."""
        at = frame.captured_at
        due = [track for track in tracks if self._polls[track.id].due(at) >= 0]
        due.sort(key=lambda track: -self._polls[track.id].due(at))
        voters = due[:_BATCH]
        boxes = np.array([track.box for track in voters], np.float32).reshape(-1, 4)
        for track, scores in zip(voters, self._classifier.score_faces(frame, boxes), strict=True):
            self._polls[track.id].ballot.cast(scores, at)
            self._polls[track.id].voted_at = at

    def _score_whole_frame(self, frame: Frame) -> Verdict | None:
        at = frame.captured_at
        if at - self._someone_at < _ALONE:
            return None
        if self._whole.due(at) >= 0:
            self._whole.ballot.cast(self._classifier.score_whole(frame), at)
            self._whole.voted_at = at
        return self._verdict(self._whole.ballot)

    def _verdict(self, ballot: VoteAccumulator) -> Verdict | None:
        if ballot.winner < 0:
            return None
        label = self._classifier.label
        return Verdict(
            label(ballot.winner, ballot.share(ballot.winner)),
            ballot.settled,
            tuple(label(index, ballot.share(index)) for index in ballot.candidates),
        )


def _build(
    finding: Engine, naming: Engine, config: Config, smallest_face: int, threshold: float
) -> tuple[Detector, Classifier]:
    settings = config.inference
    labels = naming.manifest.labels
    path = settings.engines / settings.classifier
    try:
        wnids = (path / labels).read_text(encoding="utf-8").split() if labels else []
    except (OSError, UnicodeDecodeError) as error:
        reason = "not text" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ManifestError(f"{path}/{labels}: cannot be read ({reason})") from error
    glosses = load_glosses(settings.engines) if config.theme.gloss else {}
    return (
        Detector(finding, smallest_face, threshold),
        Classifier(naming, tuple(wnids), config.labels.choice, glosses),
    )


def _mend(config: Config) -> None:
    """Have what is missing or damaged of what a config needs built again."""
    needed = {config.inference.detector, config.inference.classifier}
    if config.theme.gloss:
        needed.add("person-glosses")
    if config.camera.source == "demo":
        needed.add("demo-visitors")
    rebuild_damaged(config.inference.engines, needed)


@contextmanager
def open_vision(
    config: Config,
    smallest_face: int,
    threshold: float,
    progress: Progress = lambda _what, _done: True,
    waits: bool = False,
) -> Iterator[tuple[Detector, Classifier]]:
    """Open the detector and the classifier a config names; see `open_engines`."""
    settings = config.inference
    names = settings.detector, settings.classifier
    _mend(config)
    with open_engines(settings, names, progress, waits) as (finding, naming):
        yield _build(finding, naming, config, smallest_face, threshold)


@contextmanager
def open_observer(
    config: Config, progress: Progress = lambda _what, _done: True
) -> Iterator[VisionPipeline]:
    """Open both engines a config names and an observer over them; see `open_engines`."""
    settings = config.inference
    _mend(config)
    with open_engines(settings, (settings.detector, settings.classifier), progress) as engines:
        finding, naming = engines
        yield VisionPipeline(finding, naming, config)
