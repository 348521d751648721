"""``installation run``, overheard: the whole program, with an ear at the place that shows pictures.

    python -m tests.benchmarks.soak.overheard DESCRIPTOR

Writes to the descriptor, a JSON object a line: every second how many pictures were shown and left
out, how old they were and how many OpenGL objects are alive; and, at once, when pictures come at
first and after a gap. Nothing of the program is replaced.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

# Seconds between lines, and without a picture that make a gap.
_INTERVAL = 1.0
_GAP = 0.5
# OpenGL hands out names from 1 on, and again when they are free: who leaks passes this soon.
_NAMES = 2048
# Counting them takes some milliseconds: in every line it would be a part of what is measured.
_LINES_PER_COUNT = 10


def _gl_objects() -> int:
    from pyglet import gl

    kinds = (gl.glIsTexture, gl.glIsBuffer, gl.glIsVertexArray, gl.glIsFramebuffer, gl.glIsProgram)
    return sum(bool(is_one(name)) for is_one in kinds for name in range(1, _NAMES))


class _Ear:
    def __init__(self, descriptor: int) -> None:
        # Whoever reads this slowly must not slow down the wall.
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._ages: list[float] = []
        self._told_at = self._shown_at = 0.0
        self._lines = 0
        self._objects = 0

    def hear(self, at: float, captured_at: float, shown: int, dropped: int) -> None:
        if at - self._shown_at > _GAP:
            self._tell({"back": at})
            # What was gathered before is too old to be told as of now.
            self._ages, self._told_at = [], at
        self._shown_at = at
        self._ages.append(at - captured_at)
        if at - self._told_at < _INTERVAL:
            return
        if self._lines % _LINES_PER_COUNT == 0:
            self._objects = _gl_objects()
        self._lines += 1
        median, most = np.quantile(self._ages, (0.5, 0.99))
        self._tell(
            {
                "at": at,
                "shown": shown,
                "dropped": dropped,
                "rate": len(self._ages) / (at - self._told_at),
                "age": 1000 * float(median),
                "age99": 1000 * float(most),
                "objects": self._objects,
            }
        )
        self._ages, self._told_at = [], at

    def _tell(self, line: dict[str, float]) -> None:
        try:
            os.write(self._descriptor, json.dumps(line).encode() + b"\n")
        except BlockingIOError:
            return


def main() -> None:
    """Listen, and run."""
    from installation.commands import cli
    from installation.display.metrics import Metrics

    ear = _Ear(int(sys.argv[1]))
    present = Metrics.present

    def overheard(
        self: Metrics, at: float, captured_at: float, scene_at: float | None, drawn: float
    ) -> None:
        present(self, at, captured_at, scene_at, drawn)
        ear.hear(at, captured_at, self.presented, self.dropped)

    Metrics.present = overheard
    sys.exit(cli.main(["run"]))


if __name__ == "__main__":
    main()
