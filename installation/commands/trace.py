"""``installation trace``: run the vision pipeline over every frame of a video."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from installation.commands.arguments import Subparsers, add_command, load_config, path_or_url
from installation.commands.exit_status import OK
from installation.commands.terminal import ProgressBar
from installation.vision.pipeline import open_pipeline

if TYPE_CHECKING:
    from installation.config.model import Config
    from installation.inference.open_engines import Progress
    from installation.scene import Scene, Verdict


def add_parser(commands: Subparsers) -> None:
    """Add the command."""
    summary = "Detect, track and label the faces in every frame of a video."
    parser = add_command(commands, "trace", _trace, summary, logging.WARNING)
    parser.add_argument("video", type=path_or_url, metavar="VIDEO")
    parser.add_argument("--json", action="store_true", help="print one JSON object per frame")


def _trace(arguments: argparse.Namespace) -> int:
    last = ""
    with ProgressBar() as progress:
        for scene in _scenes(load_config(arguments), arguments.video, progress.update):
            if arguments.json:
                print(json.dumps(_as_json(scene)), flush=True)
            elif (text := _as_text(scene)) != last:
                print(f"{scene.at:8.2f} s  {text}", flush=True)
                last = text
    return OK


def _scenes(config: Config, video: Path, progress: Progress) -> Iterator[Scene]:
    """Yield a scene for each frame; its ``at`` counts seconds from the beginning of the video."""
    from installation.capture.video import decode
    from installation.scene import Frame

    # A file that cannot be read fails here, before the engines are opened, which takes long.
    frames = decode(video)
    first = next(frames)
    with contextlib.closing(frames), open_pipeline(config, progress) as observer:
        for seq, (time_s, pixels) in enumerate(itertools.chain([first], frames)):
            yield observer.observe(Frame(seq, time_s, pixels))


def _as_json(scene: Scene) -> dict[str, Any]:
    return {
        "frame": scene.seq,
        "time": round(scene.at, 4),
        "tracks": [
            {
                "id": track.id,
                "box": [round(side, 1) for side in track.box],
                **_verdict_as_json(track.verdict),
            }
            for track in scene.tracks
        ],
        "scene": _verdict_as_json(scene.whole) if scene.whole else None,
    }


def _verdict_as_json(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return {"words": None, "wnid": None, "score": None, "settled": False}
    return {
        "words": verdict.label.words,
        "wnid": verdict.label.wnid,
        "score": round(verdict.label.score, 2),
        "settled": verdict.settled,
    }


def _as_text(scene: Scene) -> str:
    """Describe a scene in a line; ``?`` follows words that have not settled."""
    if scene.whole is not None:
        return f"nobody: {scene.whole.label.words}"
    words = (
        f"{track.id} {track.verdict.label.words}{'' if track.verdict.settled else '?'}"
        for track in scene.tracks
        if track.verdict is not None
    )
    return " | ".join(words) or "nobody"
