"""What runs on a card: on the one that is here, else on the fake (`test_fake_cuda_build.py`)."""

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
def standin(card):
    """The stand-in's own functions; what asks for them makes no sense on a card."""
    driver = ctypes.CDLL("libcuda.so.1")
    if not hasattr(driver, "standin_live"):
        pytest.skip("only the stand-in can be told to fail")
    driver.standin_calls.restype = ctypes.c_long
    yield driver
    driver.standin_fail(b"")
