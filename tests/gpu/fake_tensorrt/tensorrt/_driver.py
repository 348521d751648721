"""Access to the fake driver."""

from __future__ import annotations

import ctypes
import functools
import os


@functools.cache
def driver():
    library = ctypes.CDLL("libcuda.so.1")
    library.fake_cuda_covers.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    return library


def require_driver():
    if not driver().fake_cuda_live(b"driver"):
        raise SystemError("Segmentation fault: cuInit was not called before TensorRT was used")


def require_context():
    require_driver()
    current = ctypes.c_void_p()
    driver().cuCtxGetCurrent(ctypes.byref(current))
    if not current:
        raise SystemError("Segmentation fault: no CUDA context is current on this thread")


def compute_capability():
    return os.environ.get("FAKE_CUDA_CC") or "8.6"
