"""A model repository for Triton Inference Server, made of the engines built here.

Laid out as Triton's documentation has it ("Model Repository", "Model Configuration"). A model takes
regions as they were cut out, uint8, and does the rest itself, so that clients agree with what they
would have computed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engines.files import MAKING, write_whole
from engines.manifest import Manifest, load_manifest

# Which of the server's backends runs the network; python is our own few lines over OpenVINO, for
# servers that come without the others.
Backend = Literal["onnxruntime", "openvino", "python"]
# What goes in, and what comes out beside the engine's own outputs.
PIXELS = "pixels"
CHECKSUM = "checksum"
# Regions in a batch, and batches that may wait, at the most.
MOST = 16
_QUEUE = 256
# Microseconds: for how long a batch waits for more, and a request that names no time for a batch.
_GATHER = 2_000
_WAIT = 2_000_000
# Raised when the same engine is served in another way.
_RECIPE = 1
_NETWORK = "model.onnx"
_LABELS = "labels.txt"


def version_of(manifest: Manifest) -> int:
    """Return the version an engine is served under.

    It stands for the network and how it is fed: a client that names it is answered by these or not
    at all, and servers serve several side by side while walls are brought up to date.
    """
    told = f"{_RECIPE} {manifest.sha256} {manifest.input.model_dump_json()}"
    return int(hashlib.sha256(told.encode()).hexdigest()[:7], 16) + 1


def with_uint8_input(network: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """Return a network that takes regions as they were cut out.

    Parameters
    ----------
    network
        The engine's: its ``input`` is float32 (N, 3, height, width).
    manifest
        The engine's.

    Returns
    -------
    ModelProto
        Its input is ``pixels``, uint8 (N, height, width, 3) in the manifest's order of colours;
        beside the engine's outputs there is ``checksum``, float32 (N, width): the sums of a
        region's columns, exact whole numbers, by which a client knows that an answer is about what
        it sent.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network)
    graph, spec = model.graph, manifest.input
    (fed,) = [each for each in graph.input if each.name == "input"]
    batch = fed.type.tensor_type.shape.dim[0].dim_param or "n"
    graph.input.remove(fed)
    shape = [batch, spec.height, spec.width, 3]
    graph.input.append(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, shape))
    columns = [batch, spec.width]
    graph.output.append(helper.make_tensor_value_info(CHECKSUM, TensorProto.FLOAT, columns))
    constants: dict[str, NDArray[Any]] = {
        "served.mean": np.array(spec.mean, np.float32),
        "served.scale": np.array(spec.scale, np.float32),
        "served.axes": np.array([1, 3], np.int64),
    }
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    make = helper.make_node
    (opset,) = [each.version for each in model.opset_import if not each.domain]
    if opset < 13:
        total = make("ReduceSum", ["served.float"], [CHECKSUM], axes=[1, 3], keepdims=0)
    else:
        total = make("ReduceSum", ["served.float", "served.axes"], [CHECKSUM], keepdims=0)
    nodes = [
        make("Cast", [PIXELS], ["served.float"], to=TensorProto.FLOAT),
        make("Sub", ["served.float", "served.mean"], ["served.centred"]),
        make("Mul", ["served.centred", "served.scale"], ["served.scaled"]),
        make("Transpose", ["served.scaled"], ["input"], perm=[0, 3, 1, 2]),
        total,
    ]
    for node in reversed(nodes):
        graph.node.insert(0, node)
    onnx.checker.check_model(model)
    return model


def export(built: Path, names: Sequence[str], repository: Path, backend: Backend) -> list[str]:
    """Write engines into a model repository, beside what other versions of them there are.

    A version appears complete or not at all, so that a server may be looking.

    Parameters
    ----------
    built, names
        Where the engines live, and which to write.
    repository
        A folder; made if need be.
    backend
        What runs them there.

    Returns
    -------
    list
        Of the versions' folders.

    Raises
    ------
    ManifestError
        An engine is not what its manifest says.
    OSError
        The folder cannot be written to.
    """
    written = []
    for name in names:
        manifest = load_manifest(built / name)
        network = with_uint8_input(onnx.load(built / name / manifest.onnx), manifest)
        model = repository / name
        model.mkdir(parents=True, exist_ok=True)
        for begun in model.glob(f"{MAKING}*"):
            shutil.rmtree(begun, ignore_errors=True)
        version = model / str(version_of(manifest))
        making = Path(tempfile.mkdtemp(prefix=MAKING, dir=model))
        try:
            onnx.save(network, making / _NETWORK)
            if backend == "python":
                code = files(__package__).joinpath("triton_python_model.py").read_bytes()
                (making / "model.py").write_bytes(code)
            # Made for this user alone, but the server is another.
            making.chmod(0o755)
            if version.exists():
                version.rename(making / "before")
            making.rename(version)
            shutil.rmtree(version / "before", ignore_errors=True)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        if manifest.labels is not None:
            write_whole(model / _LABELS, (built / name / manifest.labels).read_bytes())
        write_whole(model / "config.pbtxt", _config(name, manifest, network, backend).encode())
        written.append(str(version))
    return written


def _config(name: str, manifest: Manifest, network: onnx.ModelProto, backend: Backend) -> str:
    spec = manifest.input
    outputs = []
    for each in network.graph.output:
        dims = [dim.dim_value or -1 for dim in each.type.tensor_type.shape.dim[1:]]
        labels = ""
        if manifest.labels is not None and each.name in manifest.outputs:
            labels = f' label_filename: "{_LABELS}"'
        outputs.append(f'  {{ name: "{each.name}" data_type: TYPE_FP32 dims: {dims}{labels} }}')
    told = {"sha256": manifest.sha256, "licence": manifest.licence, "source": manifest.source}
    parameters = [
        f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value)} }} }}'
        for key, value in told.items()
    ]
    # The others have no words for a GPU that may or may not be there.
    group = [] if backend == "onnxruntime" else ["instance_group [ { kind: KIND_CPU } ]"]
    lines = [
        f'name: "{name}"',
        f'backend: "{backend}"',
        f'default_model_filename: "{"model.py" if backend == "python" else _NETWORK}"',
        f"max_batch_size: {MOST}",
        "version_policy { all { } }",
        "input [",
        f'  {{ name: "{PIXELS}" data_type: TYPE_UINT8 dims: [{spec.height}, {spec.width}, 3] }}',
        "]",
        "output [",
        ",\n".join(outputs),
        "]",
        "dynamic_batching {",
        f"  max_queue_delay_microseconds: {_GATHER}",
        "  default_queue_policy {",
        "    timeout_action: REJECT",
        f"    default_timeout_microseconds: {_WAIT}",
        "    allow_timeout_override: true",
        f"    max_queue_size: {_QUEUE}",
        "  }",
        "}",
        *group,
        *parameters,
    ]
    return "\n".join(lines) + "\n"
