"""The authentic classifier: a network trained on ImageNet's person images themselves.

Networks trained on all of ImageNet (Deng et al. 2009; 21,841 classes, 21,843 in Google's version)
have one output for each of the 2,832 person synsets. Those outputs are kept and all others removed.
The networks come from ``timm`` (Wightman, github.com/huggingface/pytorch-image-models), which also
knows the class order of each kind of head.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from engines.errors import EngineError
from engines.fetch import sha256_of
from engines.manifest import EngineInput, Manifest
from engines.persons import person_wnids
from engines.suppress_warnings import suppress_warnings

_NETWORK = "model.onnx"
_LABELS = "labels.txt"
# The lowest opset that torch's exporter writes natively, and so the most widely supported one.
_OPSET = 18


class _HubFile(NamedTuple):
    """Where the weights of a network are on the Hugging Face hub."""

    repository: str
    file: str

    def __str__(self) -> str:
        return f"{self.file} of {self.repository}"


class AuthenticError(EngineError):
    """No classifier can be built: network, weights or a package is missing or unsuitable."""


def prepare(
    network: str, weights: Path | None, say: Callable[[str], None]
) -> Callable[[Path], None]:
    """Convert a network that has all person synsets among its classes.

    The result takes ``input``, float32 (n, 3, height, width), and returns ``log_probabilities``,
    float32 (n, 2832), in the order of ``person_wnids``: the log-softmax over the person classes.

    Parameters
    ----------
    network
        Name in timm, such as ``convnext_tiny.fb_in22k``.
    weights
        safetensors file or PyTorch checkpoint of that network; None to download one from the
        Hugging Face hub into the cache of its client.
    say
        Called with a line of progress for each step.

    Returns
    -------
    callable
        Writes ``model.onnx``, ``labels.txt`` and ``engine.yaml`` into a folder.

    Raises
    ------
    AuthenticError
        A package is missing, timm has no such network, the network lacks person synsets, the
        weights cannot be downloaded or do not fit, or the network cannot be exported to ONNX.
    """
    with suppress_warnings():
        timm = _timm()
        config = _find(network)
        hub_file = _HubFile(config.hf_hub_id, config.hf_hub_filename or "model.safetensors")
        file = _download(network, hub_file, say) if weights is None else weights
        classifier = _person_classifier(_load(network, file, hub_file), config)
        say(f"exporting {network}")
        _, height, width = config.input_size
        model = _export(classifier, network, height, width)
        source = f"{file.name if weights else hub_file} (sha256:{sha256_of(file)})"

    def write(folder: Path) -> None:
        onnx.save(model, folder / _NETWORK)
        wnids = (f"{wnid}\n" for wnid in person_wnids())
        (folder / _LABELS).write_text("".join(wnids), encoding="utf-8")
        Manifest(
            task="classify",
            onnx=_NETWORK,
            sha256=sha256_of(folder / _NETWORK),
            input=EngineInput(
                width=width,
                height=height,
                colour="rgb",
                mean=tuple(255 * mean for mean in config.mean),
                scale=tuple(1 / (255 * deviation) for deviation in config.std),
            ),
            outputs=("log_probabilities",),
            decoder="log-probabilities",
            labels=_LABELS,
            licence=config.license or "unknown: see source",
            source=f"timm {timm.__version__} {network}, {source}",
        ).save(folder)

    return write


def _timm() -> Any:
    try:
        # torch imports onnxscript only at the end of an export.
        import onnxscript  # noqa: F401
        import timm
    # Incompatible versions of torch and torchvision raise one of the latter two.
    except (ImportError, OSError, RuntimeError) as error:
        raise AuthenticError(
            "the authentic classifier needs Python packages that are missing or incompatible "
            f"({_reason(error)}): pip install 'installation[authentic]'"
        ) from error
    return timm


def _reason(error: Exception) -> str:
    return textwrap.shorten(str(error), 140, placeholder=" …") or type(error).__name__


def _find(network: str) -> Any:
    """Return timm's configuration of a network that has all person synsets."""
    import timm

    try:
        config = timm.get_pretrained_cfg(network, allow_unregistered=False)
    except RuntimeError as error:
        raise AuthenticError(
            f"{network}: no such network in timm {timm.__version__}; try {_similar(network)}"
        ) from error
    if missing := _missing(config):
        raise AuthenticError(
            f"{network}: according to timm it lacks {missing:,} of the {len(person_wnids()):,} "
            f"person synsets; try {_similar(network)}"
        )
    return config


def _missing(config: Any) -> int:
    return len(person_wnids()) - len(_rows(config.num_classes))


