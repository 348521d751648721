"""Hooks for schemathesis: which bytes are an image, as no schema can say."""

import cv2
import numpy as np
import schemathesis
from hypothesis import strategies as st

from tests.web.upload.serving import encoded

_GREY = np.full((40, 30, 3), 128, np.uint8)
_UPRIGHT, _TURNED = _GREY, cv2.rotate(_GREY, cv2.ROTATE_90_CLOCKWISE)

for _kind, _suffix in (("jpeg", ".jpg"), ("png", ".png"), ("webp", ".webp")):
    _images = [encoded(_UPRIGHT, _suffix), encoded(_TURNED, _suffix)]
    schemathesis.openapi.media_type(f"image/{_kind}", st.sampled_from(_images))
