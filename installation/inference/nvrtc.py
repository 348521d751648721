"""Compile CUDA source for one GPU with NVIDIA's run-time compiler (NVRTC, manual of version 13.0).

The kernels are compiled on the machine they run on, because older drivers reject the output of
newer compilers.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from installation.errors import InstallationError

_SONAMES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2")


class CompilerError(InstallationError):
    """NVRTC is not installed, or cannot compile the source."""


def _library_paths() -> Iterator[str]:
    """Yield where NVRTC may be: the loader's search path, the CUDA toolkit, NVIDIA's packages."""
    spec = importlib.util.find_spec("nvidia")
    packages = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    for soname in _SONAMES:
        yield soname
        yield f"/usr/local/cuda/lib64/{soname}"
        for package in packages:
            yield from (str(path) for path in sorted(package.glob(f"*/lib/{soname}")))


def _libraries(cuda: int) -> Iterator[ctypes.CDLL]:
    """Yield the installed compilers, those no newer than the driver first."""
    for path in sorted(_library_paths(), key=lambda each: int(each.split(".so.")[1][:2]) > cuda):
        try:
            # NVRTC in NVIDIA's Python packages does not find the library beside it by itself.
            for part in sorted(Path(path).parent.glob("libnvrtc-builtins.so.*")):
                ctypes.CDLL(str(part))
            yield ctypes.CDLL(path)
        except OSError:
            continue


def compile_source(source: str, compute_capability: int, cuda: int) -> Iterator[bytes]:
    """Compile CUDA C++ to a cubin with each installed compiler in turn.

    Parameters
    ----------
    source
        CUDA C++ without includes.
    compute_capability
        Of the GPU: 86 for ``sm_86``.
    cuda
        Major CUDA version that the driver supports. Newer compilers are tried last, because the
        driver may not load their output.

    Yields
    ------
    bytes
        A cubin for ``cuModuleLoadData``, for that compute capability only.

    Raises
    ------
    CompilerError
        NVRTC is missing, or no installed NVRTC can compile the source for this GPU.
    """
    failure = CompilerError(
        "the CUDA compiler NVRTC is not installed: pip install nvidia-cuda-nvrtc"
    )
    yielded = False
    for library in _libraries(cuda):
        try:
            cubin = _compile(library, source, f"--gpu-architecture=sm_{compute_capability}")
        except CompilerError as error:
            failure = error
        else:
            yielded = True
            yield cubin
    if not yielded:
        raise failure


def _compile(nvrtc: ctypes.CDLL, source: str, option: str) -> bytes:
    nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
    program = ctypes.c_void_p()

    def check(code: int) -> None:
        if code:
            reason = nvrtc.nvrtcGetErrorString(code).decode(errors="replace")
            raise CompilerError(f"NVRTC cannot compile the kernels: {reason}{_log(nvrtc, program)}")

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
