"""Screenshots of every state of the screen, for the documentation.

    python -m tests.benchmarks.screenshots [FOLDER]

The visitors are the demonstration's; the words are the classifier's.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2

from installation.capture.demo import Crowd
from installation.config import loader
from installation.config import model as config
from installation.display.presenter import idle_words
from installation.display.window import Window
from installation.scene import Frame, Scene
from installation.vision.pipeline import open_pipeline

_FPS = 15
_LANDSCAPE = {"width": 1280, "height": 720}
_JPEG_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 88)
# When nobody is in view in the demonstration.
_EMPTY_AT_S = 31.5


def _settings(theme: dict[str, Any], **display: Any) -> config.Config:
    shown = {"fullscreen": False} | _LANDSCAPE | display
    changed = {"theme": config.Theme(**theme), "display": config.Display(**shown)}
    return loader.load("config.yaml").model_copy(update=changed)


def _open(settings: config.Config) -> tuple[Window, Crowd]:
    window = Window(settings.display, settings.theme, True, idle_words(settings))
    return window, Crowd(settings.inference.engines, 1280, 720)


def _save(window: Window, path: Path) -> None:
    cv2.imwrite(str(path), window.snapshot(), _JPEG_QUALITY)
    window.close()
    print(path)


def _people(path: Path, until: float, settings: config.Config) -> None:
    """Save the crowd at a time, after processing the six seconds before."""
    window, crowd = _open(settings)
    with open_pipeline(settings) as observer:
        for seq in range(max(int((until - 6) * _FPS), 0), int(until * _FPS) + 1):
            frame = Frame(seq, seq / _FPS, crowd.paint(seq / _FPS))
            window.show(frame, observer.observe(frame))
    _save(window, path)


def _nobody(path: Path, settings: config.Config) -> None:
    window, crowd = _open(settings)
    picture = crowd.paint(_EMPTY_AT_S)
    for seq in range(150):
        frame = Frame(seq, seq / 2, picture)
        window.show(frame, Scene(seq, seq / 2, 1280, 720, (), None))
    _save(window, path)


def _slate(path: Path, words: str) -> None:
    window, _ = _open(_settings({}))
    window.show_slate(words)
    _save(window, path)


def main() -> None:
    """Save all screenshots."""
    about = (__doc__ or "").partition("\n\n")[0]
    parser = argparse.ArgumentParser(description=about)
    default = Path("docs/looks")
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="where to save them")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    theme = config.Theme()
    _people(folder / "crowd.jpg", 9.5, _settings({}))
    _people(folder / "turning.jpg", 2.6, _settings({}))
    _people(folder / "gloss.jpg", 12.0, _settings({"gloss": True, "score": True}))
    _people(folder / "portrait.jpg", 9.5, _settings({}, width=720, height=1280))
    _nobody(folder / "idle.jpg", _settings({"idle": {"after_s": 5, "text": "Step closer"}}))
    _slate(folder / "preparing.jpg", f"{theme.text_preparing} 43%")
    _slate(folder / "lost.jpg", theme.text_no_camera)


if __name__ == "__main__":
    main()
