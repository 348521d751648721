import shutil

import numpy as np
import openvino as ov
import pytest
import yaml
from opened import on_cpu

from engines.fetch import sha256_of
from installation.inference.engine import InferenceError
from installation.inference.regions import cut

REGIONS = np.array([[100, 50, 400, 350], [0, 0, 512, 600], [-50, 100, 300, 450]], np.float32)


@pytest.fixture(scope="module")
def classifier(built):
    return on_cpu(built / "person-semantic")


def test_regions_of_a_batch_do_not_touch_each_other(classifier, hopper):
    together = classifier.run(hopper, REGIONS)["log_probabilities"]
    assert together.shape == (3, 2832)
    for row, region in zip(together, REGIONS, strict=True):
        alone = classifier.run(hopper, region[None])["log_probabilities"]
        np.testing.assert_allclose(row, alone[0], atol=1e-3)


def test_pixels_are_prepared_as_the_manifest_says(classifier, built, hopper):
    network = ov.Core().compile_model(
        built / "person-semantic" / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    patch = cut(hopper, REGIONS[0], 224, 224)[..., ::-1].astype(np.float32)
    by_hand = network(((patch - 127) / 128).transpose(2, 0, 1)[None])[0]
    np.testing.assert_allclose(
        classifier.run(hopper, REGIONS[:1])["log_probabilities"], by_hand, atol=2e-3
    )


def test_answers_are_the_callers_to_keep(classifier, hopper):
    first = classifier.run(hopper, REGIONS[:1])["log_probabilities"]
    kept = first.copy()
    classifier.run(hopper, REGIONS[1:2])
    assert np.array_equal(first, kept)


def test_a_network_the_runtime_cannot_read_is_one_line(built, tmp_path):
    shutil.copytree(built / "face-centerface", tmp_path / "engine")
    (tmp_path / "engine" / "model.onnx").write_bytes(b"not a network")
    manifest = yaml.safe_load((tmp_path / "engine" / "engine.yaml").read_text())
    manifest["sha256"] = sha256_of(tmp_path / "engine" / "model.onnx")
    (tmp_path / "engine" / "engine.yaml").write_text(yaml.safe_dump(manifest))
    with pytest.raises(InferenceError, match=r"model\.onnx: OpenVINO refused it") as caught:
        on_cpu(tmp_path / "engine")
    assert "\n" not in str(caught.value)
