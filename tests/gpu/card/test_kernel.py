"""The kernel against the same in float64."""

import cv2
import numpy as np
import pytest

from engines.manifest import EngineInput, Manifest
from installation.scene import Frame

FORMATS = ("BGR", "YUYV", "NV12")


def manifest(width, height, colour="rgb", mean=(127, 116, 103), scale=(1 / 128, 1 / 64, 0.01)):
    return Manifest(
        task="detect",
        onnx="none",
        sha256="0" * 64,
        input=EngineInput(width=width, height=height, colour=colour, mean=mean, scale=scale),
        outputs=("none",),
        decoder="centerface",
        licence="none",
        source="none",
    )


def picture(form, width, height, rng):
    """Make noise in a format: the bytes, and the same as BGR in float64."""
    if form == "BGR":
        stored = rng.integers(0, 256, (height, width, 3), np.uint8)
        return stored, stored.astype(np.float64)
    if form == "YUYV":
        stored = rng.integers(0, 256, (height, width, 2), np.uint8)
        luma = stored[..., 0].astype(np.float64)
        u = np.repeat(stored[:, 0::2, 1], 2, 1)
        v = np.repeat(stored[:, 1::2, 1], 2, 1)
    else:
        stored = rng.integers(0, 256, (height * 3 // 2, width), np.uint8)
        luma = stored[:height].astype(np.float64)
        chroma = stored[height:].repeat(2, 0).reshape(height, width // 2, 2).repeat(2, 1)
        u, v = chroma[..., 0], chroma[..., 1]
    grey, u, v = (luma - 16) * 255 / 219, (u - 128.0) * 255 / 224, (v - 128.0) * 255 / 224
    blue, red = grey + 1.772 * u, grey + 1.402 * v
    green = grey - 0.344136 * u - 0.714136 * v
    return stored, np.rint(np.stack([blue, green, red], -1).clip(0, 255))


def level(length, target):
    found = 0
    while length > 2 * target * 2**found:
        found += 1
    return found


def up(values):
    return np.floor(values + 0.5)


def reference(pixels, region, spec, whole_levels=True):
    """Cut one region, float64: cells averaged, then bilinear, then as the network wants it."""
    rows, columns = pixels.shape[:2]
    x0, y0, x1, y1 = (float(side) for side in region)
    planes = np.zeros((spec.height, spec.width, 3))
    if x1 > x0 and y1 > y0:
        wide, high = 1 << level(x1 - x0, spec.width), 1 << level(y1 - y0, spec.height)
        ragged = ((0, -rows % high), (0, -columns % wide), (0, 0))
        whole = np.pad(pixels, ragged, mode="edge")
        cells = whole.reshape(whole.shape[0] // high, high, -1, wide, 3).mean((1, 3))
        if whole_levels and (wide, high) != (1, 1):
            cells = up(cells) if (wide, high) == (2, 2) else np.rint(cells)
        x = (x0 + (np.arange(spec.width) + 0.5) * (x1 - x0) / spec.width) / wide - 0.5
        y = (y0 + (np.arange(spec.height) + 0.5) * (y1 - y0) / spec.height) / high - 0.5
        for dx in (0, 1):
            for dy in (0, 1):
                column, row = np.floor(x).astype(int) + dx, np.floor(y).astype(int) + dy
                inside = np.outer(
                    (row >= 0) & (row < cells.shape[0]), (column >= 0) & (column < cells.shape[1])
                )
                taken = cells[
                    row.clip(0, cells.shape[0] - 1)[:, None], column.clip(0, cells.shape[1] - 1)
                ]
                share = np.outer(1 - abs(y - row), 1 - abs(x - column)) * inside
                planes += share[..., None] * taken
    if whole_levels:
        planes = np.rint(planes)
    if spec.colour == "rgb":
        planes = planes[..., ::-1]
    return ((planes - np.array(spec.mean)) * np.array(spec.scale)).transpose(2, 0, 1)


def regions_over(width, height, rng, count):
    """Return regions of all sizes, in the frame, across its edges and beyond."""
    corners = rng.uniform([-0.6 * width, -0.6 * height], [1.2 * width, 1.2 * height], (count, 2))
    sides = rng.uniform(0.001, 1.5, (count, 2)) ** 2 * [width, height]
    found = np.hstack([corners, corners + sides])
    found[0] = 0, 0, width, height
    found[1] = 5, 5, 5, 40  # no width
    found[2] = 40, 5, 5, 40  # the wrong way round
    found[3] = -3 * width, -3 * height, 4 * width, 4 * height
    found[4] = 3 * width, 0, 4 * width, height
    return found.astype(np.float32)


def run(gpu, spec, stored, regions, half):
    import pycuda.driver as cuda

    from installation.inference.gpu import InputBuffer

    feed = InputBuffer(gpu, spec, half, max_batch=len(regions))
    try:
        gpu.upload(Frame(0, 0.0, stored))
        feed.fill(regions)
        feed.write(len(regions))
        size = spec.input
        planes = np.empty(
            (len(regions), 3, size.height, size.width), (np.float32, np.float16)[half]
        )
        gpu.stream.synchronize()
        cuda.memcpy_dtoh(planes, feed.address)
        return planes.astype(np.float64)
    finally:
        feed.free()


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [(64, 48), (322, 201), (1280, 720)], ids=str)
def test_crops_equal_those_computed_in_float64(gpu, form, size, half):
    width, height = size if form == "BGR" else (size[0], size[1] // 2 * 2)
    rng = np.random.default_rng([width, half, FORMATS.index(form)])
    stored, pixels = picture(form, width, height, rng)
    spec = manifest(33, 20) if width < 1000 else manifest(64, 52, colour="bgr")
    regions = regions_over(width, height, rng, 24)
    found = run(gpu, spec, stored, regions, half)
    level = np.array(spec.input.scale)[:, None, None]
    off = []
    for region, planes in zip(regions, found, strict=True):
        rounded = reference(pixels, region, spec.input)
        smooth = reference(pixels, region, spec.input, whole_levels=False)
        slack = np.abs(rounded) * 2**-11 if half else 1e-5
        # Half a level each from rounding cells and pixels, and what float32 does to coordinates.
        assert (np.abs(planes - smooth) - slack <= 1.1 * level).all(), region
        off.append((np.abs(planes - rounded) - slack > 0.001 * level).mean())
    # What lies just between two levels may go either way; hardly anything does.
    assert np.mean(off) < 0.002


def test_card_and_processor_cut_the_same(gpu):
    from installation.inference.crop import crop_resize

    rng = np.random.default_rng(5)
    noise = rng.integers(0, 256, (45, 80, 3), np.uint8)
    frame = cv2.resize(noise, (1280, 720), interpolation=cv2.INTER_CUBIC)
    spec = manifest(224, 224, colour="bgr", mean=(0, 0, 0), scale=(1, 1, 1))
    regions = regions_over(1280, 720, rng, 16)
    found = run(gpu, spec, frame, regions, False)
    for region, planes in zip(regions, found, strict=True):
        wanted = crop_resize(frame, region, 224, 224).transpose(2, 0, 1)
        assert np.abs(planes - wanted).mean() < 0.01, region


def test_halves_are_rounded_to_even(gpu):
    """All values a normalised pixel can take, and more: small, huge, negative, infinite."""
    frame = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 256, 3)
    region = np.array([[0, 0, 256, 1]], np.float32)
    for mean, scale in ((0, 1), (127, 1 / 128), (127, 3e-6), (127, 1e-9), (127, 600), (127, 1e30)):
        spec = manifest(256, 1, mean=(mean,) * 3, scale=(scale,) * 3)
        exact = run(gpu, spec, frame, region, False).astype(np.float32)
        with np.errstate(over="ignore"):
            wanted = exact.astype(np.float16)
        assert np.array_equal(run(gpu, spec, frame, region, True), wanted), (mean, scale)


def test_a_new_frame_replaces_the_old_one_whatever_its_size(gpu):
    spec = manifest(8, 8, mean=(0, 0, 0), scale=(1, 1, 1))
    for width, height, grey in ((30, 20, 10), (2000, 1500, 200), (16, 16, 90), (2000, 1500, 40)):
        frame = np.full((height, width, 3), grey, np.uint8)
        region = np.array([[width / 2, height / 2, width - 2, height - 2]], np.float32)
        assert np.array_equal(run(gpu, spec, frame, region, False), np.full((1, 3, 8, 8), grey))