@cache
def _rows(classes: int) -> tuple[int, ...]:
    """Return the outputs of the person synsets, in order, in a head with that many classes."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": classes})
    wnids = ImageNetInfo(subset).label_names() if subset else []
    row_of = {wnid: row for row, wnid in enumerate(wnids)}
    return tuple(row_of[wnid] for wnid in person_wnids() if wnid in row_of)


def _similar(network: str) -> str:
    import timm

    names = [name for name in timm.list_pretrained() if not _missing(timm.get_pretrained_cfg(name))]
    similar = difflib.get_close_matches(network, names, cutoff=0.4)
    return ", ".join(similar) or "convnext_tiny.fb_in22k"


def _download(network: str, hub_file: _HubFile, say: Callable[[str], None]) -> Path:
    import huggingface_hub as hub

    hub.utils.disable_progress_bars()
    try:
        found = hub.try_to_load_from_cache(*hub_file)
        if not isinstance(found, str):
            # Fails at once without a network, where the download would retry for minutes.
            size = hub.get_hf_file_metadata(hub.hf_hub_url(*hub_file)).size or 0
            say(f"downloading {hub_file}, {size / 1e6:.0f} MB")
            found = hub.hf_hub_download(*hub_file)
    # The client does not wrap exceptions of the libraries it uses.
    except Exception as error:
        raise AuthenticError(
            f"the weights of {network} could not be downloaded ({_reason(error)}); check the "
            f"network connection, or get {hub_file} from the Hugging Face hub by hand and use "
            "`--weights FILE`"
        ) from error
    return Path(found)


def _load(network: str, weights: Path, hub_file: _HubFile) -> Any:
    import timm
    import torch
    from timm.models import load_state_dict

    if not weights.is_file():
        raise AuthenticError(f"{weights}: no such file; get {hub_file} from the Hugging Face hub")
    try:
        # Tensors only: unpickling anything else could execute code from the file.
        state = load_state_dict(str(weights), weights_only=True)
        if not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise TypeError("not only tensors")
    # An unknown file may raise anything, here and below.
    except Exception as error:
        raise AuthenticError(
            f"{weights}: cannot be read; it must be a safetensors file or a PyTorch "
            f"checkpoint with nothing but tensors; get {hub_file} from the Hugging Face hub"
        ) from error
    try:
        model = timm.create_model(
            network,
            pretrained=True,
            pretrained_cfg_overlay={"state_dict": state, "custom_load": False},
            exportable=True,
        )
    except Exception as error:
        raise AuthenticError(
            f"{weights}: not the weights of {network} ({_reason(error)}); get {hub_file} from the "
            "Hugging Face hub"
        ) from error
    # Drop the copy of the weights that timm keeps.
    del model.pretrained_cfg["state_dict"]
    return model


def _person_classifier(network: Any, config: Any) -> Any:
    """Remove all outputs but the person synsets, and append a log-softmax."""
    import torch

    head = network.get_submodule(config.classifier)
    rows = list(_rows(config.num_classes))
    for name, values in list(head.named_parameters(recurse=False)):
        setattr(head, name, torch.nn.Parameter(values.detach()[rows]))
    return torch.nn.Sequential(network, torch.nn.LogSoftmax(1)).eval().requires_grad_(False)


def _export(classifier: Any, network: str, height: int, width: int) -> onnx.ModelProto:
    import torch

    size = sum(values.nbytes for values in classifier.parameters())
    if size >= 2**31:
        raise AuthenticError(
            f"{network}: its {size / 1e9:.1f} GB exceed the size limit of an ONNX file; "
            "choose a smaller network"
        )
    try:
        program = torch.onnx.export(
            classifier,
            # A batch of two: the exporter would treat a dimension of one as constant.
            (torch.zeros(2, 3, height, width),),
            dynamo=True,
            dynamic_shapes=({0: "n"},),
            input_names=["input"],
            output_names=["log_probabilities"],
            opset_version=_OPSET,
            verbose=False,
        )
    # The exporter documents no exceptions.
    except Exception as error:
        raise AuthenticError(
            f"{network}: torch {torch.__version__} cannot export it to ONNX ({_reason(error)}); "
            "choose another network, or other versions of the packages"
        ) from error
    model: onnx.ModelProto = program.model_proto
    # The metadata contains source paths of this machine.
    for part in (model.graph, *model.graph.node, *model.graph.value_info):
        del part.metadata_props[:]
    _take_batch_size_from_first_convolution(model.graph)
    return model


def _take_batch_size_from_first_convolution(graph: onnx.GraphProto) -> None:
    """Make a network read its batch size from its first convolution instead of its input.

    When an input has a second consumer such as Shape, OpenVINO 2026.4 applies a colour swap twice,
    and the conversion to float16 finds no single first node.
    """
    nodes = list(graph.node)
    conv = next(at for at, node in enumerate(nodes) if node.op_type == "Conv")
    before, needed = {conv}, set(nodes[conv].input)
    for at in reversed(range(conv)):
        if needed.intersection(nodes[at].output):
            before.add(at)
            needed.update(nodes[at].input)
    for at, node in enumerate(nodes):
        if node.op_type == "Shape" and node.input[0] == graph.input[0].name and at not in before:
            node.input[0] = nodes[conv].output[0]
    order = sorted(range(len(nodes)), key=lambda at: at not in before)
    del graph.node[:]
    graph.node.extend(nodes[at] for at in order)
