"""Engines as a server has them, run by ONNX Runtime as Triton would, and the files around them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from engines.manifest import ManifestError, load_manifest
from engines.triton_export import CHECKSUM, MAX_BATCH, PIXELS, export, version_of, with_uint8_input
from installation.inference.crop import crop_batch
from installation.scene import Frame
from tests.cpu_engine import on_cpu
from tests.paths import ROOT

NAMES = ["face-centerface", "person-semantic"]


def described(model):
    text = (model / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def content(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", NAMES)
def test_an_exported_network_takes_cropped_regions(built, hopper, name):
    engine = on_cpu(built / name)
    regions = np.array([[0, 0, 512, 600], [100, 50, 400, 350], [-50, -9, 99, 99]], np.float32)
    batch = crop_batch(hopper, regions, engine.manifest.input)
    network = with_uint8_input(onnx.load(built / name / engine.manifest.onnx), engine.manifest)
    session = onnxruntime.InferenceSession(network.SerializeToString())
    outputs = (*engine.manifest.outputs, CHECKSUM)
    answers = dict(zip(outputs, session.run(list(outputs), {PIXELS: batch}), strict=True))
    for output, expected in engine.run(Frame.from_image(hopper), regions).items():
        np.testing.assert_allclose(answers[output], expected, atol=3e-3)
    # Whole numbers, and exactly these.
    assert np.array_equal(answers[CHECKSUM], batch.sum((1, 3), dtype=np.int64))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "python"])
def test_a_server_can_read_the_configuration(built, tmp_path, backend):
    folders = export(built, NAMES, tmp_path, backend)
    for name, folder in zip(NAMES, folders, strict=True):
        manifest = load_manifest(built / name)
        told = described(tmp_path / name)
        assert (told.name, told.backend, told.max_batch_size) == (name, backend, MAX_BATCH)
        assert Path(folder) == tmp_path / name / str(version_of(manifest))
        assert (Path(folder) / told.default_model_filename).is_file()
        network = onnx.load(Path(folder) / "model.onnx")
        (pixels,) = told.input
        shape = [dim.dim_value for dim in network.graph.input[0].type.tensor_type.shape.dim[1:]]
        assert (pixels.name, list(pixels.dims)) == (PIXELS, shape)
        outputs = {each.name: list(each.dims) for each in told.output}
        assert set(outputs) == {*manifest.outputs, CHECKSUM}
        assert all(size > 0 for dims in outputs.values() for size in dims)
        assert told.parameters["sha256"].string_value == manifest.sha256
        assert told.version_policy.HasField("all")
        # Another user reads it.
        assert Path(folder).stat().st_mode & 0o555 == 0o555
    labels = (tmp_path / "person-semantic/labels.txt").read_text().split()
    assert len(labels) == 2832
    assert described(tmp_path / "person-semantic").output[0].label_filename == "labels.txt"


def test_exporting_twice_changes_nothing(built, tmp_path):
    export(built, NAMES, tmp_path, "onnxruntime")
    before = content(tmp_path)
    export(built, NAMES, tmp_path, "onnxruntime")
    assert content(tmp_path) == before


def test_another_backend_replaces_the_first(built, tmp_path):
    export(built, NAMES, tmp_path, "onnxruntime")
    export(built, NAMES, tmp_path, "python")
    assert {each.backend for each in map(described, tmp_path.iterdir())} == {"python"}
    assert len(list(tmp_path.glob("*/*/model.py"))) == 2
    assert len(list(tmp_path.glob("*/[0-9]*"))) == 2


def test_other_versions_stay(built, tmp_path):
    other = tmp_path / NAMES[0] / "7"
    other.mkdir(parents=True)
    (other / "model.onnx").write_bytes(b"an older one")
    export(built, NAMES, tmp_path, "onnxruntime")
    assert (other / "model.onnx").read_bytes() == b"an older one"


def test_the_version_depends_on_the_network_and_its_input(built):
    manifest = load_manifest(built / NAMES[0])
    fed = manifest.input.model_copy(update={"colour": "bgr"})
    others = [
        manifest,
        load_manifest(built / NAMES[1]),
        manifest.model_copy(update={"sha256": "0" * 64}),
        manifest.model_copy(update={"input": fed}),
    ]
    assert len({version_of(each) for each in others}) == len(others)
    # As Triton has them.
    assert all(0 < version_of(each) < 2**31 for each in others)


def test_leftovers_of_interrupted_exports_are_removed(built, tmp_path):
    begun = tmp_path / NAMES[0] / ".making-before"
    begun.mkdir(parents=True)
    (begun / "model.onnx").write_bytes(b"half of it")
    export(built, NAMES, tmp_path, "onnxruntime")
    assert [path.name for path in tmp_path.rglob(".*")] == []


def test_an_altered_engine_is_not_exported(built, tmp_path):
    engines = tmp_path / "engines"
    (engines / NAMES[0]).mkdir(parents=True)
    for path in (built / NAMES[0]).iterdir():
        (engines / NAMES[0] / path.name).write_bytes(path.read_bytes())
    with (engines / NAMES[0] / "model.onnx").open("ab") as network:
        network.write(b"\0")
    with pytest.raises(ManifestError, match="its hash differs"):
        export(engines, NAMES[:1], tmp_path / "models", "onnxruntime")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["models", "person-unknown"], "person-unknown: no such engine; there are"),
        (["occupied"], "occupied: cannot be written to: "),
    ],
)
def test_an_export_error_is_one_line(built, tmp_path, arguments, line):
    (tmp_path / "config.yaml").write_text(f"inference: {{engines: {built}}}\n")
    (tmp_path / "occupied").write_text("a file")
    ran = subprocess.run(
        [sys.executable, "-m", "installation", "engines", "export", *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert line in ran.stderr and len(ran.stderr.splitlines()) == 1
