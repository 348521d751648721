"""Bring a network to int8 with a technician's own pictures, and measure what that costs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.fetch import sha256_of
from engines.manifest import Manifest, load_manifest
from engines.precision import quantise
from installation.capture.stills import is_picture, read_picture
from installation.config import Config
from installation.errors import InstallationError
from installation.inference.cpu import CpuEngine
from installation.inference.engine import Engine
from installation.inference.regions import cut
from installation.scene import Faces
from installation.vision.boxes import iou, squares
from installation.vision.classifier import CONTEXT
from installation.vision.detector import Detector, look

# Half of the pictures calibrate, the other half measure; fewer tell nothing.
_FEWEST = 8
# Faces in photographs are found from here on.
_SMALLEST_FACE, _THRESHOLD = 32, 0.5
# Two boxes show one face.
_SAME_FACE = 0.5

Picture = NDArray[np.uint8]
Views = list[tuple[Picture, NDArray[np.float32]]]


def calibrate(config: Config, name: str, manifest: Manifest, folder: Path) -> tuple[bytes, str]:
    """Quantise an engine's network.

    Parameters
    ----------
    config
        Says where the engines are and which finds faces.
    name, manifest
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
        Too few pictures, or none with a face.
    PrecisionError
        What converts networks is not installed.
    """
    pictures = _read(folder)
    built = config.inference.engines
    detector = _detector(_open(built / config.inference.detector))
    original = _open(built / name)
    views = _views(manifest, detector, pictures[::2])
    if not views:
        raise InstallationError(f"{folder}: no face was found in its pictures")
    samples = [_sample(manifest, picture, region) for picture, rows in views for region in rows]
    made = quantise(onnx.load(built / name / manifest.onnx), samples).SerializeToString()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "int8.onnx")
        path.write_bytes(made)
        reduced = CpuEngine(
            Path(scratch),
            manifest.model_copy(update={"onnx": path.name, "sha256": sha256_of(path)}),
        )
        if manifest.task == "detect":
            loss = _faces_lost(_detector(original), _detector(reduced), pictures[1::2])
        else:
            loss = _words_lost(original, reduced, _views(manifest, detector, pictures[1::2]))
    return made, loss


def _read(folder: Path) -> list[Picture]:
    try:
        paths = sorted(path for path in folder.iterdir() if is_picture(path))
    except OSError as error:
        raise InstallationError(f"{folder}: cannot be read: {error.strerror}") from error
    if len(paths) < _FEWEST:
        raise InstallationError(
            f"{folder}: {len(paths)} pictures; calibrating takes {_FEWEST} or more"
        )
    return [read_picture(path) for path in paths]


def _open(folder: Path) -> Engine:
    return CpuEngine(folder, load_manifest(folder))


def _detector(engine: Engine) -> Detector:
    return Detector(engine, _SMALLEST_FACE, _THRESHOLD)


def _views(manifest: Manifest, detector: Detector, pictures: list[Picture]) -> Views:
    """Return the regions an engine looks at in pictures; those where it has none are left out."""
    views = []
    for picture in pictures:
        if manifest.task == "detect":
            height, width = picture.shape[:2]
            size = manifest.input.width, manifest.input.height
            regions = look(width, height, size, _SMALLEST_FACE)
        else:
            regions = squares(detector.find(picture).xyxy, CONTEXT)
        if len(regions):
            views.append((picture, regions))
    return views


def _sample(
    manifest: Manifest, picture: Picture, region: NDArray[np.float32]
) -> NDArray[np.float32]:
    spec = manifest.input
    pixels = cut(picture, region, spec.width, spec.height).astype(np.float32)
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
    if not same:
        return "no face was found to measure it with"
    all_same = np.concatenate(same)
    return f"{all_same.mean():.0%} of {all_same.size} faces keep their first word"


def _faces_lost(original: Detector, reduced: Detector, pictures: list[Picture]) -> str:
    found = [(original.find(picture), reduced.find(picture)) for picture in pictures]
    kept = sum(_matched(one, other) for one, other in found)
    added = sum(len(other) - _matched(other, one) for one, other in found)
    there = sum(len(one) for one, _ in found)
    return f"{kept} of {there} faces are still found, {added} more are found that were not"


def _matched(faces: Faces, others: Faces) -> int:
    if not len(faces) or not len(others):
        return 0
    return int((iou(faces.xyxy, others.xyxy).max(1) >= _SAME_FACE).sum())
