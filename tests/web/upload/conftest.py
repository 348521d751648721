import cv2
import numpy as np
import pytest

from tests.web.upload.serving import Serving, encoded


@pytest.fixture(scope="module")
def site(built, tmp_path_factory):
    """The web extension with its default limits, except that one address may send any number and a
    busy machine has time."""
    with Serving(
        tmp_path_factory.mktemp("web"), built, "max_per_minute: 0, timeout_s: 600"
    ) as serving:
        yield serving


@pytest.fixture(scope="session")
def both(collins, hopper):
    """Collins and Hopper side by side, 1024 x 512."""
    return np.hstack([collins, hopper[:512]])


@pytest.fixture(scope="session")
def portrait(hopper):
    """Hopper as a JPEG file."""
    return encoded(hopper)


@pytest.fixture(scope="session")
def small(hopper):
    """Hopper as a small JPEG file, quick to classify."""
    return encoded(cv2.resize(hopper, (256, 300)))
