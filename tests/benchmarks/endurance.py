"""Does the wall grow? Frames without end, faces and words that come and go.

    python -m tests.benchmarks.endurance [--frames 60000]

Prints resident memory and the textures alive on the card every tenth of the way. The first tenth is
the warm-up, in which what is kept is filled.
"""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

import numpy as np

from installation.config.model import Display, Theme
from installation.display.idle import IdleWord
from installation.display.window import Window
from installation.labels.synsets import load_synsets
from installation.scene import Frame, Label, Scene, Track, Verdict

_SIZE = 320, 240
_FPS = 30
_STATM_RSS = 1
_PAGE = 4096
_NAMES = 100_000


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[_STATM_RSS]) * _PAGE / 2**20


def _crowd(at: float, random: np.random.Generator, labels: list[Label]) -> tuple[Track, ...]:
    """Up to four faces, each with a word of its own, for a few seconds; now and then nobody."""
    if at % 60 > 50:
        return ()
    tracks = []
    for place in range(4):
        visit = int(at / (3 + place))
        chosen = np.random.default_rng(visit * 4 + place)
        if chosen.random() < 0.3:
            continue
        x, y = 20 + 75 * place + 5 * np.sin(at + place), 60 + random.normal(0, 1)
        picked = tuple(labels[index] for index in chosen.integers(0, len(labels), 5))
        verdict = Verdict(picked[0], at % (3 + place) > 1, picked)
        box = (x, y, x + 40, y + 50)
        tracks.append(Track(visit * 4 + place + 1, at, box, (0.0,) * 4, verdict))
    return tuple(tracks)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=60_000)
    frames = parser.parse_args().frames
    synsets = load_synsets()
    labels = [
        Label(synset.wnid, synset.words, 0.5, f"a kind of {synset.words}") for synset in synsets
    ]
    words = tuple(IdleWord(synset.words, "person") for synset in synsets)
    theme = Theme(gloss=True, score=True, idle={"after": 5, "text": "Step closer"})
    display = Display(fullscreen=False, width=320, height=240)
    window = Window(display, theme, headless=True, words=words)
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (4, _SIZE[1], _SIZE[0], 3), np.uint8)
    gl = window._gl
    print(f"{'frames':>8} {'MB':>8} {'textures':>9}")
    for seq in range(frames):
        at = seq / _FPS
        scene = Scene(seq, at, *_SIZE, _crowd(at, random, labels), None)
        window.show(Frame(seq, at, pictures[seq % 4]), scene)
        if (seq + 1) % (frames // 10) == 0:
            gc.collect()
            alive = sum(bool(gl.glIsTexture(name)) for name in range(1, _NAMES))
            print(f"{seq + 1:8} {_resident_mb():8.1f} {alive:9}", flush=True)
    window.close()


if __name__ == "__main__":
    main()
