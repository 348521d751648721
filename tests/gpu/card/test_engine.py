"""Engines on the GPU against the same on the CPU, from config to result."""

import numpy as np
import pytest

from engines.manifest import load_manifest
from installation.config.model import Inference
from installation.inference.engine import InferenceError
from installation.scene import Frame
from installation.vision.boxes import iou, squares
from installation.vision.detector import Detector
from tests.raw_frames import raw_frames

NAMES = ("face-centerface", "person-semantic")


@pytest.fixture
def settings(built, tmp_path):
    """Engines in a folder of their own, for these tests' plans and failures."""
    from installation.inference.open_engines import NoGpuError, find_gpu

    try:
        find_gpu()
    except NoGpuError as error:
        pytest.skip(str(error))
    for name in NAMES:
        (tmp_path / name).symlink_to(built / name)
    return Inference(device="gpu", engines=tmp_path)


@pytest.fixture
def on_gpu(settings):
    from installation.inference.open_engines import open_engines

    with open_engines(settings, NAMES) as engines:
        yield engines


@pytest.fixture(scope="module")
def on_cpu(built):
    from installation.inference.cpu import CpuEngine

    return [CpuEngine(built / name, load_manifest(built / name)) for name in NAMES]


@pytest.fixture
def hopper_frame(hopper):
    return Frame.from_image(hopper)


def squares_in(frame, count, seed):
    rng = np.random.default_rng(seed)
    width, height = frame.width, frame.height
    sides = rng.uniform(0.2, 0.9, count) * min(height, width)
    x, y = rng.uniform(0, width - sides), rng.uniform(0, height - sides)
    return np.stack([x, y, x + sides, y + sides], 1).astype(np.float32)


def test_the_same_faces_are_found(on_gpu, on_cpu, hopper, collins, crowd):
    for image in (hopper, collins, crowd.paint(3.0), crowd.paint(9.0)):
        frame = Frame.from_image(image)
        ours, theirs = (Detector(each[0], 32, 0.5).find(frame) for each in (on_gpu, on_cpu))
        assert len(ours) == len(theirs) > 0
        assert iou(ours.xyxy, theirs.xyxy).max(1).min() > 0.9


def test_gpu_and_cpu_agree_on_the_best_label(on_gpu, on_cpu, hopper, collins, crowd):
    same = []
    for number, image in enumerate((hopper, collins, crowd.paint(3.0), crowd.paint(9.0))):
        frame = Frame.from_image(image)
        faces = Detector(on_cpu[0], 32, 0.5).find(frame).xyxy
        regions = np.concatenate([squares(faces, 2.6), squares_in(frame, 40, number)])
        ours, theirs = (
            each[1].run(frame, regions)["log_probabilities"] for each in (on_gpu, on_cpu)
        )
        assert ours.shape == theirs.shape == (len(regions), 2832)
        same.append(ours.argmax(1) == theirs.argmax(1))
    assert np.concatenate(same).mean() >= 0.98


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9, 20])
def test_a_region_is_answered_alike_in_any_company(on_gpu, hopper_frame, count):
    regions = squares_in(hopper_frame, count, 1)
    together = on_gpu[1].run(hopper_frame, regions)["log_probabilities"]
    for region, row in zip(regions, together, strict=True):
        alone = on_gpu[1].run(hopper_frame, region[None])["log_probabilities"][0]
        np.testing.assert_allclose(row, alone, atol=0.05)


def test_answers_are_of_the_frame_asked_about(on_gpu, hopper_frame, collins):
    region = np.array([[50, 50, 450, 450]], np.float32)
    first = on_gpu[1].run(hopper_frame, region)["log_probabilities"]
    kept = first.copy()
    other = on_gpu[1].run(Frame.from_image(collins), region)["log_probabilities"]
    on_gpu[0].run(hopper_frame, region)
    again = on_gpu[1].run(hopper_frame, region)["log_probabilities"]
    assert not np.allclose(first, other, atol=0.05)
    assert np.array_equal(first, kept)
    assert np.array_equal(first, again)


def test_a_frame_goes_up_once_for_both_engines(on_gpu, hopper_frame, fake_driver):
    region = np.array([[0, 0, 500, 500]], np.float32)
    on_gpu[0].run(hopper_frame, region)
    before = fake_driver.fake_cuda_calls(b"cuMemcpyHtoDAsync")
    on_gpu[1].run(hopper_frame, region)
    assert fake_driver.fake_cuda_calls(b"cuMemcpyHtoDAsync") == before


