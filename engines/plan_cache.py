"""A cache of TensorRT plans; a plan is rebuilt when anything that it depends on has changed.

``built/plans/NAME.network`` is an engine's network at the chosen precision,
``built/plans/NAME-sm_86.LIBRARY.plan`` the plan that TensorRT built from it for one kind of GPU.
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

from engines.checksummed_file import CorruptFileError, read_checksummed, write_checksummed
from engines.cuda_device import CudaDevice
from engines.files import TEMPORARY, as_owner
from engines.manifest import Manifest, ManifestError, load_manifest
from engines.precision import Precision, to_fp16
from engines.tensorrt_library import Library
from engines.trt_builder import BatchRange, ProgressCallback, build_plan

log = logging.getLogger(__name__)

# Increment when the same inputs would give another network or plan.
_VERSION = 1
BATCHES = BatchRange()


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan is built for.

    Attributes
    ----------
    library, version
        Name and version of TensorRT.
    compute_capability
        Of the GPU: 86 for ``sm_86``.
    device, driver
        GPU name and driver version of this machine. None for plans for other machines and for
        TensorRT-RTX, whose plans are completed on the machine that runs them.
    """

    library: str
    version: str
    compute_capability: int
    device: str | None
    driver: str | None

    @property
    def label(self) -> str:
        """Name of the GPU if known, else its compute capability."""
        return self.device or f"sm_{self.compute_capability}"

    @classmethod
    def here(cls, library: Library, device: CudaDevice) -> Target:
        """Return the target for this machine."""
        capability = device.compute_capability
        if library.builds_ahead:
            return cls.ahead(library, capability)
        return cls(library.name, library.version, capability, device.name, device.driver)

    @classmethod
    def ahead(cls, library: Library, compute_capability: int) -> Target:
        """Return a target for GPUs of other machines."""
        return cls(library.name, library.version, compute_capability, None, None)


@dataclass(frozen=True, slots=True)
class Network:
    """An engine's network at its chosen precision.

    Attributes
    ----------
    precision
        Precision of its weights and activations.
    onnx
        Serialised ONNX model.
    """

    precision: Precision
    onnx: bytes


@dataclass(frozen=True, slots=True)
class CachedPlan:
    """State of one plan in the cache.

    Attributes
    ----------
    file
        File name.
    description
        Precision and library; empty if unknown.
    error
        Why it cannot be used on the GPU it was built for; empty if it can.
    """

    file: str
    description: str
    error: str


