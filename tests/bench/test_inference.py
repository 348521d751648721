"""What the inference benchmark counts and reports; no test asserts a speed."""

import numpy as np
import pytest

from engines.manifest import load_manifest
from installation.bench import inference
from installation.bench.baseline import preprocess
from installation.bench.roofline import MachineLimits, bytes_moved, least_times, network_cost
from installation.scene import Frame


def test_every_step_is_measured_on_engine_and_baseline(config):
    settings = config.inference.model_copy(update={"device": "cpu"})
    report = inference.measure(settings, rounds=2)
    tasks = ["detect", "classify 1", "classify 4", "classify 8", "classify 16"]
    measured = [(row.task, row.step) for row in report.rows]
    assert measured == [(task, step) for task in tasks for step in ("preprocess", "infer", "all")]
    assert report.as_json()["rows"][0].keys() == {"task", "step", "ours", "baseline", "roofline"}
    table = report.as_text().splitlines()
    assert table[0].startswith("inference on the CPU, OpenVINO")
    assert len(table) == 2 + len(measured) + 1


def test_operations_are_counted_as_papers_do(built):
    """EfficientNet-Lite0 has 407 million multiply-adds, by its authors' count."""
    path = built / "person-semantic" / "model.onnx"
    cost = network_cost(path)
    head = 1000 * 384 + 384 * 2832
    assert cost.operations == pytest.approx(2 * (407e6 + head), rel=0.06)
    assert cost.output_bytes == 4 * 2832
    assert cost.weight_bytes == pytest.approx(
        (built / "person-semantic" / "model.onnx").stat().st_size, rel=0.02
    )


def test_overlapping_bytes_are_counted_once(built):
    spec = load_manifest(built / "person-semantic").input
    frame = Frame.from_image(np.zeros((720, 1280, 3), np.uint8))
    same = np.array([[0, 0, 100, 100]] * 3, np.float32)
    planes = 3 * spec.width * spec.height
    assert bytes_moved(frame, same, spec, 2) == 3 * 100 * 100 + 3 * planes * 2
    outside = np.array([[1200, 700, 1400, 900], [-50, -50, 0, 0]], np.float32)
    assert bytes_moved(frame, outside, spec, 1) == 3 * 80 * 20 + 2 * planes


def test_more_faces_take_no_less_time(built):
    cost = network_cost(built / "person-semantic" / "model.onnx")
    spec = load_manifest(built / "person-semantic").input
    frame = Frame.from_image(np.zeros((720, 1280, 3), np.uint8))
    for limits in (MachineLimits(1e10, 1e11), MachineLimits(1e12, None, 1e10, 1e10)):
        few, many = (
            least_times(limits, cost, spec, frame, np.array([[0, 0, 99, 99]] * count, np.float32))
            for count in (1, 16)
        )
        assert few.keys() == many.keys()
        assert all(0 < few[step] <= many[step] for step in few)


def test_the_baseline_is_a_fair_one(built, hopper):
    """Its crops equal the engine's, except for the interpolation."""
    engine = load_manifest(built / "person-semantic")
    from installation.inference.crop import crop_resize

    region = np.array([60, 40, 300, 280], np.float32)
    planes = preprocess(hopper, region, engine.input)
    ours = crop_resize(hopper, region, 224, 224)[..., ::-1].transpose(2, 0, 1)
    assert planes.shape == (1, 3, 224, 224)
    assert np.abs(planes[0] * 128 + 127 - ours).mean() < 2
