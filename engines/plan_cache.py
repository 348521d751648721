"""Plans kept beside the engines, each with what it was made for; refused and made anew otherwise.

``built/plans/NAME.network`` is an engine's network at the precision chosen for it,
``built/plans/NAME-sm_86.LIBRARY.plan`` what TensorRT made of that for one kind of card.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import onnx

from engines.checksummed_file import CorruptFileError, read_sealed, write_sealed
from engines.cuda_device import CudaDevice
from engines.files import MAKING, as_owner
from engines.manifest import Manifest, ManifestError, load_manifest
from engines.precision import Precision, to_fp16
from engines.tensorrt_library import Library
from engines.trt_builder import BatchRange, ProgressCallback, build_plan

log = logging.getLogger(__name__)

# Raised whenever the same inputs would give another network or plan.
_MAKER = 1
BATCHES = BatchRange()


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan is made for.

    Attributes
    ----------
    library, version
        Name and version of TensorRT.
    compute_capability
        Of the card.
    card, driver
        Of this machine; None for a plan made ahead, and for TensorRT-RTX, whose plans are finished
        on the machine they run on.
    """

    library: str
    version: str
    compute_capability: int
    card: str | None
    driver: str | None

    @property
    def who(self) -> str:
        """The card, by its name where that is known."""
        return self.card or f"sm_{self.compute_capability}"

    @classmethod
    def here(cls, library: Library, card: CudaDevice) -> Target:
        """Return the target that is this machine."""
        if library.builds_ahead:
            return cls.ahead(library, card.compute_capability)
        return cls(library.name, library.version, card.compute_capability, card.name, card.driver)

    @classmethod
    def ahead(cls, library: Library, compute_capability: int) -> Target:
        """Return a card that is not here."""
        return cls(library.name, library.version, compute_capability, None, None)


@dataclass(frozen=True, slots=True)
class Network:
    """An engine's network at the precision chosen for it.

    Attributes
    ----------
    precision
        One of `Precision`.
    onnx
        The file's bytes.
    """

    precision: Precision
    onnx: bytes


@dataclass(frozen=True, slots=True)
class CachedPlan:
    """A plan that is kept.

    Attributes
    ----------
    file
        Its name.
    about
        Precision and library; empty if that cannot be told.
    wrong
        Why it cannot be used, on the card it was made for; empty when it can.
    """

    file: str
    about: str
    wrong: str


