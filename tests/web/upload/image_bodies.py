"""Hooks for schemathesis: which bytes are an image, as no schema can say."""

import io
from functools import partial

import cv2
import numpy as np
import pillow_heif
import schemathesis
from hypothesis import strategies as st
from PIL import Image

from tests.web.upload.serving import encoded

_GREY = np.full((40, 30, 3), 128, np.uint8)
_UPRIGHT, _TURNED = _GREY, cv2.rotate(_GREY, cv2.ROTATE_90_CLOCKWISE)


def _heic(image):
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(image)).save(file)
    return file.getvalue()


for _kind, _encode in (
    ("jpeg", partial(encoded, suffix=".jpg")),
    ("png", partial(encoded, suffix=".png")),
    ("webp", partial(encoded, suffix=".webp")),
    ("heic", _heic),
):
    _images = [_encode(_UPRIGHT), _encode(_TURNED)]
    schemathesis.openapi.media_type(f"image/{_kind}", st.sampled_from(_images))
