"""Read a PyTorch checkpoint without PyTorch and without executing code from it.

The format is that of ``torch.save`` before version 1.6: five pickles (magic number,
protocol, system, the object, the storage keys), then each storage as a count and raw numbers.
See ``torch/serialization.py``, ``_legacy_load``.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C


class CheckpointError(ValueError):
    """The data is not a legacy checkpoint, or contains more than tensors."""


class _Storage:
    """A block of numbers whose data is read after the pickles that refer to it."""

    def __init__(self, dtype: np.dtype[Any], count: int) -> None:
        self.dtype = dtype
        self.count = count
        self.data: NDArray[Any] | None = None


class _Tensor:
    """A strided view into a storage, resolved once the storage has been read."""

    def __init__(
        self,
        storage: _Storage,
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        *_: Any,
    ) -> None:
        self.storage = storage
        self.offset = offset
        self.size = size
        self.stride = stride

    def array(self) -> NDArray[Any]:
        assert self.storage.data is not None
        view = np.lib.stride_tricks.as_strided(
            self.storage.data[self.offset :],
            self.size,
            [step * self.storage.dtype.itemsize for step in self.stride],
        )
        return np.array(view)


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise CheckpointError(
                f"the checkpoint contains a {module}.{name}, which is not allowed"
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, count, _view = pid
        if kind != "storage":
            raise CheckpointError(f"unknown persistent object {kind!r}")
        return self.storages.setdefault(key, _Storage(dtype, count))


def read_checkpoint(data: bytes) -> dict[str, NDArray[Any]]:
    """Read the named tensors of a legacy checkpoint.

    Parameters
    ----------
    data
        The whole file.

    Returns
    -------
    dict
        Name to array, in the file's order.

    Raises
    ------
    CheckpointError
        Not a legacy checkpoint, truncated, or with other classes than tensors and dictionaries.
    """
    file = io.BytesIO(data)
    try:
        if _Unpickler(file).load() != _MAGIC:
            raise CheckpointError("not a legacy PyTorch checkpoint")
        for _header in ("protocol", "system"):
            _Unpickler(file).load()
        body = _Unpickler(file)
        tensors = body.load()
        for key in _Unpickler(file).load():
            storage = body.storages[key]
            count = int.from_bytes(file.read(8), "little")
            raw = file.read(count * storage.dtype.itemsize)
            storage.data = np.frombuffer(raw, storage.dtype, storage.count)
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"damaged checkpoint: {error}") from error
    return {name: tensor.array() for name, tensor in tensors.items()}
