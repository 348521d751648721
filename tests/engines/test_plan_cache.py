"""Plans are kept, refused when they do not fit, and made anew: with real ones by TensorRT-RTX."""

import hashlib
import shutil
from dataclasses import asdict, replace

import pytest

from engines.checksummed_file import read_checksummed, write_checksummed
from engines.cuda_device import CudaDevice
from engines.manifest import load_manifest
from engines.plan_cache import PlanCache, Target
from engines.tensorrt_library import find_library

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is made for x86-64 and Windows only")
NAME = "face-centerface"


@pytest.fixture(scope="module")
def library():
    return find_library(None)


@pytest.fixture(scope="module")
def shelf(built, library, tmp_path_factory):
    """A folder with one engine and its plan, to be copied."""
    folder = tmp_path_factory.mktemp("shelf")
    shutil.copytree(built / NAME, folder / NAME)
    Make(folder, library).plan()
    return folder


class Make:
    """Asks for the plan and notes why it was built."""

    def __init__(self, folder, library, target=None):
        self.folder = folder
        self.library = library
        self.target = target or Target.ahead(library, 86)
        self.reasons = []

    def plan(self):
        def begin(reason):
            self.reasons.append(reason)
            return lambda _done: True

        return PlanCache(self.folder).plan(NAME, self.library, self.target, begin)[1]


@pytest.fixture
def make(shelf, library, tmp_path):
    shutil.copytree(shelf, tmp_path / "built")
    return Make(tmp_path / "built", library)


@pytest.fixture
def path(make):
    return make.folder / "plans" / f"{NAME}-sm_86.tensorrt_rtx.plan"


def test_a_valid_plan_is_not_rebuilt(make, path):
    assert make.plan() == read_checksummed(path)[1]
    assert make.reasons == []
    manifest = load_manifest(make.folder / NAME)
    assert PlanCache(make.folder).stale_reason(NAME, manifest, make.target) == ""


def test_a_plan_describes_its_target(path, library):
    description, _ = read_checksummed(path)
    assert description["library"] == "tensorrt_rtx"
    assert description["version"] == library.version
    assert description["precision"] == "fp16"
    assert description["batches"] == {"min": 1, "opt": 4, "max": 8}
    network = read_checksummed(path.with_name(f"{NAME}.network"))[1]
    assert description["network"] == hashlib.sha256(network).hexdigest()


@pytest.mark.parametrize(
    ("key", "was", "reason"),
    [
        ("version", "1.0.0", "built by version 1.0.0 of TensorRT"),
        ("library", "tensorrt", "built by tensorrt, now tensorrt_rtx"),
        ("compute_capability", 89, "built for sm_89, this GPU is sm_86"),
        ("device", "NVIDIA RTX 3060", "built for NVIDIA RTX 3060, this GPU is None"),
        ("driver", "550.54", "built with driver 550.54"),
        ("network", "0" * 64, "its network changed"),
        ("precision", "int8", "built for int8, now fp16"),
        ("batches", {"min": 1, "opt": 1, "max": 1}, "another version of this program"),
        ("cache_version", 0, "another version of this program"),
        ("new", 1, "another version of this program"),
        ("driver", ["550"], "built with driver"),
    ],
)
def test_a_plan_for_something_else_is_rebuilt(make, path, key, was, reason):
    description, plan = read_checksummed(path)
    write_checksummed(path, description | {key: was}, b"never to be deserialised")
    assert make.plan() != b"never to be deserialised"
    assert reason in make.reasons[0]
    assert read_checksummed(path)[0] == description
    assert len(plan) > 1_000_000


def test_a_missing_entry_makes_a_plan_stale(make, path):
    description, _ = read_checksummed(path)
    for key in description:
        write_checksummed(path, {k: v for k, v in description.items() if k != key}, b"never")
        manifest = load_manifest(make.folder / NAME)
        assert PlanCache(make.folder).stale_reason(NAME, manifest, make.target)


def test_a_truncated_plan_is_rebuilt(make, path):
    path.write_bytes(path.read_bytes()[:-1])
    assert len(make.plan()) > 1_000_000
    assert make.reasons == ["damaged"]


def test_another_network_makes_another_plan(make, path):
    manifest = load_manifest(make.folder / NAME)
    PlanCache(make.folder).convert(NAME, manifest, "fp32")
    assert not path.exists()
    make.plan()
    assert make.reasons == ["not built for sm_86 yet"]
    assert read_checksummed(path)[0]["precision"] == "fp32"


def test_a_precision_lasts_until_the_engine_changes(make):
    plans, manifest = PlanCache(make.folder), load_manifest(make.folder / NAME)
    plans.convert(NAME, manifest, "fp32")
    assert plans.network(NAME, manifest).precision == "fp32"
    changed = manifest.model_copy(update={"sha256": "0" * 64})
    assert plans.network(NAME, changed) is None
    assert plans.stale_reason(NAME, changed, make.target) == "its network changed"


def test_a_full_disk_costs_the_next_start_some_time_and_nothing_else(make, path, monkeypatch):
    import engines.plan_cache

    def full(*_):
        raise OSError(28, "No space left on device")

    path.unlink()
    monkeypatch.setattr(engines.plan_cache, "write_checksummed", full)
    assert len(make.plan()) > 1_000_000
    with pytest.raises(OSError, match="No space left"):
        PlanCache(make.folder, strict_writes=True).plan(
            NAME, make.library, make.target, lambda _reason: lambda _done: True
        )


def test_leftovers_of_interrupted_writes_are_removed(make, path):
    (path.parent / ".making-abc").write_bytes(b"half")
    PlanCache(make.folder).remove_temporary()
    assert not (path.parent / ".making-abc").exists()
    assert path.exists()


def test_plans_for_several_gpus_coexist(make, library, path):
    before = path.read_bytes()
    Make(make.folder, library, Target.ahead(library, 120)).plan()
    assert path.read_bytes() == before
    kept = {each.file: each.error for each in PlanCache(make.folder).survey()}
    assert kept == {f"{NAME}-sm_86.tensorrt_rtx.plan": "", f"{NAME}-sm_120.tensorrt_rtx.plan": ""}


def test_the_survey_reports_errors(make, path):
    path.with_name(f"{NAME}-sm_75.tensorrt_rtx.plan").write_bytes(b"")
    path.with_name("gone-sm_86.tensorrt_rtx.plan").write_bytes(path.read_bytes())
    wrong = {each.file: each.error for each in PlanCache(make.folder).survey()}
    assert wrong[f"{NAME}-sm_75.tensorrt_rtx.plan"] == "empty"
    assert "no engine here" in wrong["gone-sm_86.tensorrt_rtx.plan"]
    assert wrong[f"{NAME}-sm_86.tensorrt_rtx.plan"] == ""


def test_full_tensorrt_ties_a_plan_to_gpu_and_driver(library):
    full = replace(library, name="tensorrt")
    device = CudaDevice("NVIDIA RTX 3060", 86, "550.54, CUDA 12.4", (12, 4))
    target = Target.here(full, device)
    assert (target.device, target.driver) == ("NVIDIA RTX 3060", "550.54, CUDA 12.4")
    assert Target.here(library, device) == Target.ahead(library, 86)
    assert asdict(target) != asdict(replace(target, driver="560.28, CUDA 12.6"))
