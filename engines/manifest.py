"""``engine.yaml``: what an engine does, its input and outputs, and the origin of its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.advice import build_engines
from engines.errors import EngineError
from engines.fetch import sha256_of

MANIFEST = "engine.yaml"


class ManifestError(EngineError):
    """An engine's folder has no manifest, or does not match it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineInput(_Strict):
    """How a region of a frame becomes the network's input.

    Attributes
    ----------
    width, height
        Pixels.
    colour
        Order of the planes, ``rgb`` or ``bgr``.
    mean, scale
        For each plane: input = (value 0..255 - mean) * scale.
    """

    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    colour: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]


class Manifest(_Strict):
    """Description of one engine.

    Attributes
    ----------
    task
        ``detect`` for face detectors, ``classify`` for classifiers.
    onnx
        File name of the network, in the manifest's folder.
    sha256
        SHA-256 of that file.
    input
        The input tensor ``input``, float32 (N, 3, height, width).
    outputs
        Names of the outputs, each with leading dimension N.
    decoder
        How to interpret the outputs: ``centerface``, or ``log-probabilities`` over ``labels``.
    labels
        For classifiers: a text file in the same folder with one wnid per line, in output order.
    licence, source
        Licence and origin of the weights.
    """

    task: Literal["detect", "classify"]
    onnx: str
    sha256: str
    input: EngineInput
    outputs: tuple[str, ...]
    decoder: Literal["centerface", "log-probabilities"]
    labels: str | None = None
    licence: str
    source: str

    @model_validator(mode="after")
    def _check_labels(self) -> Manifest:
        if self.task == "classify" and self.labels is None:
            raise ValueError("a classifier needs labels")
        return self

    def save(self, folder: Path) -> None:
        """Write ``engine.yaml`` into a folder."""
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        (folder / MANIFEST).write_text(text, encoding="utf-8")


def load_manifest(folder: Path) -> Manifest:
    """Read an engine's manifest and verify the ONNX file's hash.

    Raises
    ------
    ManifestError
        The manifest is missing or invalid, or the ONNX file is missing or altered.
    """
    path = folder / MANIFEST
    remedy = f"run `{build_engines()}`, or copy the folder again if it is an engine of your own"
    try:
        manifest = Manifest.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ManifestError(f"{folder}: no engine here; {remedy}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ManifestError(f"{path}: cannot be read ({reason}); {remedy}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "file"
        raise ManifestError(f"{path}: {where}: {first['msg']}; {remedy}") from error
    network = folder / manifest.onnx
    for name in filter(None, (manifest.onnx, manifest.labels)):
        if not (folder / name).is_file():
            raise ManifestError(f"{folder / name}: missing; {remedy}")
    try:
        intact = sha256_of(network) == manifest.sha256
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        raise ManifestError(f"{network}: {reason}; {remedy}") from error
    if not intact:
        raise ManifestError(
            f"{network}: not the file that the manifest describes (its hash differs); {remedy}"
        )
    return manifest
