"""The pixels on the screen: Mesa's software renderer brings an LLVM of its own."""

from pathlib import Path

from tests.isolated_pytest import run_alone


def test_every_layout_comes_out_right():
    assert "skipped" not in run_alone(Path(__file__).with_name("frame_renderer.py"))
