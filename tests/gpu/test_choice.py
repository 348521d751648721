"""GPU or CPU: which one is used, and what a technician reads if it is not the expected one."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys

import cv2
import pytest

from engines.checksummed_file import read_checksummed, write_checksummed
from tests.paths import ROOT

pytestmark = pytest.mark.endurance

NAMES = ("face-centerface", "person-semantic")


@pytest.fixture
def place(built, tmp_path):
    """A folder with a config, and with engines and plans of its own."""
    engines = tmp_path / "built"
    engines.mkdir()
    for name in (*NAMES, "demo-visitors", "person-glosses", "wheels"):
        (engines / name).symlink_to(built / name)
    configure(tmp_path, "auto")
    return tmp_path


def configure(place, device):
    (place / "config.yaml").write_text(f"inference:\n  device: {device}\n  engines: built\n")


@pytest.fixture
def picture(place, hopper):
    cv2.imwrite(str(place / "hopper.png"), hopper)
    return place / "hopper.png"


@pytest.fixture
def command(place, fakes):
    """Run a command on the fakes; return status, output and errors."""

    def run(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "installation", *arguments],
            cwd=place,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | joined(fakes) | environment,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    return run


def joined(fakes):
    return fakes | {"PYTHONPATH": f"{ROOT}:{fakes['PYTHONPATH']}"}


DEMO = ("demo", "--headless", "--frames", "3", "--output", "out.png")


def test_auto_uses_the_gpu_and_logs_it(command):
    done = command(*DEMO)
    assert done.returncode == 0, done.stderr
    assert (
        "INFO inference on the GPU NVIDIA Fake (sm_86, CUDA 13.0), TensorRT 10.3.0, fp16"
        in done.stderr.splitlines()
    )
    assert done.stderr.count("inference on") == 1


def test_plans_are_built_once(command, place):
    first, second = command(*DEMO), command(*DEMO)
    assert first.stderr.count("building a plan for NVIDIA Fake") == 2
    assert "building" not in second.stderr
    listed = command("engines", "list").stdout
    assert "face-centerface-sm_86.tensorrt.plan" in listed
    assert "GPU NVIDIA Fake (sm_86, CUDA 13.0), TensorRT 10.3.0" in listed
    assert command("engines", "list", "--check").returncode == 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"FAKE_CUDA_DRIVER": "13010"}, "built with driver CUDA 13.0, now CUDA 13.1"),
        ({"FAKE_CUDA_NAME": "NVIDIA Other"}, "built for NVIDIA Fake, this GPU is NVIDIA Other"),
        ({"FAKE_TENSORRT_VERSION": "10.13.0"}, "built by version 10.3.0 of TensorRT, now 10.13.0"),
        ({"FAKE_CUDA_CC": "8.9"}, "not built for sm_89 yet"),
    ],
)
def test_a_changed_machine_repairs_itself(command, changed, reason):
    command("engines", "build")
    verified = command("engines", "list", "--check", **changed)
    assert verified.returncode == 1
    assert f"will be built: {reason}" in verified.stdout
    run = command(*DEMO, **changed)
    assert run.returncode == 0, run.stderr
    assert (
        run.stderr.count(
            f"building a plan for {changed.get('FAKE_CUDA_NAME', 'NVIDIA Fake')}: {reason}"
        )
        == 2
    )
    assert command("engines", "list", "--check", **changed).returncode == 0


@pytest.mark.parametrize(
    ("environment", "level", "reason"),
    [
        ({"FAKE_CUDA_DEVICES": "0"}, "INFO", "the NVIDIA driver finds no GPU"),
        (
            {"FAKE_CUDA_INIT": "34"},
            "INFO",
            "the NVIDIA driver library is only a stub for compiling",
        ),
        # There is something to mend.
        ({"FAKE_CUDA_INIT": "35"}, "WARNING", "driver is too old for the installed libraries"),
        ({"FAKE_CUDA_INIT": "803"}, "WARNING", "was updated but is not loaded yet; restart"),
        ({"FAKE_CUDA_INIT": "999"}, "WARNING", "the NVIDIA driver does not work (cuInit: "),
    ],
)
def test_without_a_working_gpu_the_cpu_is_used_and_the_reason_logged(
    command, environment, level, reason
):
    done = command(*DEMO, **environment)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if "inference on the CPU: " in line)
    assert line.startswith(level) and reason in line
    assert reason in command("engines", "list", **environment).stdout


def test_no_driver_at_all(place):
    with contextlib.suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        pytest.skip("a driver is installed here")
    done = subprocess.run(
        [sys.executable, "-m", "installation", *DEMO],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "on the CPU: no NVIDIA driver is installed (libcuda.so.1 not found)" in done.stderr


def test_a_configured_gpu_that_is_missing_is_an_error(command, place, picture):
    configure(place, "gpu")
    done = command("classify", picture.name, FAKE_CUDA_DEVICES="0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "installation: inference.device is gpu, but the NVIDIA driver finds no GPU\n"
    )
    assert command("engines", "list", "--check", FAKE_CUDA_DEVICES="0").returncode == 1


def test_a_configured_cpu_is_used(command, place, picture):
    configure(place, "cpu")
    assert "inference.device is cpu" in command(*DEMO).stderr
    done = command("classify", picture.name)
    assert (done.returncode, done.stderr) == (0, "")


REFUSED = """
import sys
{setup}
from installation.inference.open_engines import NoGpuError, find_gpu
try:
    find_gpu()
