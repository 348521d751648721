"""The authentic classifier: a network that was trained on ImageNet's person pictures themselves.

Networks of the whole of ImageNet (Deng et al. 2009; 21,841 classes, in Google's reading 21,843)
have a row of their head for each of the 2,832 person synsets. Those rows are kept, all others cut
off. The networks are those of ``timm`` (Wightman, github.com/huggingface/pytorch-image-models),
which also knows the order of the classes in each kind of head.
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
# The lowest that torch's exporter writes unaided, hence what most runtimes can read.
_OPSET = 18


class _Home(NamedTuple):
    """Where the weights of a network live on the Hugging Face hub."""

    repository: str
    file: str

    def __str__(self) -> str:
        return f"{self.file} of {self.repository}"


class AuthenticError(EngineError):
    """No classifier could be made from a network: it, its weights or what reads them is wanting."""


def prepare(
    network: str, weights: Path | None, say: Callable[[str], None]
) -> Callable[[Path], None]:
    """Make a classifier from a network that knows all person synsets.

    It takes ``input``, float32 (n, 3, height, width), and gives ``log_probabilities``, float32
    (n, 2832), in the order of ``person_wnids``: the log-softmax over the person classes alone.

    Parameters
    ----------
    network
        What timm calls it, such as ``convnext_tiny.fb_in22k``.
    weights
        A safetensors file or PyTorch checkpoint of that network; None to download one from the
        Hugging Face hub into the cache of its client.
    say
        Receives a line of progress for each step.

    Returns
    -------
    callable
        Writes ``model.onnx``, ``labels.txt`` and ``engine.yaml`` into a folder.

    Raises
    ------
    AuthenticError
        timm or what it needs is missing, it has no such network, the network's head lacks person
        synsets, its weights could not be downloaded or are not what the file holds, or it cannot
        be brought to ONNX.
    """
    with suppress_warnings():
        timm = _timm()
        config = _find(network)
        home = _Home(config.hf_hub_id, config.hf_hub_filename or "model.safetensors")
        file = _download(network, home, say) if weights is None else weights
        classifier = _cut(_load(network, file, home), config)
        say(f"exporting {network}")
        _, height, width = config.input_size
        model = _export(classifier, network, height, width)
        source = f"{file.name if weights else home} (sha256:{sha256_of(file)})"

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
        # torch looks for this one only after all other work is done.
        import onnxscript  # noqa: F401
        import timm
    # A torch and a torchvision that do not fit each other end in one of the latter two.
    except (ImportError, OSError, RuntimeError) as error:
        raise AuthenticError(
            "the authentic classifier needs Python packages that are missing here or do not fit "
            f"({_reason(error)}): pip install 'installation[authentic]'"
        ) from error
    return timm


def _reason(error: Exception) -> str:
    return textwrap.shorten(str(error), 140, placeholder=" …") or type(error).__name__


def _find(network: str) -> Any:
    """Return what timm knows of a network, if all person synsets are in its head."""
    import timm

    try:
        config = timm.get_pretrained_cfg(network, allow_unregistered=False)
    except RuntimeError as error:
        raise AuthenticError(
            f"{network}: no such network in timm {timm.__version__}; try {_similar(network)}"
        ) from error
    if lost := _lost(config):
        raise AuthenticError(
            f"{network}: by timm's lists its head lacks {lost:,} of the {len(person_wnids()):,} "
            f"person synsets; try {_similar(network)}"
        )
    return config


def _lost(config: Any) -> int:
    return len(person_wnids()) - len(_rows(config.num_classes))


@cache
def _rows(classes: int) -> tuple[int, ...]:
    """Find the person synsets, in order, in a head of so many classes; those it lacks left out."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": classes})
    wnids = ImageNetInfo(subset).label_names() if subset else []
    row_of = {wnid: row for row, wnid in enumerate(wnids)}
    return tuple(row_of[wnid] for wnid in person_wnids() if wnid in row_of)


def _similar(network: str) -> str:
    import timm

    names = [name for name in timm.list_pretrained() if not _lost(timm.get_pretrained_cfg(name))]
    near = difflib.get_close_matches(network, names, cutoff=0.4)
    return ", ".join(near) or "convnext_tiny.fb_in22k"


