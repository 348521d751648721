"""The picture, in every layout, as it comes out of a window in memory; see `test_picture.py`."""

import cv2
import numpy as np
import pytest

from installation.config.model import Display, Theme
from installation.display.window import Window
from installation.scene import Frame

WIDTH, HEIGHT = 320, 240


@pytest.fixture
def open_window():
    windows = []

    def open_(width=WIDTH, height=HEIGHT, **settings):
        display = Display(fullscreen=False, width=width, height=height, **settings)
        windows.append(Window(display, Theme(), headless=True))
        return windows[-1]

    yield open_
    for window in windows:
        window.close()


def shown(window, pixels):
    window.show(Frame(0, 0.0, pixels), None)
    return window.snapshot()


def smooth_colours(width=WIDTH, height=HEIGHT, seed=0):
    """U and V over all they can be, in steps too small for filtering them to matter; noisy Y."""
    across, down = np.meshgrid(np.linspace(16, 240, width // 2), np.linspace(16, 240, height // 2))
    chroma = np.dstack([across, down]).round().astype(np.uint8)
    luma = np.random.default_rng(seed).integers(16, 236, (height, width), dtype=np.uint8)
    return luma, chroma


def as_nv12(luma, chroma):
    return np.vstack([luma, chroma.reshape(len(chroma), -1)])


def as_yuyv(luma, chroma):
    return np.dstack([luma, np.repeat(chroma, 2, axis=0).reshape(luma.shape)])


def as_bgr(luma, chroma):
    return cv2.cvtColor(as_nv12(luma, chroma), cv2.COLOR_YUV2BGR_NV12)


LAYOUTS = [
    pytest.param(as_bgr, None, id="BGR"),
    pytest.param(as_yuyv, cv2.COLOR_YUV2BGR_YUYV, id="YUYV"),
    pytest.param(as_nv12, cv2.COLOR_YUV2BGR_NV12, id="NV12"),
]


@pytest.mark.parametrize(("pack", "code"), LAYOUTS)
@pytest.mark.parametrize("mirror", [False, True])
def test_every_layout_has_the_colours_that_opencv_gives_it(open_window, pack, code, mirror):
    pixels = pack(*smooth_colours())
    expected = (pixels if code is None else cv2.cvtColor(pixels, code)).astype(int)
    if mirror:
        expected = expected[:, ::-1]
    got = shown(open_window(mirror=mirror), pixels)
    assert np.abs(got - expected).max() <= 3


@pytest.mark.parametrize("pack", [as_yuyv, as_nv12])
def test_an_enlarged_raw_frame_is_as_smooth_as_a_converted_one(open_window, pack):
    luma, chroma = smooth_colours()
    # In gamut, because what is cut off at black and white is cut off before or after smoothing.
    luma, chroma = luma // 4 + 96, chroma // 4 + 96
    frame = Frame(0, 0.0, pack(luma, chroma))
    window = open_window(width=800, height=600)
    raw = shown(window, frame.pixels).astype(int)
    assert np.abs(raw - shown(window, frame.bgr)).max() <= 3


BANDS = np.repeat(np.arange(12, dtype=np.uint8) * 20 + 10, 20)


@pytest.mark.parametrize(
    ("fit", "column", "rows"),
    [
        # Twice as wide as high: cover cuts off above and below, contain leaves bars beside.
        ("cover", 5, np.repeat(BANDS[60:180], 2)),
        ("contain", 5, np.zeros(240)),
        ("contain", 320, BANDS),
    ],
)
def test_fit_crops_or_leaves_bars(open_window, fit, column, rows):
    picture = np.tile(BANDS[:, None, None], (1, WIDTH, 3))
    seen = shown(open_window(width=640, height=240, fit=fit), picture)[:, column]
    # The middles of the bands: their borders are smoothed.
    middles = slice(10, None, 20) if fit == "contain" else slice(20, None, 40)
    assert np.abs(seen[middles, 0].astype(int) - rows[middles]).max() <= 1


def test_size_and_layout_may_change_while_it_runs(open_window):
    window = open_window(mirror=False)
    for width, height, pack in (
        (320, 240, as_bgr),
        (640, 480, as_yuyv),
        (160, 120, as_nv12),
        (320, 240, as_yuyv),
        (320, 240, as_nv12),
        (640, 480, as_bgr),
    ):
        luma, chroma = smooth_colours(width, height, seed=width)
        luma[:] = 128
        pixels = pack(luma, chroma)
        expected = cv2.resize(Frame(0, 0.0, pixels).bgr, (WIDTH, HEIGHT)).astype(int)
        # A corner of the last picture left over would be far off.
        assert np.abs(shown(window, pixels) - expected).max() <= 6


def living_textures():
    from pyglet import gl

    return sum(bool(gl.glIsTexture(name)) for name in range(1, 2000))


def test_no_texture_is_left_behind_when_sizes_change(open_window):
    window = open_window()
    alive = []
    for turn in range(40):
        for pack in (as_bgr, as_yuyv, as_nv12):
            window.show(Frame(turn, 0.0, pack(*smooth_colours(160 + 2 * turn, 120))), None)
            alive.append(living_textures())
    assert alive[0] > 0
    assert alive == alive[:3] * 40
    # NV12 takes a texture for each plane.
    assert alive[2] == alive[0] + 1


def test_an_outdated_frame_fades(open_window):
    luma, chroma = smooth_colours()
    pixels = as_bgr(luma, chroma)
    window = open_window(mirror=False)
    for gone in (0.0, 0.4, 1.0):
        window.fade(Frame(0, 0.0, pixels), gone)
        assert np.abs(window.snapshot().astype(int) - (1 - gone) * pixels).max() <= 3


def test_another_theme_is_put_on_while_it_runs(open_window):
    window = open_window(mirror=False)
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:, : WIDTH // 2] = 255
    assert shown(window, pixels)[0, 0].tolist() == [255, 255, 255]
    window.show_slate("closed")
    assert window.snapshot()[..., 1].max() == 255 and window.snapshot()[..., 2].max() < 128
    theme = Theme(colour="#ff0000")
    window.apply_config(
        Display(fullscreen=False, width=WIDTH, height=HEIGHT, mirror=True), theme, ()
    )
    assert shown(window, pixels)[0, 0].tolist() == [0, 0, 0]
    window.show_slate("closed")
    assert window.snapshot()[..., 2].max() == 255 and window.snapshot()[..., 1].max() < 128
