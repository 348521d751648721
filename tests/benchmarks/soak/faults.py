"""Faults, one after the other, at random."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.soak.camera import SIZE, Camera
from tests.benchmarks.soak.program import Program

_BROKEN = (
    "theme: {colour: green}\n",
    "thme: {text_scale: 1}\n",
    "theme: [\n",
    "theme: {text_scale: 1}\ntheme: {text_scale: 2}\n",
    "labels: {policy: harmless}\n",
    "hours: {open: [noon]}\n",
    "\x00\x01",
)


class Faults:
    """Causes faults.

    Parameters
    ----------
    folder
        Of the config.
    engines
        Folder of the engines.
    camera
        The camera.
    seed
        Of the random choices.
    """

    def __init__(self, folder: Path, engines: Path, camera: Camera, seed: int) -> None:
        self._path = folder / "config.yaml"
        self._engines = engines
        self._camera = camera
        self.chance = random.Random(seed)
        self._settings: dict[str, object] = {}
        self.write_config()
        self._all: dict[str, Callable[[Program], None]] = {
            "camera gone": self._camera_gone,
            **{f"camera {fault}": self._camera_fault(fault) for fault in _CAMERA_FAULTS},
            "good config": self.change_theme,
            "broken config": self._broken_config,
            "closing time": self._closing_time,
            "process stopped": self._stopped,
        }

    def cause_one(self, program: Program) -> str:
        """Cause a fault and end it, which takes some seconds; return its name."""
        name = self.chance.choice(sorted(self._all))
        self._all[name](program)
        return name

    def write_config(self, **changed: object) -> None:
        """Write a valid config with some sections changed."""
        sections = {
            "camera": {"source": self._camera.url},
            "inference": {"engines": str(self._engines)},
            "display": {"fullscreen": False, "width": SIZE[0], "height": SIZE[1]},
            "vision": {"min_face_px": 24},
        }
        self._write("".join(f"{k}: {json.dumps(v)}\n" for k, v in (sections | changed).items()))

    def _write(self, text: str) -> None:
        # Atomically, as editors do.
        new = self._path.with_suffix(".new")
        new.write_text(text)
        new.rename(self._path)

    def _wait(self, shortest: float, longest: float) -> None:
        time.sleep(self.chance.uniform(shortest, longest))

    def _camera_gone(self, _program: Program) -> None:
        self._camera.switch_off()
        self._wait(0, 5)
        self._camera.switch_on()

    def _camera_fault(self, fault: str) -> Callable[[Program], None]:
        def cause(_program: Program) -> None:
            self._camera.fault = fault
            self._wait(0.5, _CAMERA_FAULTS[fault])
            self._camera.fault = None

        return cause

    def change_theme(self, program: Program) -> None:
        """Change theme and labels, as a curator would."""
        chance = self.chance
        self._settings = {
            "theme": {
                "colour": f"#{chance.randrange(2**24):06x}",
                "text_scale": round(chance.uniform(0.5, 2), 1),
                "box_width": round(chance.uniform(0, 4), 1),
                **{key: chance.random() < 0.5 for key in ("gloss", "score", "cycle_candidates")},
                "idle": {
                    "after_s": chance.choice([0, 1, 5]),
                    "text": chance.choice(["", "Closer"]),
                },
            },
            "labels": {
                "policy": chance.choice(["safe", "inoffensive"]),
                "exclude": chance.choice([[], ["boss"]]),
            },
            "vision": {"min_face_px": chance.choice([20, 24, 32])},
        }
        self.write_config(**self._settings)
        program.process.send_signal(signal.SIGHUP)
        time.sleep(1)

    def _broken_config(self, program: Program) -> None:
        self._write(self.chance.choice(_BROKEN))
        program.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        self.write_config(**self._settings)

    def _closing_time(self, program: Program) -> None:
        # Closed on every day of the year.
        self.write_config(**self._settings, hours={"closed": ["01-01..12-31"]})
        program.process.send_signal(signal.SIGHUP)
        self._wait(1, 4)
        self.write_config(**self._settings)
        program.process.send_signal(signal.SIGHUP)

    def _stopped(self, program: Program) -> None:
        program.process.send_signal(signal.SIGSTOP)
        self._wait(0.2, 2)
        program.process.send_signal(signal.SIGCONT)


# Faults of a connected camera, and their longest duration in seconds.
_CAMERA_FAULTS = {"hangs": 8, "garbage": 4, "cut": 4, "frozen": 8, "dark": 4, "other size": 4}
