"""Bring a network to int8 with a technician's own pictures, and measure what that costs."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.fetch import sha256_of
from engines.manifest import Manifest, load_manifest
from engines.precision import quantise
from installation.capture.source import CaptureError
from installation.capture.stills import is_image_file, read_image
from installation.config.model import Config
from installation.errors import InstallationError
from installation.inference.cpu import CpuEngine
from installation.inference.crop import crop_resize
from installation.inference.engine import Engine
from installation.scene import Faces, Frame
from installation.vision.boxes import iou
from installation.vision.classifier import context_regions
from installation.vision.detector import Detector, tile_regions

log = logging.getLogger(__name__)

# Half of the pictures with a face calibrate, the other half measure; fewer tell nothing.
_FEWEST = 8
# Faces in photographs are found from here on.
_SMALLEST_FACE, _THRESHOLD = 32, 0.5
# Two boxes show one face.
_SAME_FACE = 0.5

Views = list[tuple[Frame, NDArray[np.float32]]]


def calibrate(config: Config, name: str, folder: Path) -> tuple[bytes, str]:
    """Quantise an engine's network.

    Parameters
    ----------
    config
        Says where the engines are and which finds faces.
    name
        The engine.
    folder
        Of pictures with faces, as the camera sees them.

    Returns
    -------
    network, loss
        ONNX, and in words how its answers differ from the original's on pictures it was not
        calibrated with.

    Raises
    ------
    InstallationError
        Too few pictures, or too few with a face.
    PrecisionError
        What converts networks is not installed, or cannot convert this one.
    """
    built = config.inference.engines
    detector = _detector(_open(built / config.inference.detector))
    pictures = [each for each in _read(folder) if len(detector.find(each))]
    if len(pictures) < _FEWEST:
        raise InstallationError(
            f"{folder}: faces were found in {len(pictures)} of its pictures; "
            f"calibrating takes {_FEWEST} or more"
        )
    original = _open(built / name)
    manifest = original.manifest
    teaching, judging = (_views(manifest, detector, pictures[half::2]) for half in (0, 1))
    samples = (_sample(manifest, picture, region) for picture, rows in teaching for region in rows)
    made = quantise(onnx.load(built / name / manifest.onnx), samples).SerializeToString()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "int8.onnx")
        path.write_bytes(made)
        changed = {"onnx": path.name, "sha256": sha256_of(path)}
        reduced = CpuEngine(Path(scratch), manifest.model_copy(update=changed))
    if manifest.task == "detect":
        return made, _faces_lost(_detector(original), _detector(reduced), pictures[1::2])
    return made, _words_lost(original, reduced, judging)


def _read(folder: Path) -> list[Frame]:
    try:
        paths = sorted(path for path in folder.iterdir() if is_image_file(path))
    except OSError as error:
        raise InstallationError(f"{folder}: cannot be read: {error.strerror}") from error
    pictures = []
    for path in paths:
        try:
            pictures.append(Frame.from_image(read_image(path)))
        except CaptureError as error:
            log.warning("%s; skipped", error)
    return pictures


def _open(folder: Path) -> Engine:
    return CpuEngine(folder, load_manifest(folder))


def _detector(engine: Engine) -> Detector:
    return Detector(engine, _SMALLEST_FACE, _THRESHOLD)


def _views(manifest: Manifest, detector: Detector, pictures: list[Frame]) -> Views:
    """Return the regions an engine looks at in pictures."""
    views = []
    for picture in pictures:
        width, height = picture.width, picture.height
        if manifest.task == "detect":
            size = manifest.input.width, manifest.input.height
            regions = tile_regions(width, height, size, _SMALLEST_FACE)
        else:
            regions = context_regions(detector.find(picture).xyxy, width, height)
        views.append((picture, regions))
    return views


def _sample(manifest: Manifest, picture: Frame, region: NDArray[np.float32]) -> NDArray[np.float32]:
    spec = manifest.input
    pixels = crop_resize(picture.bgr, region, spec.width, spec.height).astype(np.float32)
    if spec.colour == "rgb":
        pixels = pixels[..., ::-1]
    pixels = (pixels - np.array(spec.mean, np.float32)) * np.array(spec.scale, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _words_lost(original: Engine, reduced: Engine, views: Views) -> str:
    (output,) = original.manifest.outputs
    same = [
        original.run(*view)[output].argmax(1) == reduced.run(*view)[output].argmax(1)
        for view in views
    ]
    all_same = np.concatenate(same)
    return f"{all_same.mean():.0%} of {all_same.size} faces keep their first word"


def _faces_lost(original: Detector, reduced: Detector, pictures: list[Frame]) -> str:
    found = [(original.find(picture), reduced.find(picture)) for picture in pictures]
    kept = sum(_matched(one, other) for one, other in found)
    added = sum(len(other) - _matched(other, one) for one, other in found)
    there = sum(len(one) for one, _ in found)
    return f"{kept} of {there} faces are still found, {added} more are found that were not"


def _matched(faces: Faces, others: Faces) -> int:
    if not len(faces) or not len(others):
        return 0
    return int((iou(faces.xyxy, others.xyxy).max(1) >= _SAME_FACE).sum())