class PlanCache:
    """The plans of one folder of engines.

    Parameters
    ----------
    built
        Folder of the engines.
    strict_writes
        Whether a failed write raises. While the installation runs it only logs a warning: a full
        disk must not stop it.
    """

    def __init__(self, built: Path, strict_writes: bool = False) -> None:
        self._built = built
        self._folder = built / "plans"
        self._strict_writes = strict_writes

    def remove_temporary(self) -> None:
        """Remove leftovers of interrupted writes."""
        with as_owner(self._folder):
            for leftover in self._folder.glob(f"{TEMPORARY}*"):
                leftover.unlink(missing_ok=True)

    def store_network(
        self, name: str, manifest: Manifest, precision: Precision, network: bytes
    ) -> None:
        """Store the network to use until the engine changes; delete plans of other networks."""
        description = {
            "cache_version": _VERSION,
            "original": manifest.sha256,
            "precision": precision,
        }
        write_checksummed(self._network_path(name), description, network)
        digest = hashlib.sha256(network).hexdigest()
        with as_owner(self._folder):
            for path in self._folder.glob(f"{name}-sm_*.plan"):
                with suppress(CorruptFileError, FileNotFoundError):
                    if read_checksummed(path)[0].get("network") != digest:
                        path.unlink()

    def network(self, name: str, manifest: Manifest) -> Network | None:
        """Return an engine's stored network; None if there is none or the engine has changed."""
        try:
            description, content = read_checksummed(self._network_path(name))
        except (FileNotFoundError, CorruptFileError):
            return None
        precision = description.pop("precision", None)
        if description != {"cache_version": _VERSION, "original": manifest.sha256}:
            return None
        if precision not in get_args(Precision):
            return None
        return Network(precision, content)

    def convert(self, name: str, manifest: Manifest, precision: Precision) -> Network:
        """Convert an engine's network to a precision without calibration, and store it.

        Raises
        ------
        PrecisionError
            The package for the conversion is not installed, or it failed.
        """
        original = (self._built / name / manifest.onnx).read_bytes()
        converted = original
        if precision == "fp16":
            converted = to_fp16(onnx.load_from_string(original)).SerializeToString()
        self._try_write(lambda: self.store_network(name, manifest, precision, converted))
        return Network(precision, converted)

    def stale_reason(self, name: str, manifest: Manifest, target: Target) -> str:
        """Return why an engine's plan has to be built; empty if it is up to date."""
        network = self.network(name, manifest)
        if network is None:
            exists = self._network_path(name).exists()
            return "its network changed" if exists else "not built for this machine yet"
        return self._read(name, network, target)[0]

    def plan(
        self,
        name: str,
        library: Library,
        target: Target,
        report: Callable[[str], ProgressCallback],
    ) -> tuple[Network, bytes]:
        """Return an engine's network and plan; build the plan if necessary.

        Parameters
        ----------
        name
            Name of the engine.
        library
            TensorRT that builds the plan.
        target
            What the plan is for.
        report
            Called with the reason before a plan is built; returns the callback for the progress.

        Raises
        ------
        ManifestError
            There is no such engine.
        PrecisionError, PlanError
            The plan cannot be built.
        OSError
            The plan cannot be written, and writes are strict.
        """
        manifest = load_manifest(self._built / name)
        network = self.network(name, manifest) or self.convert(name, manifest, "fp16")
        reason, plan = self._read(name, network, target)
        if not reason:
            return network, plan
        timings_path = self._folder / f"{target.library}-sm_{target.compute_capability}.timings"
        plan, timings = build_plan(
            library,
            network.onnx,
            BATCHES,
            precision=network.precision,
            target_sm=target.compute_capability if library.builds_ahead else None,
            timings=self._timings(timings_path, target),
            progress=report(reason),
        )
        self._try_write(
            lambda: write_checksummed(self._path(name, target), _plan_key(network, target), plan)
        )
        if timings:
            self._try_write(lambda: write_checksummed(timings_path, asdict(target), timings))
        return network, plan

    def discard(self, name: str, target: Target) -> None:
        """Delete an engine's plan, so that it is rebuilt next time."""
        with suppress(OSError), as_owner(self._folder):
            self._path(name, target).unlink()

    def survey(self) -> list[CachedPlan]:
        """Return the state of every plan in the cache."""
        return [self._survey(path) for path in sorted(self._folder.glob("*.plan"))]

    def _survey(self, path: Path) -> CachedPlan:
        try:
            description, _ = read_checksummed(path)
            target = Target(**{field.name: description[field.name] for field in fields(Target)})
        except FileNotFoundError:
            return CachedPlan(path.name, "", "missing")
        except CorruptFileError as error:
            return CachedPlan(path.name, "", str(error))
        except KeyError:
            return CachedPlan(path.name, "", "built by another version of this program")
        summary = f"{description.get('precision')}, {target.library} {target.version}"
        name = path.name.rpartition("-sm_")[0]
        try:
            network = self.network(name, load_manifest(self._built / name))
        except ManifestError as error:
            return CachedPlan(path.name, summary, str(error))
        if network is None:
            return CachedPlan(path.name, summary, "its network changed")
        return CachedPlan(path.name, summary, _difference(description, _plan_key(network, target)))

    def _read(self, name: str, network: Network, target: Target) -> tuple[str, bytes]:
        """Return why a plan is unusable (empty if it is usable), and the plan."""
        try:
            description, plan = read_checksummed(self._path(name, target))
        except FileNotFoundError:
            return f"not built for sm_{target.compute_capability} yet", b""
        except CorruptFileError as error:
            return str(error), b""
        return _difference(description, _plan_key(network, target)), plan

    def _timings(self, path: Path, target: Target) -> bytes:
        try:
            description, timings = read_checksummed(path)
        except (FileNotFoundError, CorruptFileError):
            return b""
        return timings if description == asdict(target) else b""

    def _network_path(self, name: str) -> Path:
        return self._folder / f"{name}.network"

    def _path(self, name: str, target: Target) -> Path:
        return self._folder / f"{name}-sm_{target.compute_capability}.{target.library}.plan"

    def _try_write(self, write: Callable[[], None]) -> None:
        """Write to the cache; unless writes are strict, a failure is only logged."""
        try:
            write()
        except OSError as error:
            if self._strict_writes:
                raise
            log.warning(
                "%s: cannot be written (%s); the plan will be rebuilt at the next start",
                self._folder,
                error,
            )


def _plan_key(network: Network, target: Target) -> dict[str, Any]:
    """Return everything a plan depends on."""
    return {
        "cache_version": _VERSION,
        "network": hashlib.sha256(network.onnx).hexdigest(),
        "precision": network.precision,
        "batches": asdict(BATCHES),
        **asdict(target),
    }


# Messages for differences; other keys mean nothing to a technician.
_MESSAGES = {
    "network": "its network changed",
    "precision": "built for {was}, now {now}",
    "library": "built by {was}, now {now}",
    "version": "built by version {was} of TensorRT, now {now}",
    "compute_capability": "built for sm_{was}, this GPU is sm_{now}",
    "device": "built for {was}, this GPU is {now}",
    "driver": "built with driver {was}, now {now}",
}


def _difference(was: dict[str, Any], now: dict[str, Any]) -> str:
    """Describe how two plan keys differ; empty if they are equal."""
    for key, message in _MESSAGES.items():
        if was.get(key) != now[key]:
            return message.format(was=was.get(key), now=now[key])
    return "" if was == now else "built by another version of this program"
