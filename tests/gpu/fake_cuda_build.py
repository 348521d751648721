"""Builds the fake CUDA driver, so that the code for a GPU runs without one.

The real pycuda is compiled against a fake driver library (`fake_cuda`), whose memory is host memory
and whose kernels are the project's own, compiled as C++. A fake TensorRT (`fake_tensorrt`) runs
networks on the CPU. Only the hardware's interface is fake; everything above it is real.

Requires the Debian packages g++ and python3-dev (Python.h and pyconfig.h), and pip.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
FAKE_CUDA = HERE / "fake_cuda"
FAKE_TENSORRT = HERE / "fake_tensorrt"
KERNELS = HERE.parent.parent / "installation" / "inference"

PYCUDA = (
    "pycuda==2026.1 --hash=sha256:759516160628ba06f32ce7e563e3f5b9214691dc9528a03ea99ea1073f4e14ba"
)
# Always these headers, whatever toolkit is installed: they list the functions of the driver.
HEADERS = (
    "nvidia-cuda-runtime==13.0.96"
    " --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548"
)
# The real compiler of kernels: it needs no GPU.
NVRTC = "nvidia-cuda-nvrtc==13.0.88"
# A header that pycuda includes, from another package.
PROFILER = """
typedef enum CUoutput_mode_enum { CU_OUT_KEY_VALUE_PAIR, CU_OUT_CSV } CUoutput_mode;
extern "C" CUresult cuProfilerInitialize(const char *, const char *, CUoutput_mode);
extern "C" CUresult cuProfilerStart(void);
extern "C" CUresult cuProfilerStop(void);
"""
NEEDS = ("mako", "platformdirs", "pytools")

_PYCUDA_FLAGS = ("-O0", "-g0", "-w")
_PYCUDA_MACROS = {
    "BOOST_ALL_NO_LIB": 1,
    "BOOST_MULTI_INDEX_DISABLE_SERIALIZATION": 1,
    "BOOST_PYTHON_SOURCE": 1,
    "BOOST_THREAD_BUILD_DLL": 1,
    "BOOST_THREAD_DONT_USE_CHRONO": 1,
    "PYGPU_PACKAGE": "pycuda",
    "PYGPU_PYCUDA": 1,
    "boost": "pycudaboost",
}
_BOOST_PARTS = ("python", "smart_ptr", "system")
_STUB_FLAGS = ("-xc", "-O1", "-w")
_DRIVER_FLAGS = ("-std=c++17", "-O2", "-g", "-Wall", "-Wextra", "-Wno-unknown-pragmas")


class FakeBuildError(RuntimeError):
    """The fakes cannot be built here; one line says why."""


def default_folder() -> Path:
    """Return where the fakes are cached between test runs."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "installation-fake-cuda"


def prepare(folder: Path) -> dict[str, str]:
    """Build the fakes, unless they are cached.

    Parameters
    ----------
    folder
        The cache; several processes may use it at once.

    Returns
    -------
    dict
        Environment variables with which a subprocess uses the fakes and pycuda.

    Raises
    ------
    FakeBuildError
        A compiler, headers or packages are missing.
    """
    _check_tools()
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left_over in folder.glob(".new-*"):
            shutil.rmtree(left_over)
        headers = _once(folder, "headers", [HEADERS, PROFILER], _fetch_headers)
        pycuda = _once(
            folder,
            "pycuda",
            # An extension built with one major version of NumPy does not load with another.
            [PYCUDA, HEADERS, _PYCUDA_FLAGS, sysconfig.get_config_var("SOABI"), np.__version__[0]],
            lambda new: _build_pycuda(new, headers),
        )
        library = _once(
            folder,
            "driver",
            [HEADERS, _DRIVER_FLAGS, platform.machine()]
            + [path.read_text(encoding="utf-8") for path in _fake_cuda_sources()],
            lambda new: _build_driver(new, headers),
        )
        compiler = _once(
            folder,
            "nvrtc",
            [NVRTC],
            lambda new: _pip("install", "-q", "--no-deps", "--target", new, NVRTC),
        )
    return {
        "LD_LIBRARY_PATH": _before("LD_LIBRARY_PATH", library),
        "PYTHONPATH": _before("PYTHONPATH", FAKE_TENSORRT, pycuda, compiler),
    }


def _before(variable: str, *folders: Path) -> str:
    """Return a search path with some folders before the current ones."""
    return os.pathsep.join([*map(str, folders), *filter(None, [os.environ.get(variable)])])


def _check_tools() -> None:
    if shutil.which("g++") is None:
        raise FakeBuildError("g++ is missing; install it: apt-get install g++ python3-dev")
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").exists():
        raise FakeBuildError(
            f"{include}/Python.h is missing; install it: apt-get install python3-dev"
        )


def _once(folder: Path, name: str, ingredients: list, make: Callable[[Path], None]) -> Path:
    """Build a folder under another name, and rename it when it is complete."""
    digest = hashlib.sha256(repr(ingredients).encode()).hexdigest()
    target = folder / f"{name}-{digest[:16]}"
    if not target.exists():
        new = Path(tempfile.mkdtemp(dir=folder, prefix=".new-"))
        try:
            make(new)
            new.rename(target)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return target


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "rror" in line]
        reason = lines[0] if lines else done.stderr.strip() or "no reason given"
        raise FakeBuildError(f"{' '.join(map(str, command[:4]))} ...: {reason}")


