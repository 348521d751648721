import os
import pickle
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import openvino as ov
import pytest

from engines.fetch import sha256_of
from engines.imagenet22k import AuthenticError, prepare
from engines.manifest import load_manifest
from installation.inference.cpu import CpuEngine
from installation.labels.synsets import load_synsets
from installation.scene import Frame
from tests.paths import ROOT

CONVNEXT, VIT = "convnext_tiny.fb_in22k", "vit_tiny_patch16_224.augreg_in21k"
OTHER = "tiny_vit_5m_224.dist_in22k"
# Which of timm's lists belongs to which head; the two differ from the first line on.
LISTS = {CONVNEXT: "imagenet22k_synsets.txt", VIT: "imagenet21k_goog_synsets.txt"}


@pytest.fixture(scope="module")
def timm():
    reason = "needs pip install 'installation[authentic]'"
    for package in ("torch", "torchvision", "onnxscript"):
        pytest.importorskip(package, reason=reason)
    return pytest.importorskip("timm", reason=reason)


@pytest.fixture(scope="module")
def lists(timm):
    return Path(timm.__file__).parent / "data" / "_info"


def random_network(timm, lists, name):
    """A network, all its parts, with the list of its classes.

    The bias of each class is a thousandth of its place in the head: it tells where a row is from.
    """
    import torch

    torch.manual_seed(0)
    whole = timm.create_model(name, pretrained=False).eval()
    classes = (lists / LISTS[name]).read_text().splitlines()
    with torch.no_grad():
        head = whole.get_submodule(whole.pretrained_cfg["classifier"])
        head.bias.copy_(torch.arange(len(classes)) / 1000)
    return SimpleNamespace(name=name, whole=whole, classes=classes)


@pytest.fixture(scope="module")
def brought(timm, lists, tmp_path_factory):
    """A ConvNeXt, cooked from a file."""
    from safetensors.torch import save_file

    made = random_network(timm, lists, CONVNEXT)
    made.folder, made.weights = (tmp_path_factory.mktemp(name) for name in ("engine", "weights"))
    made.weights /= "mine.safetensors"
    made.source = "mine.safetensors"
    save_file(made.whole.state_dict(), made.weights)
    said = []
    prepare(CONVNEXT, made.weights, said.append)(made.folder)
    assert said == [f"exporting {CONVNEXT}"]
    return made