class PlanCache:
    """The plans of one folder of engines.

    Parameters
    ----------
    built
        Where the engines live.
    must_keep
        Whether what cannot be written is an error. On the wall it is not: a full disk must not
        darken it.
    """

    def __init__(self, built: Path, must_keep: bool = False) -> None:
        self._built = built
        self._folder = built / "plans"
        self._must_keep = must_keep

    def sweep(self) -> None:
        """Remove what was begun by somebody who was interrupted."""
        with as_owner(self._folder):
            for left_over in self._folder.glob(f"{MAKING}*"):
                left_over.unlink(missing_ok=True)

    def store_network(
        self, name: str, manifest: Manifest, precision: Precision, network: bytes
    ) -> None:
        """Choose a network for an engine, until its original changes; plans of others go."""
        description = {"maker": _MAKER, "original": manifest.sha256, "precision": precision}
        write_sealed(self._network_path(name), description, network)
        chosen = hashlib.sha256(network).hexdigest()
        with as_owner(self._folder):
            for path in self._folder.glob(f"{name}-sm_*.plan"):
                with suppress(CorruptFileError, FileNotFoundError):
                    if read_sealed(path)[0].get("network") != chosen:
                        path.unlink()

    def network(self, name: str, manifest: Manifest) -> Network | None:
        """Return the network chosen for an engine; None if there is none, or no longer."""
        try:
            description, content = read_sealed(self._network_path(name))
        except (FileNotFoundError, CorruptFileError):
            return None
        precision = description.pop("precision", None)
        if description != {"maker": _MAKER, "original": manifest.sha256}:
            return None
        if precision not in get_args(Precision):
            return None
        return Network(precision, content)

    def choose(self, name: str, manifest: Manifest, precision: Precision) -> Network:
        """Make and keep an engine's network at a precision that needs no calibration.

        Raises
        ------
        PrecisionError
            What converts it is not installed.
        """
        original = (self._built / name / manifest.onnx).read_bytes()
        made = original
        if precision == "fp16":
            made = to_fp16(onnx.load_from_string(original)).SerializeToString()
        self._attempt(lambda: self.store_network(name, manifest, precision, made))
        return Network(precision, made)

    def standing(self, name: str, manifest: Manifest, target: Target) -> str:
        """Tell why an engine's plan would be built; empty if it need not be."""
        network = self.network(name, manifest)
        if network is None:
            there = self._network_path(name).exists()
            return "its network changed" if there else "not built for this machine yet"
        return self._read(name, network, target)[0]

    def plan(
        self,
        name: str,
        library: Library,
        target: Target,
        report: Callable[[str], ProgressCallback],
    ) -> tuple[Network, bytes]:
        """Return an engine's plan, built now if need be.

        Parameters
        ----------
        name
            The engine.
        library
            Builds it.
        target
            What for.
        report
            Called with the reason when something has to be built; what it returns follows the
            progress.

        Raises
        ------
        ManifestError
            There is no such engine.
        PrecisionError, PlanError
            It cannot be built.
        OSError
            It cannot be kept, and must be.
        """
        manifest = load_manifest(self._built / name)
        network = self.network(name, manifest) or self.choose(name, manifest, "fp16")
        wrong, plan = self._read(name, network, target)
        if not wrong:
            return network, plan
        timings_path = self._folder / f"{target.library}-sm_{target.compute_capability}.timings"
        plan, timings = build_plan(
            library,
            network.onnx,
            BATCHES,
            precision=network.precision,
            ahead_for=target.compute_capability if library.builds_ahead else None,
            timings=self._timings(timings_path, target),
            report=report(wrong),
        )
        self._attempt(
            lambda: write_sealed(self._path(name, target), _plan_key(network, target), plan)
        )
        if timings:
            self._attempt(lambda: write_sealed(timings_path, asdict(target), timings))
        return network, plan

    def discard(self, name: str, target: Target) -> None:
        """Forget an engine's plan, so that it is built again next time."""
        with suppress(OSError), as_owner(self._folder):
            self._path(name, target).unlink()

    def survey(self) -> list[CachedPlan]:
        """Look at every plan that is kept, for whatever card."""
        return [self._survey(path) for path in sorted(self._folder.glob("*.plan"))]

    def _survey(self, path: Path) -> CachedPlan:
        try:
            description, _ = read_sealed(path)
            target = Target(**{field.name: description[field.name] for field in fields(Target)})
        except FileNotFoundError:
            return CachedPlan(path.name, "", "gone")
        except CorruptFileError as error:
            return CachedPlan(path.name, "", str(error))
        except KeyError:
            return CachedPlan(path.name, "", "built by another version of this program")
        about = f"{description.get('precision')}, {target.library} {target.version}"
        name = path.name.rpartition("-sm_")[0]
        try:
            network = self.network(name, load_manifest(self._built / name))
        except ManifestError as error:
            return CachedPlan(path.name, about, str(error))
        if network is None:
            return CachedPlan(path.name, about, "its network changed")
        return CachedPlan(path.name, about, _difference(description, _plan_key(network, target)))

    def _read(self, name: str, network: Network, target: Target) -> tuple[str, bytes]:
        """Return what is wrong with a plan, and the plan if nothing is."""
        try:
            description, plan = read_sealed(self._path(name, target))
        except FileNotFoundError:
            return f"not built for sm_{target.compute_capability} yet", b""
        except CorruptFileError as error:
            return str(error), b""
        return _difference(description, _plan_key(network, target)), plan

    def _timings(self, path: Path, target: Target) -> bytes:
        try:
            description, timings = read_sealed(path)
        except (FileNotFoundError, CorruptFileError):
            return b""
        return timings if description == asdict(target) else b""

    def _network_path(self, name: str) -> Path:
        return self._folder / f"{name}.network"

    def _path(self, name: str, target: Target) -> Path:
        return self._folder / f"{name}-sm_{target.compute_capability}.{target.library}.plan"

    def _attempt(self, write: Callable[[], None]) -> None:
        """Keep something if it can be kept."""
        try:
            write()
        except OSError as error:
            if self._must_keep:
                raise
            log.warning("%s: not kept (%s); it is built again next time", self._folder, error)


def _plan_key(network: Network, target: Target) -> dict[str, Any]:
    """Describe a plan: all that decides whether it fits."""
    return {
        "maker": _MAKER,
        "network": hashlib.sha256(network.onnx).hexdigest(),
        "precision": network.precision,
        "batches": asdict(BATCHES),
        **asdict(target),
    }


# How a difference is told; what is not listed here tells nobody anything.
_WORDS = {
    "network": "its network changed",
    "precision": "built for {was}, now {now}",
    "library": "built by {was}, now {now}",
    "version": "built by version {was} of TensorRT, now {now}",
    "compute_capability": "built for sm_{was}, this card is sm_{now}",
    "card": "built for {was}, this card is {now}",
    "driver": "built with driver {was}, now {now}",
}


def _difference(was: dict[str, Any], now: dict[str, Any]) -> str:
    """Say what differs between two descriptions; empty if nothing does."""
    for key, words in _WORDS.items():
        if was.get(key) != now[key]:
            return words.format(was=was.get(key), now=now[key])
    return "" if was == now else "built by another version of this program"