def _pip(*arguments: str | Path) -> None:
    _run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments)


def _download(pin: str, folder: Path, *options: str) -> Path:
    requirement = folder / "requirement.txt"
    requirement.write_text(pin, encoding="utf-8")
    _pip("download", "--no-deps", "--require-hashes", *options, "-d", folder, "-r", requirement)
    requirement.unlink()
    (found,) = folder.iterdir()
    return found


def _fetch_headers(new: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        # The same wheel on every machine: the header does not depend on the CPU.
        only = ("--only-binary=:all:", "--platform=manylinux2014_x86_64")
        with zipfile.ZipFile(_download(HEADERS, Path(scratch), *only)) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith("/cuda.h"))
            (new / "cuda.h").write_bytes(wheel.read(name))
    (new / "cudaProfiler.h").write_text(PROFILER, encoding="utf-8")


def _write_stubs(headers: Path, target: Path) -> None:
    """Write C stubs of all functions in the headers; the fake's own definitions override them."""
    text = "".join(path.read_text(encoding="utf-8") for path in headers.iterdir())
    names = re.findall(r"\bcu[A-Z]\w*\b", text)
    stub = "__attribute__((weak)) int {}(void) {{ return 34; /* CUDA_ERROR_STUB_LIBRARY */ }}\n"
    target.write_text("".join(map(stub.format, sorted(set(names)))), encoding="utf-8")


def _compile(sources: Iterable[Path], flags: Iterable[str], folder: Path) -> list[Path]:
    """Compile files in parallel; those that take longest should be first."""
    objects = Path(tempfile.mkdtemp(dir=folder))

    def compile_one(numbered: tuple[int, Path]) -> Path:
        number, source = numbered
        target = objects / f"{number}.o"
        _run("g++", "-c", "-fPIC", *flags, source, "-o", target)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, enumerate(sources)))


def _link(objects: Iterable[Path], target: Path, *flags: str) -> None:
    _run("g++", "-shared", *objects, "-o", target, *flags)


def _build_pycuda(new: Path, headers: Path) -> None:
    # pycuda's own setup compiles one file after the other and requires a toolkit with a driver
    # library; it does little else.
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        (work / "download").mkdir()
        archive = _download(PYCUDA, work / "download", "--no-binary=pycuda")
        _run("tar", "-xzf", archive, cwd=work)
        (source,) = work.glob("pycuda-*")
        boost = source / "bpl-subset" / "bpl_subset"
        (boost / "pycudaboost").symlink_to("boost")
        flags = [
            *_PYCUDA_FLAGS,
            *(f"-D{name}={value}" for name, value in _PYCUDA_MACROS.items()),
            *(f"-I{folder}" for folder in (source / "src" / "cpp", boost, headers)),
            *(f"-I{sysconfig.get_path(kind)}" for kind in ("include", "platinclude")),
            f"-I{np.get_include()}",
        ]
        wrapper, libraries = source / "src" / "wrapper", boost / "libs"
        driver = [
            *(wrapper / "wrap_cudadrv.cpp", wrapper / "mempool.cpp"),
            *(source / "src" / "cpp").glob("*.cpp"),
            *(libraries / "thread" / "src" / "pthread").glob("*.cpp"),
            *(path for name in _BOOST_PARTS for path in (libraries / name).rglob("*.cpp")),
        ]
        objects = _compile([*driver, wrapper / "_pvt_struct_v3.cpp"], flags, work)

        # Linked against a driver library of stubs only: the one in use is found at run time.
        _write_stubs(headers, work / "stubs.c")
        stubs = _compile([work / "stubs.c"], _STUB_FLAGS, work)
        _link(stubs, work / "libcuda.so", "-Wl,-soname,libcuda.so.1")

        package = new / "pycuda"
        shutil.copytree(source / "pycuda", package)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        _link(objects[:-1], package / f"_driver{suffix}", "-s", f"-L{work}", "-lcuda")
        _link(objects[-1:], package / f"_pvt_struct{suffix}", "-s")
        # Tells importlib.metadata the version.
        shutil.copytree(source / "pycuda.egg-info", new / "pycuda.egg-info")
    _pip("install", "-q", "--target", new, *NEEDS)


def _fake_cuda_sources() -> list[Path]:
    """Return all source files of the fake driver."""
    return sorted(
        path
        for folder in (FAKE_CUDA, KERNELS)
        for path in folder.iterdir()
        if path.suffix in {".cpp", ".cu", ".h"}
    )


def _build_driver(new: Path, headers: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        _write_stubs(headers, work / "stubs.c")
        includes = (f"-I{headers}", f"-I{FAKE_CUDA}", f"-I{KERNELS}", "-fvisibility=hidden")
        objects = [
            *_compile(sorted(FAKE_CUDA.glob("*.cpp")), [*_DRIVER_FLAGS, *includes], work),
            *_compile([work / "stubs.c"], _STUB_FLAGS, work),
        ]
        _link(objects, new / "libcuda.so.1", "-Wl,-soname,libcuda.so.1", "-pthread")
