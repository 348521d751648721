import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openvino as ov
import pytest
import yaml

from engines.fetch import sha256_of
from installation.inference.crop import crop_resize
from installation.inference.engine import InferenceError
from installation.scene import Frame
from tests.cpu_engine import on_cpu
from tests.paths import ROOT
from tests.raw_frames import raw_frames

REGIONS = np.array([[100, 50, 400, 350], [0, 0, 512, 600], [-50, 100, 300, 450]], np.float32)


@pytest.fixture(scope="module")
def classifier(built):
    return on_cpu(built / "person-semantic")


@pytest.fixture(scope="module")
def frame(hopper):
    return Frame.from_image(hopper)


def test_regions_of_a_batch_are_independent(classifier, frame):
    together = classifier.run(frame, REGIONS)["log_probabilities"]
    assert together.shape == (3, 2832)
    for row, region in zip(together, REGIONS, strict=True):
        alone = classifier.run(frame, region[None])["log_probabilities"]
        np.testing.assert_allclose(row, alone[0], atol=1e-3)


def test_pixels_are_prepared_as_the_manifest_says(classifier, built, hopper, frame):
    network = ov.Core().compile_model(
        built / "person-semantic" / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    patch = crop_resize(hopper, REGIONS[0], 224, 224)[..., ::-1].astype(np.float32)
    by_hand = network(((patch - 127) / 128).transpose(2, 0, 1)[None])[0]
    np.testing.assert_allclose(
        classifier.run(frame, REGIONS[:1])["log_probabilities"], by_hand, atol=2e-3
    )


def test_a_frame_in_the_cameras_layout_is_converted_once_for_all_engines(classifier, hopper):
    yuyv, nv12 = raw_frames(hopper)
    for raw in (yuyv, nv12):
        expected = classifier.run(Frame.from_image(raw.bgr), REGIONS)
        converted = raw.bgr
        for name, value in classifier.run(raw, REGIONS).items():
            assert np.array_equal(value, expected[name])
        assert raw.bgr is converted


def test_engines_that_share_a_model_run_concurrently_without_mixing_outputs(
    classifier, built, frame
):
    expected = [classifier.run(frame, region[None])["log_probabilities"] for region in REGIONS]
    engines = [on_cpu(built / "person-semantic") for _ in range(3)]

    def look(lane):
        return engines[lane].run(frame, REGIONS[lane][None])["log_probabilities"]

    with ThreadPoolExecutor(3) as looking:
        # Each engine is one thread's.
        lanes = looking.map(lambda lane: [look(lane) for _ in range(10)], range(3))
        for right, answers in zip(expected, lanes, strict=True):
            for answer in answers:
                np.testing.assert_allclose(answer, right, atol=1e-3)


def test_another_engine_of_the_same_network_takes_little_memory(built):
    code = """
import re
import sys
from pathlib import Path
from engines.manifest import load_manifest
from installation.inference.cpu import CpuEngine

def held():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\\s+(\\d+)", status)[1])

folder = Path(sys.argv[1])
began, engines = held(), [CpuEngine(folder, load_manifest(folder))]
first = held() - began
engines += [CpuEngine(folder, load_manifest(folder)) for _ in range(4)]
print(first, held() - began - first)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, built / "person-semantic"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    first, more = map(int, ran.stdout.split())
    assert more < first


def test_outputs_belong_to_the_caller(classifier, frame):
    first = classifier.run(frame, REGIONS[:1])["log_probabilities"]
    kept = first.copy()
    classifier.run(frame, REGIONS[1:2])
    assert np.array_equal(first, kept)


def test_a_network_the_runtime_cannot_read_is_one_line(built, tmp_path):
    shutil.copytree(built / "face-centerface", tmp_path / "engine")
    (tmp_path / "engine" / "model.onnx").write_bytes(b"not a network")
    manifest = yaml.safe_load((tmp_path / "engine" / "engine.yaml").read_text())
    manifest["sha256"] = sha256_of(tmp_path / "engine" / "model.onnx")
    (tmp_path / "engine" / "engine.yaml").write_text(yaml.safe_dump(manifest))
    with pytest.raises(InferenceError, match=r"model\.onnx: OpenVINO cannot load it") as caught:
        on_cpu(tmp_path / "engine")
    assert "\n" not in str(caught.value)
