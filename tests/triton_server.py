"""A real Triton Inference Server, from its wheel, in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.ports import free_port

# Made by setup.sh: the server wants other versions of packages than we do.
ENVIRONMENT = ROOT / ".venv-triton"
# Far beyond what it takes, on the slowest of machines.
LONG = 300.0

needs_triton = pytest.mark.skipif(
    not (ENVIRONMENT / ".installed").exists(), reason="no Triton here; ./setup.sh test fetches it"
)


# Appended to the server's module for models where they use NumPy 2, which its own conversions, made
# for NumPy 1, read as empty arrays. DLPack is the same for both.
_BY_DLPACK = """
import c_python_backend_utils as _native

_Tensor = _native.Tensor
_Tensor.as_numpy = lambda tensor: np.from_dlpack(tensor).copy()
_native.Tensor = lambda name, array: _Tensor.from_dlpack(name, np.ascontiguousarray(array))
"""


class Triton:
    """A server; started, and gone with `close`.

    Parameters
    ----------
    repository
        Its models.
    folder
        For its log and what it is put together from.
    options
        More of them, for its command line.
    authority
        Who vouches for it, where it is spoken to encrypted.
    """

    def __init__(self, repository, folder, *options, authority=None):
        self.port, self.metrics_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log = folder / "triton.log"
        self._authority = authority
        (self._packages,) = (ENVIRONMENT / "lib").glob("python3.*/site-packages")
        self._libraries = self._packages / "nvidia_pytriton.libs"
        backends = self._backends(folder / "backends")
        # The first folder has what replaces a library of the second.
        self._library_path = f"{backends / 'python'}:{self._libraries}"
        self._command = [
            self._packages / "pytriton/tritonserver/bin/tritonserver",
            f"--model-repository={repository}",
            f"--backend-directory={backends}",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self.port}",
            "--allow-http=false",
            f"--metrics-port={self.metrics_port}",
            "--metrics-address=127.0.0.1",
            "--exit-on-error=false",
            "--exit-timeout-secs=2",
            *options,
        ]
        self.process = None
        self.start()

    def _backends(self, folder):
        """Lay its one backend out as it looks for it, with the helper for this Python."""
        pytriton = self._packages / "pytriton/tritonserver"
        python = folder / "python"
        if not python.exists():
            shutil.copytree(pytriton / "backends/python", python)
            version = self._packages.parent.name.removeprefix("python")
            stub = pytriton / "python_backend_stubs" / version / "triton_python_backend_stub"
            Path(shutil.copy(stub, python)).chmod(0o755)
            self._use_system_library(python, version)
            if list(self._packages.glob("numpy-2.*")):
                with (python / "triton_python_backend_utils.py").open("a") as utilities:
                    utilities.write(_BY_DLPACK)
        return folder

    def _use_system_library(self, folder, version):
        """Replace the Python library that the wheel has for some versions by the system's.

        Debian builds modules such as ``math`` into its library, and has no files for them that
        another library could load.
        """
        code = "from sysconfig import get_config_var as g; print(g('LIBDIR'), g('INSTSONAME'))"
        asked = subprocess.run(
            [ENVIRONMENT / "bin/python", "-c", code], capture_output=True, text=True, check=True
        )
        system = Path(*asked.stdout.split())
        for bundled in self._libraries.glob(f"libpython3*{version[1:]}.so*"):
            (folder / bundled.name).symlink_to(system)

    def start(self):
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                env=os.environ
                | {
                    # By which the Python inside it finds its library: Debian's, as it is linked to.
                    "PATH": f"{ENVIRONMENT / 'bin'}:/usr/bin:/bin",
                    "PYTHONPATH": str(self._packages),
                    "LD_LIBRARY_PATH": self._library_path,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + LONG
        while not self._ready():
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")[-3000:]
            time.sleep(0.1)

    def _ready(self):
        # Asked for by a process of its own: gRPC and forks do not mix well.
        code = (
            "import sys; from tritonclient.grpc import InferenceServerClient as C\n"
            "address, *ca = sys.argv[1:]\n"
            "client = C(address, ssl=bool(ca), root_certificates=ca[0] if ca else None)\n"
            "try: sys.exit(not client.is_server_ready(client_timeout=10))\n"
            "except Exception: sys.exit(1)"
        )
        asked = [sys.executable, "-c", code, self.address]
        asked += [self._authority] if self._authority else []
        return subprocess.run(asked, stderr=subprocess.DEVNULL).returncode == 0

    def send(self, number):
        """Send a signal to it and to the processes its models run in."""
        os.killpg(self.process.pid, number)

    def kill(self):
        """End it at once."""
        if self.process.poll() is None:
            self.send(signal.SIGKILL)
        self.process.wait()

    close = kill


# Appended to a model: how it is minded is written in a file.
_MOODS = """
import time

_Good = TritonPythonModel


class TritonPythonModel(_Good):
    last = None

    def execute(self, requests):
        mood = Path({mood!r})
        while mood.read_text() == "slow":
            time.sleep(0.02)
        if mood.read_text() == "slow for many":
            pixels = [server.get_input_tensor_by_name(each, "pixels") for each in requests]
            time.sleep(sum(len(each.as_numpy()) > 1 for each in pixels) * 1.0)
        if mood.read_text() == "error":
            raise RuntimeError("out of memory")
        if mood.read_text() == "sluggish":
            time.sleep(0.15)
        return super().execute(requests)

    def _response(self, parts):
        answer = super()._response(parts)
        tensors = {{each.name(): each.as_numpy().copy() for each in answer.output_tensors()}}
        before = self.last = self.last or tensors
        mood, (name, *_) = Path({mood!r}).read_text(), self._names
        if mood == "nan":
            tensors[name][:] = np.nan
        elif mood == "short":
            tensors[name] = tensors[name][:, :-1]
        elif mood == "halved":
            tensors[name] = tensors[name] / 2
        elif mood == "shifted":
            tensors[name] = np.roll(tensors[name], 7, 1)
        elif mood == "integers":
            tensors["checksum"] = tensors["checksum"] + 1
        elif mood == "stale":
            tensors = before
        return server.InferenceResponse([server.Tensor(*each) for each in tensors.items()])
"""


def mind(repository, mood):
    """Let the models in a repository behave as a file says; "well" is how they would."""
    mood.write_text("well")
    for model in repository.glob("*/*/model.py"):
        with model.open("a") as code:
            code.write(_MOODS.format(mood=str(mood)))


if __name__ == "__main__":
    # By hand: python -m tests.triton_server REPOSITORY FOLDER
    server = Triton(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
    print(server.address, flush=True)
    server.process.wait()
