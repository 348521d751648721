"""The inference benchmark on the fakes: that it runs, not what it measures."""

import json

import pytest

from tests.gpu.fake_cuda_build import default_folder, prepare

pytestmark = pytest.mark.endurance

BENCH = """
import json, sys
{setup}
from pathlib import Path
from installation.bench import inference
from installation.config.model import Inference

report = inference.measure(Inference(device="gpu", engines=Path("built")), rounds=3)
assert report.as_text().splitlines()[1].split()[:3] == ["task", "step", "ours"]
print(json.dumps(report.as_json()))
"""
FACES = (1, 4, 8, 16)
TASKS = ["detect", *(f"classify {count}" for count in FACES)]


@pytest.fixture
def bench(run_on_fakes, built, tmp_path):
    (tmp_path / "built").mkdir()
    for name in ("face-centerface", "person-semantic"):
        (tmp_path / "built" / name).symlink_to(built / name)

    def run(setup="", **environment):
        path = f"{built.parent.parent}:{prepare(default_folder())['PYTHONPATH']}"
        output = run_on_fakes(BENCH.format(setup=setup), PYTHONPATH=path, **environment)
        return json.loads(output.splitlines()[-1])

    return run


def test_every_step_is_measured_on_engine_and_baseline(bench):
    report = bench()
    assert report["device"].startswith("GPU NVIDIA Fake (sm_86")
    steps = ["preprocess", "upload", "infer", "download", "all but infer", "all"]
    assert [(row["task"], row["step"]) for row in report["rows"]] == [
        (task, step) for task in TASKS for step in steps
    ]
    for row in report["rows"]:
        for which in ("ours", "baseline"):
            median, worst = row[which]
            assert 0 <= median <= worst
        assert row["roofline"] > 0


def test_without_tensorrt_everything_but_the_networks_is_measured(bench):
    report = bench("sys.modules['tensorrt'] = sys.modules['tensorrt_rtx'] = None")
    assert "networks were not run: TensorRT is not installed" in report["remarks"]
    steps = ["preprocess", "upload", "download", "all but infer"]
    assert [row["step"] for row in report["rows"]] == steps * len(TASKS)
