"""Plans are kept, refused when they do not fit, and made anew: with real ones by TensorRT-RTX."""

import hashlib
import shutil
from dataclasses import asdict, replace

import pytest

from engines.checksummed_file import read_sealed, write_sealed
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


def test_a_plan_that_fits_is_not_built_again(make, path):
    assert make.plan() == read_sealed(path)[1]
    assert make.reasons == []
    standing = PlanCache(make.folder).standing(NAME, load_manifest(make.folder / NAME), make.target)
    assert standing == ""


def test_it_says_what_it_was_made_for(path, library):
    description, _ = read_sealed(path)
    assert description["library"] == "tensorrt_rtx"
    assert description["version"] == library.version
    assert description["precision"] == "fp16"
    assert description["batches"] == {"least": 1, "best": 4, "most": 8}
    network = read_sealed(path.with_name(f"{NAME}.network"))[1]
    assert description["network"] == hashlib.sha256(network).hexdigest()


@pytest.mark.parametrize(
    ("key", "was", "reason"),
    [
        ("version", "1.0.0", "built by version 1.0.0 of TensorRT"),
        ("library", "tensorrt", "built by tensorrt, now tensorrt_rtx"),
        ("compute_capability", 89, "built for sm_89, this card is sm_86"),
        ("card", "NVIDIA RTX 3060", "built for NVIDIA RTX 3060, this card is None"),
        ("driver", "550.54", "built with driver 550.54"),
        ("network", "0" * 64, "its network changed"),
        ("precision", "int8", "built for int8, now fp16"),
        ("batches", {"least": 1, "best": 1, "most": 1}, "another version of this program"),
        ("maker", 0, "another version of this program"),
        ("new", 1, "another version of this program"),
        ("driver", ["550"], "built with driver"),
    ],
)
def test_a_plan_made_for_something_else_is_built_again(make, path, key, was, reason):
    description, plan = read_sealed(path)
    write_sealed(path, description | {key: was}, b"never to be deserialised")
    assert make.plan() != b"never to be deserialised"
    assert reason in make.reasons[0]
    assert read_sealed(path)[0] == description
    assert len(plan) > 1_000_000


def test_a_missing_entry_is_a_misfit(make, path):
    description, _ = read_sealed(path)
    for key in description:
        write_sealed(path, {k: v for k, v in description.items() if k != key}, b"never")
        manifest = load_manifest(make.folder / NAME)
        assert PlanCache(make.folder).standing(NAME, manifest, make.target)


def test_a_truncated_plan_is_built_again(make, path):
    path.write_bytes(path.read_bytes()[:-1])
    assert len(make.plan()) > 1_000_000
    assert make.reasons == ["damaged"]


def test_another_network_makes_another_plan(make, path):
    manifest = load_manifest(make.folder / NAME)
    PlanCache(make.folder).choose(NAME, manifest, "fp32")
    assert not path.exists()
    make.plan()
    assert make.reasons == ["not built for sm_86 yet"]
    assert read_sealed(path)[0]["precision"] == "fp32"


def test_a_precision_lasts_until_the_engine_changes(make):
    plans, manifest = PlanCache(make.folder), load_manifest(make.folder / NAME)
    plans.choose(NAME, manifest, "fp32")
    assert plans.network(NAME, manifest).precision == "fp32"
    changed = manifest.model_copy(update={"sha256": "0" * 64})
    assert plans.network(NAME, changed) is None
    assert plans.standing(NAME, changed, make.target) == "its network changed"


def test_a_full_disk_costs_the_next_start_some_time_and_nothing_else(make, path, monkeypatch):
    import engines.plan_cache

    def full(*_):
        raise OSError(28, "No space left on device")

    path.unlink()
    monkeypatch.setattr(engines.plan_cache, "write_sealed", full)
    assert len(make.plan()) > 1_000_000
    with pytest.raises(OSError, match="No space left"):
        PlanCache(make.folder, must_keep=True).plan(
            NAME, make.library, make.target, lambda _reason: lambda _done: True
        )


def test_what_was_begun_and_not_finished_is_swept(make, path):
    (path.parent / ".making-abc").write_bytes(b"half")
    PlanCache(make.folder).sweep()
    assert not (path.parent / ".making-abc").exists()
    assert path.exists()


def test_cards_do_not_disturb_each_other(make, library, path):
    before = path.read_bytes()
    Make(make.folder, library, Target.ahead(library, 120)).plan()
    assert path.read_bytes() == before
    kept = {each.file: each.wrong for each in PlanCache(make.folder).survey()}
    assert kept == {f"{NAME}-sm_86.tensorrt_rtx.plan": "", f"{NAME}-sm_120.tensorrt_rtx.plan": ""}


def test_the_survey_tells_what_is_wrong(make, path):
    path.with_name(f"{NAME}-sm_75.tensorrt_rtx.plan").write_bytes(b"")
    path.with_name("gone-sm_86.tensorrt_rtx.plan").write_bytes(path.read_bytes())
    wrong = {each.file: each.wrong for each in PlanCache(make.folder).survey()}
    assert wrong[f"{NAME}-sm_75.tensorrt_rtx.plan"] == "empty"
    assert "no engine here" in wrong["gone-sm_86.tensorrt_rtx.plan"]
    assert wrong[f"{NAME}-sm_86.tensorrt_rtx.plan"] == ""


def test_full_tensorrt_ties_a_plan_to_card_and_driver(library):
    full = replace(library, name="tensorrt")
    card = CudaDevice("NVIDIA RTX 3060", 86, "550.54, CUDA 12.4", (12, 4))
    target = Target.here(full, card)
    assert (target.card, target.driver) == ("NVIDIA RTX 3060", "550.54, CUDA 12.4")
    assert Target.here(library, card) == Target.ahead(library, 86)
    assert asdict(target) != asdict(replace(target, driver="560.28, CUDA 12.6"))
