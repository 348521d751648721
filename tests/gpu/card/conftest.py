"""Tests on a GPU: on the one in this machine, else on the fakes (`test_card_on_fakes.py`)."""

import ctypes

import pytest

from engines.cuda_device import NoDeviceError, find_device


@pytest.fixture(scope="session")
def card():
    try:
        return find_device()
    except NoDeviceError as error:
        pytest.skip(str(error))


@pytest.fixture
def gpu(card):
    from installation.inference.gpu import GpuContext

    opened = GpuContext(card)
    yield opened
    opened.close()


@pytest.fixture
def fake_driver(card):
    """The fake driver's own functions; tests that need them are skipped on a GPU."""
    driver = ctypes.CDLL("libcuda.so.1")
    if not hasattr(driver, "fake_cuda_live"):
        pytest.skip("only the fake driver can be made to fail")
    driver.fake_cuda_calls.restype = ctypes.c_long
    yield driver
    driver.fake_cuda_fail(b"")
