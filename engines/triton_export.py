"""Export engines into a model repository for Triton Inference Server.

The layout is that of Triton's documentation ("Model Repository", "Model Configuration"). A model
takes cropped regions as uint8 and normalises them itself, so that its outputs equal those a client
would compute.
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

from engines.files import TEMPORARY, write_atomic
from engines.manifest import Manifest, load_manifest

# The server's backend. python is `triton_python_model`, for servers without the other two.
Backend = Literal["onnxruntime", "openvino", "python"]
# The input, and the output that is added to the engine's own.
PIXELS = "pixels"
CHECKSUM = "checksum"
# Regions per batch, and requests in the queue.
MAX_BATCH = 16
_MAX_QUEUE = 256
# How long the server waits to fill a batch, and how long a request without a timeout may be queued.
_BATCH_DELAY_US = 2_000
_QUEUE_TIMEOUT_US = 2_000_000
# Increment when the same engine is exported differently.
_EXPORT_VERSION = 1
_NETWORK = "model.onnx"
_LABELS = "labels.txt"


def version_of(manifest: Manifest) -> int:
    """Return the model version under which an engine is exported.

    It is a hash of the network and its input, so a client never gets the outputs of another
    network, and a server can serve several versions while installations are being updated.
    """
    key = f"{_EXPORT_VERSION} {manifest.sha256} {manifest.input.model_dump_json()}"
    return int(hashlib.sha256(key.encode()).hexdigest()[:7], 16) + 1


def with_uint8_input(network: onnx.ModelProto, manifest: Manifest) -> onnx.ModelProto:
    """Return a network that takes cropped regions as uint8.

    Parameters
    ----------
    network
        The engine's network, whose ``input`` is float32 (N, 3, height, width).
    manifest
        The engine's manifest.

    Returns
    -------
    ModelProto
        Its input is ``pixels``, uint8 (N, height, width, 3) in the manifest's colour order. It has
        an additional output ``checksum``, float32 (N, width): the sums of each region's columns,
        exact integers, by which a client verifies that a response belongs to its request.
    """
    model = onnx.ModelProto()
    model.CopyFrom(network)
    graph, spec = model.graph, manifest.input
    (source,) = [each for each in graph.input if each.name == "input"]
    batch = source.type.tensor_type.shape.dim[0].dim_param or "n"
    graph.input.remove(source)
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
    """Export engines into a model repository; other versions of them stay.

    A version appears atomically, so a running server never sees half of one.

    Parameters
    ----------
    built
        Folder of the engines.
    names
        Names of the engines to export.
    repository
        Target folder; created if necessary.
    backend
        The server's backend.

    Returns
    -------
    list of str
        Folders of the exported versions.

    Raises
    ------
    ManifestError
        An engine does not match its manifest.
    OSError
        The folder cannot be written to.
    """
    written = []
    for name in names:
        manifest = load_manifest(built / name)
        network = with_uint8_input(onnx.load(built / name / manifest.onnx), manifest)
        model = repository / name
        model.mkdir(parents=True, exist_ok=True)
        for begun in model.glob(f"{TEMPORARY}*"):
            shutil.rmtree(begun, ignore_errors=True)
        version = model / str(version_of(manifest))
        making = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=model))
        try:
            onnx.save(network, making / _NETWORK)
            if backend == "python":
                code = files(__package__).joinpath("triton_python_model.py").read_bytes()
                (making / "model.py").write_bytes(code)
            # Temporary folders are private to their creator, but the server is another user.
            making.chmod(0o755)
            if version.exists():
                version.rename(making / "before")
            making.rename(version)
            shutil.rmtree(version / "before", ignore_errors=True)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        if manifest.labels is not None:
            write_atomic(model / _LABELS, (built / name / manifest.labels).read_bytes())
        write_atomic(model / "config.pbtxt", _config(name, manifest, network, backend).encode())
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
    facts = {"sha256": manifest.sha256, "licence": manifest.licence, "source": manifest.source}
    parameters = [
        f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(value)} }} }}'
        for key, value in facts.items()
    ]
    # Only onnxruntime can leave the choice between CPU and GPU to the server.
    group = [] if backend == "onnxruntime" else ["instance_group [ { kind: KIND_CPU } ]"]
    lines = [
        f'name: "{name}"',
        f'backend: "{backend}"',
        f'default_model_filename: "{"model.py" if backend == "python" else _NETWORK}"',
        f"max_batch_size: {MAX_BATCH}",
        "version_policy { all { } }",
        "input [",
        f'  {{ name: "{PIXELS}" data_type: TYPE_UINT8 dims: [{spec.height}, {spec.width}, 3] }}',
        "]",
        "output [",
        ",\n".join(outputs),
        "]",
        "dynamic_batching {",
        f"  max_queue_delay_microseconds: {_BATCH_DELAY_US}",
        "  default_queue_policy {",
        "    timeout_action: REJECT",
        f"    default_timeout_microseconds: {_QUEUE_TIMEOUT_US}",
        "    allow_timeout_override: true",
        f"    max_queue_size: {_MAX_QUEUE}",
        "  }",
        "}",
        *group,
        *parameters,
    ]
    return "\n".join(lines) + "\n"
