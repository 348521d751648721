"""GPU or CPU: which is taken, and what a technician reads when it is not the one hoped for."""

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

NAMES = ("face-centerface", "person-semantic")


@pytest.fixture
def place(built, tmp_path):
    """A folder with a config and engines whose plans are its own."""
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
def command(place, equipment):
    """Run a command where the stand-in is the GPU; returns status, output and errors."""

    def run(*arguments, **environment):
        done = subprocess.run(
            [sys.executable, "-m", "installation", *arguments],
            cwd=place,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | joined(equipment) | environment,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    return run


def joined(equipment):
    return equipment | {"PYTHONPATH": f"{ROOT}:{equipment['PYTHONPATH']}"}


DEMO = ("demo", "--headless", "--frames", "3", "--output", "out.png")


def test_auto_takes_the_gpu_and_says_so(command):
    done = command(*DEMO)
    assert done.returncode == 0, done.stderr
    assert (
        "INFO inference on the GPU NVIDIA Stand-in (sm_86, CUDA 13.0), TensorRT 10.3.0, fp16"
        in done.stderr.splitlines()
    )
    assert done.stderr.count("inference on") == 1


def test_plans_are_built_once(command, place):
    first, second = command(*DEMO), command(*DEMO)
    assert first.stderr.count("building a plan for NVIDIA Stand-in") == 2
    assert "building" not in second.stderr
    listed = command("engines", "list").stdout
    assert "face-centerface-sm_86.tensorrt.plan" in listed
    assert "GPU NVIDIA Stand-in (sm_86, CUDA 13.0), TensorRT 10.3.0" in listed
    assert command("engines", "verify").returncode == 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"STANDIN_DRIVER": "13010"}, "built with driver CUDA 13.0, now CUDA 13.1"),
        ({"STANDIN_NAME": "NVIDIA Other"}, "built for NVIDIA Stand-in, this GPU is NVIDIA Other"),
        ({"STANDIN_TENSORRT": "10.13.0"}, "built by version 10.3.0 of TensorRT, now 10.13.0"),
        ({"STANDIN_CC": "8.9"}, "not built for sm_89 yet"),
    ],
)
def test_a_changed_machine_repairs_itself(command, changed, reason):
    command("engines", "build")
    verified = command("engines", "verify", **changed)
    assert verified.returncode == 1
    assert f"will be built: {reason}" in verified.stdout
    run = command(*DEMO, **changed)
    assert run.returncode == 0, run.stderr
    assert (
        run.stderr.count(
            f"building a plan for {changed.get('STANDIN_NAME', 'NVIDIA Stand-in')}: {reason}"
        )
        == 2
    )
    assert command("engines", "verify", **changed).returncode == 0


@pytest.mark.parametrize(
    ("environment", "level", "reason"),
    [
        ({"STANDIN_DEVICES": "0"}, "INFO", "the NVIDIA driver finds no GPU"),
        ({"STANDIN_INIT": "34"}, "INFO", "the NVIDIA driver library is only a stub for compiling"),
        # There is something to mend.
        ({"STANDIN_INIT": "35"}, "WARNING", "driver is too old for the installed libraries"),
        ({"STANDIN_INIT": "803"}, "WARNING", "was updated but is not loaded yet; restart"),
        ({"STANDIN_INIT": "999"}, "WARNING", "the NVIDIA driver does not work (cuInit: "),
    ],
)
def test_without_a_working_gpu_the_cpu_is_taken_and_the_reason_said(
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


def test_asked_for_by_name_a_missing_gpu_is_an_error(command, place, picture):
    configure(place, "gpu")
    done = command("classify", picture.name, STANDIN_DEVICES="0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "installation: inference.device is gpu, but the NVIDIA driver finds no GPU\n"
    )
    assert command("engines", "verify", STANDIN_DEVICES="0").returncode == 1


def test_asked_for_by_name_the_cpu_is_taken(command, place, picture):
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
            {"STANDIN_DRIVER": "12020"},
            "needs a driver for CUDA 13; the installed one is older (CUDA 12.2)",
        ),
        (
            "sys.modules['tensorrt'] = None",
            {"STANDIN_CC": "9.0", "STANDIN_NAME": "NVIDIA H200"},
            "does not support NVIDIA H200 (sm_90)",
        ),
        (
            "sys.modules['tensorrt_rtx'] = None",
            {"STANDIN_TENSORRT": "8.5.3"},
            "TensorRT 8.5.3 is too old; 8.6 or newer is needed",
        ),
        (
            "sys.modules['tensorrt'] = sys.modules['tensorrt_rtx'] = None",
            {},
            "TensorRT is not installed",
        ),
    ],
)
def test_what_does_not_agree_is_named(rehearse, setup, environment, reason):
    said = rehearse(REFUSED.format(setup=setup), PYTHONPATH=path_with_root(), **environment)
    assert reason in said
    assert said.count("\n") == 1


def path_with_root():
    from tests.gpu.fake_cuda_build import default_folder, prepare

    return joined(prepare(default_folder()))["PYTHONPATH"]


