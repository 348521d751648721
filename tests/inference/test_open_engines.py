"""Whether the CPU stands in for something better."""

import pytest

from engines.cuda_device import CudaDevice, DriverError, NoDeviceError
from engines.tensorrt_library import Library
from installation.config.model import Inference
from installation.inference import open_engines as device
from installation.inference.circuit_breaker import MAX_FAILURES
from installation.inference.open_engines import circuit_breaker_for, open_engines

CARD = CudaDevice("NVIDIA Stand-in", 86, "CUDA 13.0", (13, 0))
NAME = "face-centerface"


@pytest.fixture
def engines(built, tmp_path):
    """Engines whose plans are their own."""
    (tmp_path / NAME).symlink_to(built / NAME)
    return tmp_path


def opened(engines, asked="auto"):
    with open_engines(Inference(device=asked, engines=engines), [NAME]) as (engine,):
        return engine.device, engine.fallback


def test_a_requested_cpu_is_no_fallback(engines):
    assert opened(engines, "cpu") == ("CPU", False)


@pytest.mark.parametrize(
    ("error", "fallback"),
    [(NoDeviceError("no driver"), False), (DriverError("not loaded yet; restart"), True)],
)
def test_only_a_broken_driver_makes_the_cpu_a_fallback(engines, monkeypatch, error, fallback):
    def find():
        raise error

    monkeypatch.setattr(device, "find_device", find)
    assert opened(engines) == ("CPU", fallback)


def test_after_too_many_gpu_failures_the_cpu_is_a_fallback(engines, monkeypatch):
    found = device.GpuInfo(CARD, Library("tensorrt", "10.3.0", None))
    monkeypatch.setattr(device, "find_gpu", lambda: found)
    for _ in range(MAX_FAILURES):
        circuit_breaker_for(engines).fail("it fell off the bus")
    assert opened(engines) == ("CPU", True)
