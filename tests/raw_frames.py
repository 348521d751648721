"""Frames as cameras send them, made from an image: YUYV and NV12, BT.601 in the limited range."""

import cv2
import numpy as np

from installation.scene import Frame


def raw_frames(image):
    """Return the image, BGR with even sides, as a YUYV frame and as an NV12 frame."""
    height, width = image.shape[:2]
    planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
    luma = planes[:height]
    # U and V of each block of two by two pixels.
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    nv12 = np.concatenate([luma, np.stack([*chroma], -1).reshape(height // 2, width)])
    pairs = np.stack([*chroma.repeat(2, axis=1)], -1).reshape(height, width)
    return Frame(0, 0.0, np.stack([luma, pairs], -1)), Frame(0, 0.0, nv12)