def _download(network: str, home: _Home, say: Callable[[str], None]) -> Path:
    import huggingface_hub as hub

    hub.utils.disable_progress_bars()
    try:
        found = hub.try_to_load_from_cache(*home)
        if not isinstance(found, str):
            # Asked first because this gives up at once; the download itself tries for minutes.
            size = hub.get_hf_file_metadata(hub.hf_hub_url(*home)).size or 0
            say(f"fetching {home}, {size / 1e6:.0f} MB")
            found = hub.hf_hub_download(*home)
    # The client lets through whatever the libraries beneath it raise.
    except Exception as error:
        raise AuthenticError(
            f"the weights of {network} could not be downloaded ({_reason(error)}); check the "
            f"network, or get {home} from the Hugging Face hub by hand: `--weights FILE` takes it"
        ) from error
    return Path(found)


def _load(network: str, weights: Path, home: _Home) -> Any:
    import timm
    import torch
    from timm.models import load_state_dict

    if not weights.is_file():
        raise AuthenticError(f"{weights}: no such file; get {home} from the Hugging Face hub")
    try:
        # Tensors only: to unpickle anything else is to run what the file says.
        state = load_state_dict(str(weights), weights_only=True)
        if not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise TypeError("not only tensors")
    # A stranger's file provokes what it likes, here and below.
    except Exception as error:
        raise AuthenticError(
            f"{weights}: no weights can be read from it, it must be safetensors or a PyTorch "
            f"checkpoint of nothing but tensors; get {home} from the Hugging Face hub"
        ) from error
    try:
        made = timm.create_model(
            network,
            pretrained=True,
            pretrained_cfg_overlay={"state_dict": state, "custom_load": False},
            exportable=True,
        )
    except Exception as error:
        raise AuthenticError(
            f"{weights}: not the weights of {network} ({_reason(error)}); get {home} from the "
            "Hugging Face hub"
        ) from error
    # timm keeps a copy of the file's content.
    del made.pretrained_cfg["state_dict"]
    return made


def _cut(network: Any, config: Any) -> Any:
    """Leave only the person synsets in a network's head, and turn them into log-probabilities."""
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
            f"{network}: its {size / 1e9:.1f} GB are more than an ONNX file can hold; "
            "take a smaller network"
        )
    try:
        program = torch.onnx.export(
            classifier,
            # Two pictures: the exporter takes a one for something that never changes.
            (torch.zeros(2, 3, height, width),),
            dynamo=True,
            dynamic_shapes=({0: "n"},),
            input_names=["input"],
            output_names=["log_probabilities"],
            opset_version=_OPSET,
            verbose=False,
        )
    # The exporter promises no particular errors.
    except Exception as error:
        raise AuthenticError(
            f"{network}: torch {torch.__version__} cannot bring it to ONNX ({_reason(error)}); "
            "take another network, or other versions of the packages"
        ) from error
    model: onnx.ModelProto = program.model_proto
    # Which line of which library a node stems from would tell of this machine's folders.
    for part in (model.graph, *model.graph.node, *model.graph.value_info):
        del part.metadata_props[:]
    _measure_inside(model.graph)
    return model


def _measure_inside(graph: onnx.GraphProto) -> None:
    """Let a network take the size of its batch from its first convolution instead of its input.

    Of an input that is not only looked at but also measured, OpenVINO 2026.4 swaps red and blue
    twice when asked to swap them, and a conversion to half precision finds no single first node.
    """
    nodes = list(graph.node)
    conv = next(at for at, node in enumerate(nodes) if node.op_type == "Conv")
    early, needed = {conv}, set(nodes[conv].input)
    for at in reversed(range(conv)):
        if needed.intersection(nodes[at].output):
            early.add(at)
            needed.update(nodes[at].input)
    for at, node in enumerate(nodes):
        if node.op_type == "Shape" and node.input[0] == graph.input[0].name and at not in early:
            node.input[0] = nodes[conv].output[0]
    order = sorted(range(len(nodes)), key=lambda at: at not in early)
    del graph.node[:]
    graph.node.extend(nodes[at] for at in order)