@pytest.fixture(scope="module")
def fetched(timm, lists, tmp_path_factory):
    """A transformer, cooked from what a hub of one's own has."""
    from safetensors.torch import save_file

    made = random_network(timm, lists, VIT)
    scratch = tmp_path_factory.mktemp("fetched")
    made.folder, made.weights = scratch / "engine", scratch / "served"
    made.source = f"model.safetensors of timm/{VIT}"
    save_file(made.whole.state_dict(), made.weights)
    content = made.weights.read_bytes()

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            here = self.path == f"/timm/{VIT}/resolve/main/model.safetensors"
            self.send_response(200 if here else 404)
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("ETag", '"made-up"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = cook_alone(scratch, f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    megabytes = f"{len(content) / 1e6:.0f} MB"
    assert said == [f"downloading {made.source}, {megabytes}", f"exporting {VIT}"]
    return made


def cook_alone(scratch, hub):
    """Cook in a process of its own, for the hub's client looks but once where its hub is.

    Nothing may be left over, nor said beyond the lines that are returned.
    """
    for name in ("engine", "temporary"):
        (scratch / name).mkdir()
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from engines.imagenet22k import *\n"
            "try: prepare(sys.argv[2], None, print)(Path(sys.argv[1]))\n"
            "except AuthenticError as error: print(error)",
            str(scratch / "engine"),
            VIT,
        ],
        cwd=ROOT,
        env=os.environ
        | {"HF_ENDPOINT": hub, "HF_HOME": str(scratch / "home")}
        | {"TMPDIR": str(scratch / "temporary")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == ""
    assert not list((scratch / "temporary").iterdir())
    return ran.stdout.splitlines()


@pytest.fixture(params=["brought", "fetched"])
def cooked(request):
    return request.getfixturevalue(request.param)


def expected(cooked, batch):
    """What the whole network says of the person classes, each looked up in timm's own list."""
    import torch

    place = {wnid: index for index, wnid in enumerate(cooked.classes)}
    rows = [place[synset.wnid] for synset in load_synsets()]
    with torch.no_grad():
        return cooked.whole(torch.from_numpy(batch))[:, rows].log_softmax(1).numpy()


def refusal(*arguments):
    with pytest.raises(AuthenticError) as caught:
        prepare(*arguments, print)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_scores_equal_those_of_the_complete_network(cooked):
    network = ov.Core().compile_model(
        cooked.folder / "model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for count in (1, 3):
        batch = np.random.default_rng(count).normal(size=(count, 3, 224, 224)).astype(np.float32)
        (found,) = network({"input": batch}).values()
        assert found.dtype == np.float32
        assert found.shape == (count, 2832)
        assert np.abs(found - expected(cooked, batch)).max() < 1e-4


def test_each_output_is_the_row_of_its_synset(cooked):
    labels = (cooked.folder / "labels.txt").read_text().splitlines()
    assert labels == [synset.wnid for synset in load_synsets()]
    model = onnx.load(cooked.folder / "model.onnx")
    (bias,) = (values for values in model.graph.initializer if list(values.dims) == [2832])
    places = np.rint(onnx.numpy_helper.to_array(bias) * 1000).astype(int)
    assert [cooked.classes[place] for place in places] == labels
    assert not any(len(cooked.classes) in values.dims for values in model.graph.initializer)


def test_timm_has_the_same_words_for_each_synset(lists):
    lines = (lists / "imagenet_synset_to_lemma.txt").read_text().splitlines()
    words = dict(line.split("\t") for line in lines)
    assert {s.wnid: words[s.wnid] for s in load_synsets()} == {
        s.wnid: s.words for s in load_synsets()
    }


def test_the_manifest_names_the_source(cooked, timm):
    manifest = load_manifest(cooked.folder)
    assert (manifest.task, manifest.decoder) == ("classify", "log-probabilities")
    assert manifest.licence == "apache-2.0"
    assert manifest.source == (
        f"timm {timm.__version__} {cooked.name}, {cooked.source} "
        f"(sha256:{sha256_of(cooked.weights)})"
    )
    assert sorted(path.name for path in cooked.folder.iterdir()) == [
        "engine.yaml",
        "labels.txt",
        "model.onnx",
    ]
    graph = onnx.load(cooked.folder / "model.onnx").graph
    (given,), (made,) = graph.input, graph.output
    assert (given.name, made.name) == ("input", "log_probabilities")
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [0, 3, 224, 224]
    assert str(ROOT).encode() not in (cooked.folder / "model.onnx").read_bytes()
    assert b"site-packages" not in (cooked.folder / "model.onnx").read_bytes()


def test_as_an_engine_it_normalises_as_in_training(cooked):
    engine = CpuEngine(cooked.folder, load_manifest(cooked.folder))
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    whole = np.array([[0, 0, 224, 224]], np.float32)
    (found,) = engine.run(Frame.from_image(image), whole).values()
    mean, deviation = (cooked.whole.pretrained_cfg[key] for key in ("mean", "std"))
    planes = ((image[:, :, ::-1] / 255 - mean) / deviation).astype(np.float32).transpose(2, 0, 1)
    assert np.abs(found - expected(cooked, planes[None])).max() < 1e-3


@pytest.mark.parametrize(
    ("network", "lost"),
    [
        ("convnext_nano.in12k", "1,869"),
        ("mobilenetv3_large_100.miil_in21k", "1,957"),
        ("convnext_tiny.fb_in1k", "2,829"),
        ("vit_base_patch16_224.orig_in21k", "2,832"),
    ],
)
def test_a_head_that_lacks_person_synsets_is_rejected(timm, tmp_path, network, lost):
    said = refusal(network, None)
    assert f"{network}: according to timm it lacks {lost} of the 2,832 person synsets" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("network", ["convnext_tiny.fb_22k", "convnexttiny", "", "nonsense/x:y"])
def test_an_unknown_network_is_rejected_with_a_suggestion(timm, tmp_path, network):
    said = refusal(network, None)
    assert said.startswith(f"{network}: no such network in timm {timm.__version__}; try ")
    assert CONVNEXT in said


@pytest.mark.parametrize("name", ["noise.safetensors", "noise.pth", "words.txt", "empty.pth"])
def test_a_file_without_weights_is_rejected(timm, tmp_path, name):
    content = {"noise": np.random.default_rng(0).bytes(4096), "words": b"hello\n", "empty": b""}
    file = tmp_path / name
    file.write_bytes(content[file.stem])
    said = refusal(VIT, file)
    assert said.startswith(f"{file}: cannot be read; it must be a safetensors file")
    assert f"model.safetensors of timm/{VIT}" in said
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("content", [{"state_dict": {"epoch": 3}}, [1, 2], 7])
def test_a_checkpoint_of_something_else_is_rejected(timm, tmp_path, content):
    import torch

    torch.save(content, tmp_path / "other.pth")
    assert "cannot be read; it must be a safetensors file" in refusal(VIT, tmp_path / "other.pth")


@pytest.mark.parametrize("wrapper", ["", "state_dict", "model"])
def test_weights_of_another_network_are_rejected(fetched, tmp_path, wrapper):
    import torch

    weights = fetched.whole.state_dict()
    torch.save({wrapper: weights, "epoch": 3} if wrapper else weights, tmp_path / "other.pth")
    said = refusal(OTHER, tmp_path / "other.pth")
    assert said.startswith(f"{tmp_path / 'other.pth'}: not the weights of {OTHER} (")
    assert f"model.safetensors of timm/{OTHER}" in said
    assert [path.name for path in tmp_path.iterdir()] == ["other.pth"]


def test_a_missing_file_is_named(timm, tmp_path):
    assert f"{tmp_path / 'gone'}: no such file; get " in refusal(VIT, tmp_path / "gone")


class Trap:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("save", ["torch", "pickle"])
def test_code_in_a_file_is_not_executed(timm, tmp_path, save):
    import torch

    file, mark = tmp_path / "trap.pth", tmp_path / "sprung"
    if save == "torch":
        torch.save({"state_dict": Trap(mark)}, file)
    else:
        file.write_bytes(pickle.dumps(Trap(mark)))
    assert "cannot be read; it must be a safetensors file" in refusal(VIT, file)
    assert not mark.exists()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    said = refusal(VIT, None)
    assert "pip install 'installation[authentic]'" in said
    assert "onnxscript" in said


def test_without_a_network_it_names_the_file_to_bring(timm, tmp_path):
    (line,) = cook_alone(tmp_path, "http://127.0.0.1:1")
    assert line.startswith(f"the weights of {VIT} could not be downloaded (")
    assert f"get model.safetensors of timm/{VIT} from the Hugging Face hub by hand" in line
    assert "use `--weights FILE`" in line
    assert not list((tmp_path / "engine").iterdir())