def test_answers_are_those_of_the_cpu(command, place, picture):
    on_gpu = json.loads(command("classify", "--json", picture.name).stdout)
    configure(place, "cpu")
    on_cpu = json.loads(command("classify", "--json", picture.name).stdout)
    first = [reading["faces"][0]["labels"][0]["wnid"] for reading in (on_gpu, on_cpu)]
    assert first[0] == first[1]
    for ours, theirs in zip(on_gpu["faces"][0]["box"], on_cpu["faces"][0]["box"], strict=True):
        assert abs(ours - theirs) < 3


def test_a_failure_ends_the_run_and_three_of_them_put_the_gpu_aside(command):
    command("engines", "build")
    breaks = {"STANDIN_FAIL": "cuGraphLaunch:4:700"}
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
    verified = command("engines", "verify")
    assert verified.returncode == 1
    assert "the GPU failed 3 times within the last hour" in verified.stdout
    assert "used again in" in verified.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_end_is_no_failure(place, equipment, crowd_film, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "installation", "trace", str(crowd_film)],
        cwd=place,
        env=os.environ | joined(equipment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=600)
    assert process.returncode == 128 + number
    assert json.loads((place / "built" / "plans" / "gpu.json").read_text()) == []


def test_a_tensorrt_that_cannot_be_loaded_leaves_the_cpu(rehearse, tmp_path):
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: no such file')")
    (tmp_path / "tensorrt_rtx.py").write_text("raise RuntimeError('of another time')")
    path = f"{tmp_path}:{path_with_root()}"
    said = rehearse(REFUSED.format(setup=""), PYTHONPATH=path)
    assert "tensorrt cannot be imported (libnvinfer.so.10: no such file)" in said
    assert "tensorrt_rtx cannot be imported (of another time)" in said


def test_a_plan_that_tensorrt_refuses_is_built_again_next_time(command, place):
    command("engines", "build")
    plan = place / "built" / "plans" / "face-centerface-sm_86.tensorrt.plan"
    description, content = read_checksummed(plan)
    write_checksummed(plan, description, content[:100])
    first, second = command(*DEMO), command(*DEMO)
    assert first.returncode == second.returncode == 0
    assert "WARNING inference on the CPU: TensorRT rejected the plan: " in first.stderr
    assert second.stderr.count("building a plan") == 1
    assert "inference on the GPU" in second.stderr


def test_a_runtime_that_does_not_start_leaves_the_cpu(command, place, equipment):
    """As the bindings do: by a TypeError."""
    command("engines", "build")
    (place / "sitecustomize.py").write_text(
        "import sys, importlib.abc, importlib.util\n"
        "import tensorrt\n"
        "def fail(*_): raise TypeError('factory function returned nullptr')\n"
        "tensorrt.Runtime = fail\n"
    )
    path = f"{place}:{joined(equipment)['PYTHONPATH']}"
    done = command(*DEMO, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "inference on the CPU: TensorRT cannot work: factory function" in done.stderr


def test_a_plan_that_cannot_be_built_leaves_the_cpu(command):
    done = command(*DEMO, STANDIN_TENSORRT_FAIL="99")
    assert done.returncode == 0, done.stderr
    assert "WARNING inference on the CPU: TensorRT 10.3.0 cannot build a plan: " in done.stderr


def test_too_little_memory_at_first_is_no_obstacle(command):
    done = command(*DEMO, STANDIN_TENSORRT_FAIL="1")
    assert "inference on the GPU" in done.stderr


@pytest.mark.parametrize("version", ["8.6.1", "10.16.0", "11.0.0"])
def test_every_version_of_tensorrt_has_the_same_way(command, version):
    done = command(*DEMO, STANDIN_TENSORRT=version)
    assert done.returncode == 0, done.stderr
    assert f"TensorRT {version}, fp16" in done.stderr


@pytest.mark.parametrize(("precision", "version"), [("fp32", "10.16.0"), ("int8", "8.6.1")])
def test_other_precisions_run_too(command, crowd, place, version, precision):
    (place / "photographs").mkdir()
    for number in range(8):
        cv2.imwrite(str(place / "photographs" / f"{number}.png"), crowd.paint(6.0 + number))
    more = ["--calibrate", "photographs", "--yes"] if precision == "int8" else []
    build = ["engines", "build", "--precision", precision, *more]
    assert command(*build, STANDIN_TENSORRT=version).returncode == 0
    done = command(*DEMO, STANDIN_TENSORRT=version)
    assert done.returncode == 0, done.stderr
    assert f"TensorRT {version}, {precision}" in done.stderr


def test_a_truncated_plan_never_reaches_tensorrt(command, place):
    command("engines", "build")
    plan = place / "built" / "plans" / "face-centerface-sm_86.tensorrt.plan"
    plan.write_bytes(plan.read_bytes()[:1000])
    assert "face-centerface-sm_86.tensorrt.plan damaged" in " ".join(
        command("engines", "verify").stdout.split()
    )
    done = command(*DEMO)
    assert done.stderr.count("building a plan for NVIDIA Stand-in: damaged") == 1
    assert "inference on the GPU" in done.stderr