except NoGpuError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("setup", "environment", "reason"),
    [
        ("sys.modules['pycuda'] = None", {}, "pycuda is not installed"),
        (
            "sys.modules['tensorrt'] = None",
            {"FAKE_CUDA_DRIVER": "12020"},
            "needs a driver for CUDA 13; the installed one is older (CUDA 12.2)",
        ),
        (
            "sys.modules['tensorrt'] = None",
            {"FAKE_CUDA_CC": "9.0", "FAKE_CUDA_NAME": "NVIDIA H200"},
            "does not support NVIDIA H200 (sm_90)",
        ),
        (
            "sys.modules['tensorrt_rtx'] = None",
            {"FAKE_TENSORRT_VERSION": "8.5.3"},
            "TensorRT 8.5.3 is too old; 8.6 or newer is needed",
        ),
        (
            "sys.modules['tensorrt'] = sys.modules['tensorrt_rtx'] = None",
            {},
            "TensorRT is not installed",
        ),
    ],
)
def test_each_incompatibility_is_named(run_on_fakes, setup, environment, reason):
    said = run_on_fakes(REFUSED.format(setup=setup), PYTHONPATH=path_with_root(), **environment)
    assert reason in said
    assert said.count("\n") == 1


def path_with_root():
    from tests.gpu.fake_cuda_build import default_folder, prepare

    return joined(prepare(default_folder()))["PYTHONPATH"]


def test_results_equal_those_of_the_cpu(command, place, picture):
    on_gpu = json.loads(command("classify", "--json", picture.name).stdout)
    configure(place, "cpu")
    on_cpu = json.loads(command("classify", "--json", picture.name).stdout)
    first = [reading["faces"][0]["labels"][0]["wnid"] for reading in (on_gpu, on_cpu)]
    assert first[0] == first[1]
    for ours, theirs in zip(on_gpu["faces"][0]["box"], on_cpu["faces"][0]["box"], strict=True):
        assert abs(ours - theirs) < 3


def test_a_failure_ends_the_run_and_three_of_them_disable_the_gpu(command):
    command("engines", "build")
    breaks = {"FAKE_CUDA_FAIL": "cuGraphLaunch:4:700"}
    for _ in range(3):
        done = command(*DEMO[:2], "--seconds", "600", **breaks)
        assert done.returncode == 1
        (line,) = (line for line in done.stderr.splitlines() if line.startswith("installation: "))
        assert line.startswith("installation: the GPU failed while an engine ran: ")
        assert "PyCUDA" not in done.stderr
    done = command(*DEMO)
    assert done.returncode == 0
    said = (
        "WARNING inference on the CPU: the GPU failed 3 times within the last hour, most recently"
    )
    assert said in done.stderr
    verified = command("engines", "list", "--check")
    assert verified.returncode == 1
    assert "the GPU failed 3 times within the last hour" in verified.stdout
    assert "to use it again" in verified.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_exit_is_not_a_failure(place, fakes, crowd_film, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "installation", "trace", str(crowd_film)],
        cwd=place,
        env=os.environ | joined(fakes),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=600)
    assert process.returncode == 128 + number
    assert json.loads((place / "built" / "plans" / "gpu.json").read_text()) == []


