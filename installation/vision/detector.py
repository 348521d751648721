"""Frame to Faces: looks at a frame at several scales and decodes what CenterFace answers.

Decoding follows Xu et al. 2019, "CenterFace" (arXiv:1911.03599).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.inference.engine import Engine, ManifestError
from installation.scene import Faces, Frame
from installation.vision.boxes import overlap

# The network is reliable down to faces of about this many pixels of its input.
_SMALLEST_IN_INPUT = 16
# Regions overlap by this many pixels of the input: twice what the coarser scale still sees.
_OVERLAP = 48
# The closest look takes in a frame's longer side in no more than this many inputs side by side:
# beyond 6,400 pixels small faces cost minutes and are seldom what a picture is of.
_MOST_INPUTS = 8
_BATCH = 8
# Two boxes show one face when they share this much of the smaller one.
_SAME_FACE = 0.5


def tile_regions(
    width: int, height: int, input_wh: tuple[int, int], smallest_face: int
) -> NDArray[np.float32]:
    """Lay out the regions of a frame that show every face large enough to the network.

    The first region is the whole frame. Where that shrinks the smallest face too much, a grid of
    overlapping regions at twice the scale follows, and so on. All have the input's aspect ratio.

    Parameters
    ----------
    width, height
        Of the frame, pixels.
    input_wh
        Of the network's input, pixels.
    smallest_face
        Pixels of the frame.

    Returns
    -------
    ndarray
        float32 (N, 4), xyxy in pixels of the frame.

    Examples
    --------
    >>> look(1280, 704, (640, 352), smallest_face=32).tolist()
    [[0.0, 0.0, 1280.0, 704.0]]
    """
    input_w, input_h = input_wh
    whole = min(input_w / width, input_h / height)
    regions = [(0.0, 0.0, input_w / whole, input_h / whole)]
    closest = _MOST_INPUTS * input_w / max(width, height)
    enough = min(_SMALLEST_IN_INPUT / smallest_face, 1.0, max(closest, whole))
    scale = whole
    while scale < enough * 0.95:
        scale = min(scale * 2, max(enough, whole))
        across = _starts(width, input_w / scale, _OVERLAP / scale)
        down = _starts(height, input_h / scale, _OVERLAP / scale)
        regions += [(x, y, x + input_w / scale, y + input_h / scale) for y in down for x in across]
    return np.array(regions, np.float32)


def _starts(length: float, window: float, overlap: float) -> list[float]:
    """Place windows evenly along a length so that neighbours overlap."""
    if window >= length:
        return [0.0]
    count = int(np.ceil((length - overlap) / (window - overlap)))
    return list(np.linspace(0, length - window, count))


class Detector:
    """Finds faces.

    Parameters
    ----------
    engine
        A detecting engine whose decoder is ``centerface``.
    smallest_face
        Faces whose longer side is below this many pixels of the frame are left out.
    threshold
        Faces the network is less sure of are left out, 0 to 1.
    """

    def __init__(self, engine: Engine, smallest_face: int, threshold: float) -> None:
        if engine.manifest.decoder != "centerface":
            raise ManifestError(
                f"a detector is needed, but the engine's decoder is {engine.manifest.decoder!r}; "
                "set inference.detector to a detecting engine"
            )
        self._engine = engine
        self._smallest_face = smallest_face
        self._threshold = threshold

    @property
    def fallback(self) -> bool:
        """Whether it runs on the CPU for now, though something better was asked for."""
        return self._engine.fallback

    def find(self, frame: Frame) -> Faces:
        """Find the faces in a frame.

        Returns
        -------
        Faces
            Surest first, in pixels of the frame and inside it.
        """
        width, height = frame.width, frame.height
        spec = self._engine.manifest.input
        regions = tile_regions(width, height, (spec.width, spec.height), self._smallest_face)
        parts = []
        for start in range(0, len(regions), _BATCH):
            batch = regions[start : start + _BATCH]
            outputs = self._engine.run(frame, batch)
            for index, region in enumerate(batch):
                answer = {name: output[index] for name, output in outputs.items()}
                parts.append(self._decode(answer, region, width, height))
        faces = Faces(
            np.concatenate([part.xyxy for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.landmarks for part in parts]),
        )
        sides = (faces.xyxy[:, 2:] - faces.xyxy[:, :2]).max(1, initial=0)
        return _suppress(faces[sides >= self._smallest_face])

    def _decode(
        self,
        outputs: dict[str, NDArray[np.float32]],
        region: NDArray[np.float32],
        width: int,
        height: int,
    ) -> Faces:
        """Read one region's outputs into frame pixels."""
        heat = outputs["heatmap"][0]
        # A face is a hill in the heatmap; its summit stands for it.
        summits = heat == cv2.dilate(heat, np.ones((3, 3), np.uint8))
        rows, columns = np.nonzero(summits & (heat > self._threshold))
        cells = np.stack([columns, rows], 1).astype(np.float32)
        spec = self._engine.manifest.input
        stride = spec.width / heat.shape[1]
        # The network speaks y before x; [::-1] turns that round.
        offset = outputs["offset"][::-1, rows, columns].T
        size = np.exp(outputs["size"][::-1, rows, columns].T) * stride
        low = (cells + offset + 0.5) * stride - size / 2
        points = outputs["landmarks"][:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1]
        scale = (region[2:] - region[:2]) / np.array([spec.width, spec.height], np.float32)
        xyxy = np.concatenate([low, low + size], 1) * np.tile(scale, 2) + np.tile(region[:2], 2)
        landmarks = (points * size[:, None] + low[:, None]) * scale + region[:2]
        # What an inner edge of the region cuts may look like another, smaller face. It is whole
        # in a neighbour or at a coarser scale: leave to those all that touches the edge, and all
        # whose centre is nearer to it than half the overlap.
        inner = np.concatenate([region[:2] > 1, region[2:] < np.array([width, height]) - 1])
        touching, near = 2 * scale, _OVERLAP / 2 * scale
        centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
        left_out = np.concatenate(
            [
                (xyxy[:, :2] < region[:2] + touching) | (centre < region[:2] + near),
                (xyxy[:, 2:] > region[2:] - touching) | (centre > region[2:] - near),
            ],
            1,
        )
        keep = ~(left_out & inner).any(1)
        limits = np.array([width, height, width, height], np.float32)
        return Faces(
            np.clip(xyxy, 0, limits).astype(np.float32)[keep],
            heat[rows, columns][keep],
            landmarks.astype(np.float32)[keep],
        )


def _suppress(faces: Faces) -> Faces:
    """Keep the surest of those boxes that show the same face, or part of it."""
    order = np.argsort(-faces.scores, kind="stable")
    alike = overlap(faces.xyxy, faces.xyxy)
    keep: list[int] = []
    for index in order:
        if not (alike[index, keep] > _SAME_FACE).any():
            keep.append(index)
    return faces[np.array(keep, np.intp)]
