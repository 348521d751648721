"""``installation run`` with instrumentation of the frames shown.

    python -m tests.benchmarks.soak.instrumented DESCRIPTOR

Writes JSON objects to the descriptor, one per line: every second the number of frames shown and
dropped, their ages and the number of live OpenGL objects; and immediately when frames appear first
or after a gap. The program itself is unchanged.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

_INTERVAL_S = 1.0
# Without a frame.
_GAP_S = 0.5
# OpenGL assigns the lowest free names, so that a leak soon passes this.
_MAX_NAMES = 2048
# Counting objects takes some milliseconds: in every line it would distort the measurement.
_LINES_PER_COUNT = 10


def _gl_objects() -> int:
    from pyglet import gl

    kinds = (gl.glIsTexture, gl.glIsBuffer, gl.glIsVertexArray, gl.glIsFramebuffer, gl.glIsProgram)
    return sum(bool(is_one(name)) for is_one in kinds for name in range(1, _MAX_NAMES))


class _Reporter:
    def __init__(self, descriptor: int) -> None:
        # A slow reader must not slow down the installation.
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._ages: list[float] = []
        self._reported_at = self._shown_at = 0.0
        self._lines = 0
        self._objects = 0

    def on_frame(self, at: float, captured_at: float, shown: int, dropped: int) -> None:
        if at - self._shown_at > _GAP_S:
            self._write({"back": at})
            # Frames from before the gap are not part of this interval.
            self._ages, self._reported_at = [], at
        self._shown_at = at
        self._ages.append(at - captured_at)
        if at - self._reported_at < _INTERVAL_S:
            return
        if self._lines % _LINES_PER_COUNT == 0:
            self._objects = _gl_objects()
        self._lines += 1
        median, most = np.quantile(self._ages, (0.5, 0.99))
        self._write(
            {
                "at": at,
                "shown": shown,
                "dropped": dropped,
                "rate": len(self._ages) / (at - self._reported_at),
                "age": 1000 * float(median),
                "age99": 1000 * float(most),
                "objects": self._objects,
            }
        )
        self._ages, self._reported_at = [], at

    def _write(self, line: dict[str, float]) -> None:
        try:
            os.write(self._descriptor, json.dumps(line).encode() + b"\n")
        except BlockingIOError:
            return


def main() -> None:
    """Run the installation, instrumented."""
    from installation.commands import cli
    from installation.display.metrics import Metrics

    reporter = _Reporter(int(sys.argv[1]))
    present = Metrics.present

    def instrumented(
        self: Metrics, at: float, captured_at: float, scene_at: float | None, drawn: float
    ) -> None:
        present(self, at, captured_at, scene_at, drawn)
        reporter.on_frame(at, captured_at, self.presented, self.dropped)

    Metrics.present = instrumented
    sys.exit(cli.main(["run"]))


if __name__ == "__main__":
    main()
