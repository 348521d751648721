"""The whole pipeline over every picture of a video: what quality is measured with."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from installation.capture.video import decode
from installation.config.model import Config
from installation.inference.open_engines import Progress
from installation.scene import Frame, Scene, Verdict
from installation.vision.pipeline import open_pipeline


def trace(
    config: Config, video: Path, progress: Progress = lambda _what, _done: True
) -> Iterator[Scene]:
    """Observe a video, picture by picture, in its own time and as fast as it goes.

    Yields
    ------
    Scene
        One for each picture; ``at`` counts seconds from the beginning.

    Raises
    ------
    InstallationError
        The file cannot be read, or breaks off: raised after the scenes that could be seen.
    """
    # Before the engines are opened, which takes long: may it be read at all?
    frames = decode(video)
    first = next(frames)
    with contextlib.closing(frames), open_pipeline(config, progress) as observer:
        for seq, (time_s, pixels) in enumerate(itertools.chain([first], frames)):
            yield observer.observe(Frame(seq, time_s, pixels))


def _named(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return {"words": None, "wnid": None, "score": None, "settled": False}
    return {
        "words": verdict.label.words,
        "wnid": verdict.label.wnid,
        "score": round(verdict.label.score, 2),
        "settled": verdict.settled,
    }


def as_json(scene: Scene) -> dict[str, Any]:
    """Return the object that ``trace --json`` prints for a scene."""
    return {
        "frame": scene.seq,
        "time": round(scene.at, 4),
        "tracks": [
            {"id": track.id, "box": [round(side, 1) for side in track.box], **_named(track.verdict)}
            for track in scene.tracks
        ],
        "scene": _named(scene.whole) if scene.whole else None,
    }


def as_text(scene: Scene) -> str:
    """Say a scene in a few words: who is there, ``?`` behind words that have not settled."""
    if scene.whole is not None:
        return f"nobody: {scene.whole.label.words}"
    words = (
        f"{track.id} {track.verdict.label.words}{'' if track.verdict.settled else '?'}"
        for track in scene.tracks
        if track.verdict is not None
    )
    return " | ".join(words) or "nobody"
