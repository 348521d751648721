"""Compile CUDA source for one card, with NVIDIA's run-time compiler (NVRTC, its manual, 13.0).

Compiled on the machine it runs on, because older drivers refuse what newer compilers make.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from installation.errors import InstallationError

_SONAMES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2")


class CompilerError(InstallationError):
    """NVRTC is not there, or refused the source."""


def _places() -> Iterator[str]:
    """Yield where NVRTC may be: the loader's sight, the toolkit, Python packages of NVIDIA's."""
    spec = importlib.util.find_spec("nvidia")
    packages = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for soname in _SONAMES:
        yield soname
        yield f"/usr/local/cuda/lib64/{soname}"
        for package in packages:
            yield from (str(path) for path in sorted(package.glob(f"*/lib/{soname}")))


def _libraries(cuda: int) -> Iterator[ctypes.CDLL]:
    """Yield the compilers that are here, first those no newer than the driver."""
    for place in sorted(_places(), key=lambda each: int(each.split(".so.")[1][:2]) > cuda):
        try:
            # NVIDIA's Python packages leave it to others to find what it needs beside it.
            for part in sorted(Path(place).parent.glob("libnvrtc-builtins.so.*")):
                ctypes.CDLL(str(part))
            yield ctypes.CDLL(place)
        except OSError:
            continue


def compile_source(source: str, compute_capability: int, cuda: int) -> Iterator[bytes]:
    """Compile CUDA C++ to a cubin, with each compiler that is here until one will do.

    Parameters
    ----------
    source
        Self-contained; nothing is included from elsewhere.
    compute_capability
        Of the card: 86 for ``sm_86``.
    cuda
        Major version of CUDA that the driver speaks: it may not load what newer compilers make,
        so they come last.

    Yields
    ------
    bytes
        What ``cuModuleLoadData`` takes, for cards of that kind alone.

    Raises
    ------
    CompilerError
        NVRTC is missing, or none that is here knows the card or likes the source.
    """
    refused = CompilerError(
        "the CUDA compiler NVRTC is not installed: pip install nvidia-cuda-nvrtc"
    )
    yielded = False
    for library in _libraries(cuda):
        try:
            cubin = _compile(library, source, f"--gpu-architecture=sm_{compute_capability}")
        except CompilerError as error:
            refused = error
        else:
            yielded = True
            yield cubin
    if not yielded:
        raise refused


def _compile(nvrtc: ctypes.CDLL, source: str, option: str) -> bytes:
    nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
    program = ctypes.c_void_p()

    def check(code: int) -> None:
        if code:
            words = nvrtc.nvrtcGetErrorString(code).decode(errors="replace")
            raise CompilerError(f"NVRTC refused the kernels: {words}{_log(nvrtc, program)}")

    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), None, 0, None, None))
    try:
        options = (ctypes.c_char_p * 1)(option.encode())
        check(nvrtc.nvrtcCompileProgram(program, len(options), options))
        size = ctypes.c_size_t()
        check(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)))
        cubin = ctypes.create_string_buffer(size.value)
        check(nvrtc.nvrtcGetCUBIN(program, cubin))
        return cubin.raw
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _log(nvrtc: ctypes.CDLL, program: ctypes.c_void_p) -> str:
    size = ctypes.c_size_t()
    if not program or nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)):
        return ""
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    return "".join(f" {word}" for word in log.value.decode(errors="replace").split())
