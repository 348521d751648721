import shutil

import pytest
import yaml

from engines.manifest import ManifestError, load_manifest


@pytest.fixture
def folder(built, tmp_path):
    shutil.copytree(built / "person-semantic", tmp_path / "engine")
    return tmp_path / "engine"


def test_what_was_built_can_be_read(folder):
    manifest = load_manifest(folder)
    assert (manifest.task, manifest.outputs) == ("classify", ("log_probabilities",))
    assert (manifest.input.width, manifest.input.height) == (224, 224)
    assert len((folder / manifest.labels).read_text().split()) == 2832


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": "guess"}, r"engine.yaml: task"),
        ({"surprise": 1}, r"engine.yaml: surprise"),
        ({"labels": None}, r"engine.yaml: .*labels"),
        ({"labels": "other.txt"}, r"other.txt: missing"),
        ({"onnx": "other.onnx"}, r"other.onnx: missing"),
        ({"sha256": "0" * 64}, r"model.onnx: not the file that the manifest describes"),
    ],
)
def test_a_manifest_that_does_not_fit_is_rejected(folder, change, says):
    path = folder / "engine.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(ManifestError, match=says) as caught:
        load_manifest(folder)
    assert "engines build" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[", "- 1", "\0"])
def test_a_file_that_is_no_manifest_is_rejected(folder, text):
    (folder / "engine.yaml").write_text(text)
    with pytest.raises(ManifestError, match=r"engine\.yaml") as caught:
        load_manifest(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_engine_is_an_error(tmp_path):
    with pytest.raises(ManifestError, match="no engine here"):
        load_manifest(tmp_path)
