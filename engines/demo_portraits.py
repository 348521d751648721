"""The demonstration's visitors: two public-domain portraits cut out of their backgrounds.

GrabCut (Rother, Kolmogorov, Blake 2004) finds the exact outline; the shapes below only mark where
the person certainly and probably is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

Point = tuple[int, int]

_FADE_PX = 30
# Pinned packages that contain the portraits.
PACKAGES = ("matplotlib", "scikit-image")


@dataclass(frozen=True, slots=True)
class Portrait:
    """A photograph and the person to cut out of it; all coordinates in pixels of the photograph.

    Attributes
    ----------
    name, package, member
        Name in the demonstration, pinned package, path of the file inside it.
    face
        Ground truth, drawn by hand: brow to chin, cheek to cheek; xyxy.
    certain
        Ellipses inside the person: centre and half axes.
    probable
        Polygon around the person.
    """

    name: str
    package: str
    member: str
    face: tuple[int, int, int, int]
    certain: tuple[tuple[Point, Point], ...]
    probable: tuple[Point, ...]


_PORTRAITS = (
    Portrait(
        name="hopper",
        package="matplotlib",
        member="matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        face=(172, 128, 362, 333),
        certain=(
            ((265, 230), (85, 105)),
            ((262, 95), (95, 45)),
            ((265, 480), (150, 110)),
            ((130, 540), (70, 60)),
            ((420, 540), (60, 60)),
        ),
        probable=(
            *((140, 130), (160, 50), (200, 20), (330, 20), (380, 110), (385, 300), (360, 340)),
            *((515, 400), (515, 600), (0, 600), (20, 420), (60, 370), (200, 330), (140, 240)),
        ),
    ),
    Portrait(
        name="collins",
        package="scikit-image",
        member="skimage/data/astronaut.png",
        face=(178, 82, 272, 190),
        certain=(
            ((226, 85), (62, 50)),
            ((224, 130), (38, 55)),
            ((215, 220), (80, 50)),
            ((190, 400), (140, 120)),
            ((390, 440), (95, 80)),
        ),
        probable=(
            *((150, 100), (165, 25), (225, 8), (295, 40), (305, 110), (280, 170), (310, 240)),
            *((360, 290), (370, 350), (420, 335), (500, 390), (511, 511), (20, 511), (15, 420)),
            *((40, 280), (105, 215), (120, 160), (180, 140)),
        ),
    ),
)


def _outline(image: NDArray[np.uint8], portrait: Portrait) -> NDArray[np.uint8]:
    mask = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.fillPoly(mask, [np.array(portrait.probable)], [cv2.GC_PR_FGD])
    for centre, axes in portrait.certain:
        cv2.ellipse(mask, centre, axes, 0, 0, 360, [cv2.GC_FGD], -1)
    cv2.setRNGSeed(1)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    whole_image = (0, 0, 0, 0)
    cv2.grabCut(image, mask, whole_image, background, foreground, 6, cv2.GC_INIT_WITH_MASK)
    likely = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(likely)
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    solid = np.where(labels == largest, 255, 0).astype(np.uint8)
    closed = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, np.ones((9, 9)))
    smooth = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((5, 5)))
    outline = cv2.GaussianBlur(cv2.erode(smooth, np.ones((3, 3))), (0, 0), 1.2)
    # Fade out where the photograph cuts the person off, instead of a hard edge.
    columns = np.arange(outline.shape[1])
    from_edge = np.minimum(columns, columns[::-1])
    return np.asarray(outline * np.clip(from_edge / _FADE_PX, 0, 1), np.uint8)


def build_visitors(folder: Path, read: Callable[[str, str], bytes]) -> None:
    """Write ``NAME.png`` (BGRA) for each portrait, and ``visitors.yaml`` with their faces.

    Parameters
    ----------
    folder
        Output folder.
    read
        Returns the content of a file inside a pinned package: (package name, path).
    """
    faces = {}
    for portrait in _PORTRAITS:
        data = np.frombuffer(read(portrait.package, portrait.member), np.uint8)
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        outline = _outline(image, portrait)
        cv2.imwrite(str(folder / f"{portrait.name}.png"), np.dstack([image, outline]))
        faces[portrait.name] = list(portrait.face)
    (folder / "visitors.yaml").write_text(yaml.safe_dump(faces), encoding="utf-8")
