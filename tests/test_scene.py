import numpy as np
import pytest

from installation.scene import Frame

# Full red and full blue in BT.601's limited range: Y, U, V.
RED, BLUE = (82, 90, 240), (41, 240, 110)


def yuyv(*colours):
    """Two rows; a pair of columns for each colour."""
    return np.array([[(y, c) for y, u, v in colours for c in (u, v)]] * 2, np.uint8)


def nv12(*colours):
    luma = [[y for y, _, _ in colours for _ in range(2)]] * 2
    chroma = [[part for _, u, v in colours for part in (u, v)]]
    return np.array([*luma, *chroma], np.uint8)


@pytest.mark.parametrize(("pack", "layout"), [(yuyv, "YUYV"), (nv12, "NV12")])
def test_the_shape_determines_the_layout_and_colours_are_converted(pack, layout):
    frame = Frame(0, 0.0, pack(RED, BLUE, RED))
    assert (frame.layout, frame.width, frame.height) == (layout, 6, 2)
    red, blue = [0, 0, 255], [255, 0, 0]
    row = np.array([red, red, blue, blue, red, red])
    assert frame.bgr.shape == (2, 6, 3)
    assert np.abs(frame.bgr.astype(int) - row).max() <= 3


def test_a_raw_frame_is_converted_once_and_a_bgr_frame_never():
    frame = Frame(0, 0.0, yuyv(RED))
    assert frame.bgr is frame.bgr
    decoded = Frame(0, 0.0, np.zeros((4, 6, 3), np.uint8))
    assert (decoded.layout, decoded.width, decoded.height) == ("BGR", 6, 4)
    assert decoded.bgr is decoded.pixels
