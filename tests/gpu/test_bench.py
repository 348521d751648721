"""The benchmark at work on the stand-in: what it measures there says nothing, that it does does."""

import json

import pytest

from tests.gpu.fake_cuda_build import default_folder, prepare

BENCH = """
import json, sys
{setup}
from pathlib import Path
from installation.bench import inference
from installation.config.model import Inference

inference._ROUNDS = 3
report = inference.measure(Inference(device="gpu", engines=Path("built")))
assert report.as_text().splitlines()[1].split()[:3] == ["work", "step", "ours"]
print(json.dumps(report.as_json()))
"""
FACES = (1, 4, 8, 16)
WORKS = ["detect", *(f"classify {count}" for count in FACES)]


@pytest.fixture
def bench(rehearse, built, tmp_path):
    (tmp_path / "built").mkdir()
    for name in ("face-centerface", "person-semantic"):
        (tmp_path / "built" / name).symlink_to(built / name)

    def run(setup="", **environment):
        path = f"{built.parent.parent}:{prepare(default_folder())['PYTHONPATH']}"
        said = rehearse(BENCH.format(setup=setup), PYTHONPATH=path, **environment)
        return json.loads(said.splitlines()[-1])

    return run


def test_every_step_is_measured_both_ways(bench):
    report = bench()
    assert report["device"].startswith("GPU NVIDIA Stand-in (sm_86")
    steps = ["preprocess", "upload", "infer", "download", "all but infer", "all"]
    assert [(row["work"], row["step"]) for row in report["rows"]] == [
        (work, step) for work in WORKS for step in steps
    ]
    for row in report["rows"]:
        for way in ("ours", "plain"):
            median, worst = row[way]
            assert 0 <= median <= worst
        assert row["floor"] > 0


def test_without_tensorrt_all_but_the_networks_is_measured(bench):
    report = bench("sys.modules['tensorrt'] = sys.modules['tensorrt_rtx'] = None")
    assert "networks were not run: TensorRT is not installed" in report["remarks"]
    steps = ["preprocess", "upload", "download", "all but infer"]
    assert [row["step"] for row in report["rows"]] == steps * len(WORKS)