def test_a_raw_frame_reaches_the_kernel_as_the_camera_sent_it(on_gpu, on_cpu, hopper, crowd):
    same = []
    for image in (hopper, crowd.paint(3.0), crowd.paint(9.0)):
        for frame in raw_frames(image):
            regions = squares_in(frame, 20, 7)
            ours = Detector(on_gpu[0], 32, 0.5).find(frame)
            words = on_gpu[1].run(frame, regions)["log_probabilities"]
            assert set(on_gpu[1].timed(frame, regions)) >= {"upload", "preprocess", "infer"}
            # Nobody has asked for BGR yet; the CPU does.
            assert "bgr" not in vars(frame)
            theirs = Detector(on_cpu[0], 32, 0.5).find(frame)
            assert len(ours) == len(theirs) > 0
            assert iou(ours.xyxy, theirs.xyxy).max(1).min() > 0.9
            expected = on_cpu[1].run(frame, regions)["log_probabilities"]
            same.append(words.argmax(1) == expected.argmax(1))
    assert np.concatenate(same).mean() >= 0.95


def test_layouts_may_change_from_frame_to_frame(on_gpu, hopper):
    region = np.array([[50, 50, 450, 450]], np.float32)
    frames = (Frame.from_image(hopper), *raw_frames(hopper))
    first = [on_gpu[1].run(frame, region)["log_probabilities"] for frame in frames]
    again = [on_gpu[1].run(frame, region)["log_probabilities"] for frame in reversed(frames)]
    for one, other in zip(first, reversed(again), strict=True):
        assert np.array_equal(one, other)
    for raw in first[1:]:
        assert raw.argmax() == first[0].argmax()


def test_without_graphs_the_answers_are_the_same(settings, hopper_frame, fake_driver, on_gpu):
    from installation.inference.open_engines import open_engines

    regions = squares_in(hopper_frame, 3, 2)
    with_graphs = on_gpu[1].run(hopper_frame, regions)["log_probabilities"]
    fake_driver.fake_cuda_fail(b"cuStreamBeginCapture:1+:801")
    launched = fake_driver.fake_cuda_calls(b"cuGraphLaunch")
    with open_engines(settings, NAMES) as engines:
        without = engines[1].run(hopper_frame, regions)["log_probabilities"]
    assert fake_driver.fake_cuda_calls(b"cuGraphLaunch") == launched
    assert np.array_equal(with_graphs, without)


KINDS = ("device", "pinned", "stream", "event", "module", "graph", "exec", "context", "pushed")


def live(fake_driver):
    return {kind: count for kind in KINDS if (count := fake_driver.fake_cuda_live(kind.encode()))}


def test_opening_and_closing_a_hundred_times_leaks_nothing(card, built):
    from installation.inference.gpu import GpuContext, InputBuffer, OutputBuffer

    manifest = load_manifest(built / NAMES[0])
    free = []
    for number in range(100):
        gpu = GpuContext(card)
        feed = InputBuffer(gpu, manifest, True, 8)
        output = OutputBuffer("any", (8, 100), np.dtype(np.float32))
        gpu.upload(Frame.from_image(np.zeros((720, 1280, 3), np.uint8)))
        if number in (10, 99):
            import pycuda.driver as cuda

            free.append(cuda.mem_get_info()[0])
        output.free()
        feed.free()
        gpu.close()
    assert free[0] - free[1] <= 2 << 20
    # A GPU only reports its memory; the fake driver counts everything.
    if hasattr(gpu.driver, "fake_cuda_live"):
        assert live(gpu.driver) == {}


def test_engines_opened_again_and_again_leave_nothing(settings, hopper_frame, fake_driver):
    from installation.inference.open_engines import open_engines

    region = np.array([[0, 0, 500, 500]], np.float32)
    assert live(fake_driver) == {}
    for _ in range(6):
        with open_engines(settings, NAMES) as engines:
            for engine in engines:
                engine.run(hopper_frame, region)
        assert live(fake_driver) == {}


def test_a_failed_start_leaks_nothing(settings, fake_driver):
    from installation.inference.open_engines import open_engines

    for failing in (b"cuMemAlloc:3+:2", b"cuMemHostAlloc:6+:2", b"cuStreamCreate:1:2"):
        fake_driver.fake_cuda_fail(failing)
        with pytest.raises(InferenceError, match="the GPU failed"), open_engines(settings, NAMES):
            pytest.fail("opened all the same")
        fake_driver.fake_cuda_fail(b"")
        assert live(fake_driver) == {}, failing


def test_a_plan_of_another_engine_is_rejected(settings, gpu, built):
    from engines.plan_cache import BATCHES
    from installation.inference.gpu_engine import GpuEngine
    from installation.inference.open_engines import find_gpu, prepare

    found = find_gpu()
    _, plan = prepare(settings.engines, NAMES[0], found, lambda _what, _done: True)
    manifest = load_manifest(built / NAMES[1])
    with pytest.raises(InferenceError, match="belongs to another engine"):
        GpuEngine(gpu, manifest, found.library.module, plan, BATCHES.max)
    with pytest.raises(InferenceError, match="TensorRT rejected the plan"):
        GpuEngine(gpu, manifest, found.library.module, b"never comes this far", BATCHES.max)