def test_if_tensorrt_cannot_be_loaded_the_cpu_is_used(run_on_fakes, tmp_path):
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: no such file')")
    (tmp_path / "tensorrt_rtx.py").write_text("raise RuntimeError('of another time')")
    path = f"{tmp_path}:{path_with_root()}"
    said = run_on_fakes(REFUSED.format(setup=""), PYTHONPATH=path)
    assert "tensorrt cannot be imported (libnvinfer.so.10: no such file)" in said
    assert "tensorrt_rtx cannot be imported (of another time)" in said


def test_a_plan_that_tensorrt_rejects_is_rebuilt_next_time(command, place):
    command("engines", "build")
    plan = place / "built" / "plans" / "face-centerface-sm_86.tensorrt.plan"
    description, content = read_checksummed(plan)
    write_checksummed(plan, description, content[:100])
    first, second = command(*DEMO), command(*DEMO)
    assert first.returncode == second.returncode == 0
    assert "WARNING inference on the CPU: TensorRT rejected the plan: " in first.stderr
    assert second.stderr.count("building a plan") == 1
    assert "inference on the GPU" in second.stderr


def test_if_the_runtime_does_not_start_the_cpu_is_used(command, place, fakes):
    """The real bindings raise a TypeError."""
    command("engines", "build")
    (place / "sitecustomize.py").write_text(
        "import sys, importlib.abc, importlib.util\n"
        "import tensorrt\n"
        "def fail(*_): raise TypeError('factory function returned nullptr')\n"
        "tensorrt.Runtime = fail\n"
    )
    path = f"{place}:{joined(fakes)['PYTHONPATH']}"
    done = command(*DEMO, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "inference on the CPU: TensorRT cannot work: factory function" in done.stderr


def test_if_a_plan_cannot_be_built_the_cpu_is_used(command):
    done = command(*DEMO, FAKE_TENSORRT_FAIL="99")
    assert done.returncode == 0, done.stderr
    assert "WARNING inference on the CPU: TensorRT 10.3.0 cannot build a plan: " in done.stderr


def test_a_build_is_retried_after_running_out_of_memory(command):
    done = command(*DEMO, FAKE_TENSORRT_FAIL="1")
    assert "inference on the GPU" in done.stderr


@pytest.mark.parametrize("version", ["8.6.1", "10.16.0", "11.0.0"])
def test_every_version_of_tensorrt_works(command, version):
    done = command(*DEMO, FAKE_TENSORRT_VERSION=version)
    assert done.returncode == 0, done.stderr
    assert f"TensorRT {version}, fp16" in done.stderr


@pytest.mark.parametrize(("precision", "version"), [("fp32", "10.16.0"), ("int8", "8.6.1")])
def test_other_precisions_work(command, crowd, place, version, precision):
    (place / "photographs").mkdir()
    for number in range(8):
        cv2.imwrite(str(place / "photographs" / f"{number}.png"), crowd.paint(6.0 + number))
    more = ["--calibrate", "photographs", "--yes"] if precision == "int8" else []
    build = ["engines", "build", "--precision", precision, *more]
    assert command(*build, FAKE_TENSORRT_VERSION=version).returncode == 0
    done = command(*DEMO, FAKE_TENSORRT_VERSION=version)
    assert done.returncode == 0, done.stderr
    assert f"TensorRT {version}, {precision}" in done.stderr


def test_a_truncated_plan_never_reaches_tensorrt(command, place):
    command("engines", "build")
    plan = place / "built" / "plans" / "face-centerface-sm_86.tensorrt.plan"
    plan.write_bytes(plan.read_bytes()[:1000])
    assert "face-centerface-sm_86.tensorrt.plan damaged" in " ".join(
        command("engines", "list", "--check").stdout.split()
    )
    done = command(*DEMO)
    assert done.stderr.count("building a plan for NVIDIA Fake: damaged") == 1
    assert "inference on the GPU" in done.stderr
