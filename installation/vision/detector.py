"""Frame to Faces: runs CenterFace on a frame at several scales and decodes its outputs.

Decoding follows Xu et al. 2019, "CenterFace" (arXiv:1911.03599).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.inference.engine import Engine, ManifestError
from installation.scene import Faces, Frame
from installation.vision.boxes import overlap

# The network detects faces down to about this size reliably, in pixels of its input.
_MIN_FACE_INPUT_PX = 16
# Overlap of regions in pixels of the input: twice the size that the next coarser scale detects.
_OVERLAP_INPUT_PX = 48
# At the finest scale the frame's longer side spans at most this many inputs. Searching larger
# images for tiny faces takes minutes, and those faces are seldom the subject.
_MAX_TILES = 8
_BATCH = 8
# Two boxes are the same face if their intersection is this share of the smaller one.
_SAME_FACE_OVERLAP = 0.5


def tile_regions(
    width: int, height: int, input_wh: tuple[int, int], min_face_px: int
) -> NDArray[np.float32]:
    """Return the regions of a frame in which the network detects all faces of a minimum size.

    The first region is the whole frame. If the smallest faces are too small in it, overlapping
    tiles at twice the scale follow, and so on. All regions have the aspect ratio of the input.

    Parameters
    ----------
    width, height
        Size of the frame, pixels.
    input_wh
        Size of the network's input, pixels.
    min_face_px
        Minimum face size, pixels of the frame.

    Returns
    -------
    ndarray
        float32 (N, 4), xyxy in pixels of the frame.

    Examples
    --------
    >>> tile_regions(1280, 704, (640, 352), min_face_px=32).tolist()
    [[0.0, 0.0, 1280.0, 704.0]]
    """
    input_w, input_h = input_wh
    whole = min(input_w / width, input_h / height)
    regions = [(0.0, 0.0, input_w / whole, input_h / whole)]
    finest = _MAX_TILES * input_w / max(width, height)
    needed = min(_MIN_FACE_INPUT_PX / min_face_px, 1.0, max(finest, whole))
    scale = whole
    while scale < needed * 0.95:
        scale = min(scale * 2, max(needed, whole))
        across = _starts(width, input_w / scale, _OVERLAP_INPUT_PX / scale)
        down = _starts(height, input_h / scale, _OVERLAP_INPUT_PX / scale)
        regions += [(x, y, x + input_w / scale, y + input_h / scale) for y in down for x in across]
    return np.array(regions, np.float32)


def _starts(length: float, window: float, overlap: float) -> list[float]:
    """Return evenly spaced starts of windows that cover a length and overlap."""
    if window >= length:
        return [0.0]
    count = int(np.ceil((length - overlap) / (window - overlap)))
    return list(np.linspace(0, length - window, count))


class Detector:
    """Detects faces.

    Parameters
    ----------
    engine
        An engine with the decoder ``centerface``.
    min_face_px
        Minimum length of a face's longer side, pixels of the frame.
    threshold
        Minimum score, 0 to 1.
    """

    def __init__(self, engine: Engine, min_face_px: int, threshold: float) -> None:
        decoder = engine.manifest.decoder
        if decoder != "centerface":
            raise ManifestError(
                f"the detector must be a detecting engine, but its decoder is {decoder!r}; "
                "set inference.detector to another engine"
            )
        self._engine = engine
        self._min_face_px = min_face_px
        self._threshold = threshold

    @property
    def fallback(self) -> bool:
        """See `Engine.fallback`."""
        return self._engine.fallback

    def find(self, frame: Frame) -> Faces:
        """Find the faces in a frame.

        Returns
        -------
        Faces
            In descending order of score; boxes lie inside the frame.
        """
        width, height = frame.width, frame.height
        spec = self._engine.manifest.input
        regions = tile_regions(width, height, (spec.width, spec.height), self._min_face_px)
        parts = []
        for start in range(0, len(regions), _BATCH):
            batch = regions[start : start + _BATCH]
            outputs = self._engine.run(frame, batch)
            for index, region in enumerate(batch):
                region_outputs = {name: output[index] for name, output in outputs.items()}
                parts.append(self._decode(region_outputs, region, width, height))
        faces = Faces(
            np.concatenate([part.xyxy for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.landmarks for part in parts]),
        )
        sides = (faces.xyxy[:, 2:] - faces.xyxy[:, :2]).max(1, initial=0)
        return _suppress(faces[sides >= self._min_face_px])

    def _decode(
        self,
        outputs: dict[str, NDArray[np.float32]],
        region: NDArray[np.float32],
        width: int,
        height: int,
    ) -> Faces:
        """Convert one region's outputs to faces in pixels of the frame."""
        heat = outputs["heatmap"][0]
        # Each local maximum of the heatmap is a face.
        maxima = heat == cv2.dilate(heat, np.ones((3, 3), np.uint8))
        rows, columns = np.nonzero(maxima & (heat > self._threshold))
        cells = np.stack([columns, rows], 1).astype(np.float32)
        spec = self._engine.manifest.input
        stride = spec.width / heat.shape[1]
        # The network's outputs have y before x; [::-1] swaps them.
        offset = outputs["offset"][::-1, rows, columns].T
        size = np.exp(outputs["size"][::-1, rows, columns].T) * stride
        low = (cells + offset + 0.5) * stride - size / 2
        points = outputs["landmarks"][:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1]
        scale = (region[2:] - region[:2]) / np.array([spec.width, spec.height], np.float32)
        xyxy = np.concatenate([low, low + size], 1) * np.tile(scale, 2) + np.tile(region[:2], 2)
        landmarks = (points * size[:, None] + low[:, None]) * scale + region[:2]
        # A face that is cut off by an inner edge of the region may look like another, smaller face.
        # It is complete in a neighbouring region or at a coarser scale; so drop boxes that touch
        # the edge, and boxes whose centre is closer to it than half the overlap.
        inner = np.concatenate([region[:2] > 1, region[2:] < np.array([width, height]) - 1])
        touching, near = 2 * scale, _OVERLAP_INPUT_PX / 2 * scale
        centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
        at_edge = np.concatenate(
            [
                (xyxy[:, :2] < region[:2] + touching) | (centre < region[:2] + near),
                (xyxy[:, 2:] > region[2:] - touching) | (centre > region[2:] - near),
            ],
            1,
        )
        keep = ~(at_edge & inner).any(1)
        limits = np.array([width, height, width, height], np.float32)
        return Faces(
            np.clip(xyxy, 0, limits).astype(np.float32)[keep],
            heat[rows, columns][keep],
            landmarks.astype(np.float32)[keep],
        )


def _suppress(faces: Faces) -> Faces:
    """Keep the face with the highest score among overlapping ones (non-maximum suppression)."""
    order = np.argsort(-faces.scores, kind="stable")
    overlaps = overlap(faces.xyxy, faces.xyxy)
    keep: list[int] = []
    for index in order:
        if not (overlaps[index, keep] > _SAME_FACE_OVERLAP).any():
            keep.append(index)
    return faces[np.array(keep, np.intp)]
