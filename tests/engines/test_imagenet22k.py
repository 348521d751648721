"""The authentic classifier: PyTorch brings an LLVM of its own, which must be the first."""

from pathlib import Path

import pytest

from tests.isolated_pytest import run_alone

pytestmark = pytest.mark.endurance


def test_networks_with_all_of_imagenet_are_built():
    said = run_alone(Path(__file__).with_name("imagenet22k.py"))
    if "needs pip install" in said:
        pytest.skip("needs pip install 'installation[authentic]'")
    assert "skipped" not in said
