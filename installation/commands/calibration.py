"""Quantise an engine to int8 with images from the site, and measure the loss."""

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

# Half of the images with a face calibrate, the other half measure; fewer would be too few for that.
_MIN_IMAGES = 8
# Of the detector.
_MIN_FACE_PX, _THRESHOLD = 32, 0.5
# Two boxes that overlap this much are of the same face.
_SAME_FACE_IOU = 0.5

# Images, each with float32 (N, 4) regions, xyxy.
ImageRegions = list[tuple[Frame, NDArray[np.float32]]]


def calibrate(config: Config, name: str, folder: Path) -> tuple[bytes, str]:
    """Quantise an engine's network to int8.

    Parameters
    ----------
    config
        Where the engines are, and which of them detects faces.
    name
        The engine.
    folder
        Images with faces, as the camera sees them.

    Returns
    -------
    network, loss
        The ONNX file's bytes, and a sentence on how its results differ from the original's, on
        images it was not calibrated with.

    Raises
    ------
    InstallationError
        Too few images with a face.
    PrecisionError
        The converter is not installed, or cannot convert this network.
    """
    built = config.inference.engines
    detector = _detector(_open(built / config.inference.detector))
    images = [each for each in _read_images(folder) if len(detector.find(each))]
    if len(images) < _MIN_IMAGES:
        raise InstallationError(
            f"{folder}: faces were found in {len(images)} images; "
            f"calibration requires at least {_MIN_IMAGES}"
        )
    original = _open(built / name)
    manifest = original.manifest
    calibration, test = (_regions(manifest, detector, images[half::2]) for half in (0, 1))
    samples = (_sample(manifest, image, region) for image, rows in calibration for region in rows)
    network = quantise(onnx.load(built / name / manifest.onnx), samples).SerializeToString()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "int8.onnx")
        path.write_bytes(network)
        changed = {"onnx": path.name, "sha256": sha256_of(path)}
        quantised = CpuEngine(Path(scratch), manifest.model_copy(update=changed))
    if manifest.task == "detect":
        return network, _detection_loss(_detector(original), _detector(quantised), images[1::2])
    return network, _label_loss(original, quantised, test)


def _read_images(folder: Path) -> list[Frame]:
    try:
        paths = sorted(path for path in folder.iterdir() if is_image_file(path))
    except OSError as error:
        raise InstallationError(f"{folder}: cannot be read: {error.strerror}") from error
    images = []
    for path in paths:
        try:
            images.append(Frame.from_image(read_image(path)))
        except CaptureError as error:
            log.warning("%s; skipped", error)
    return images


def _open(folder: Path) -> Engine:
    return CpuEngine(folder, load_manifest(folder))


def _detector(engine: Engine) -> Detector:
    return Detector(engine, _MIN_FACE_PX, _THRESHOLD)


def _regions(manifest: Manifest, detector: Detector, images: list[Frame]) -> ImageRegions:
    """Return images with the regions in which the engine runs."""
    found = []
    for image in images:
        width, height = image.width, image.height
        if manifest.task == "detect":
            size = manifest.input.width, manifest.input.height
            regions = tile_regions(width, height, size, _MIN_FACE_PX)
        else:
            regions = context_regions(detector.find(image).xyxy, width, height)
        found.append((image, regions))
    return found


def _sample(manifest: Manifest, image: Frame, region: NDArray[np.float32]) -> NDArray[np.float32]:
    spec = manifest.input
    pixels = crop_resize(image.bgr, region, spec.width, spec.height).astype(np.float32)
    if spec.colour == "rgb":
        pixels = pixels[..., ::-1]
    pixels = (pixels - np.array(spec.mean, np.float32)) * np.array(spec.scale, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _label_loss(original: Engine, quantised: Engine, test: ImageRegions) -> str:
    (output,) = original.manifest.outputs
    same = np.concatenate(
        [
            original.run(*each)[output].argmax(1) == quantised.run(*each)[output].argmax(1)
            for each in test
        ]
    )
    return f"{same.mean():.0%} of {same.size} faces keep their best label"


def _detection_loss(original: Detector, quantised: Detector, images: list[Frame]) -> str:
    found = [(original.find(image), quantised.find(image)) for image in images]
    kept = sum(_count_matches(before, after) for before, after in found)
    added = sum(len(after) - _count_matches(after, before) for before, after in found)
    total = sum(len(before) for before, _ in found)
    return f"{kept} of {total} faces are still detected, and {added} that were not before"


def _count_matches(faces: Faces, others: Faces) -> int:
    if not len(faces) or not len(others):
        return 0
    return int((iou(faces.xyxy, others.xyxy).max(1) >= _SAME_FACE_IOU).sum())
