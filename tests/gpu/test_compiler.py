"""NVRTC compiles the kernels for every supported compute capability; it needs no GPU."""

import pytest


@pytest.mark.parametrize(
    "kind", [75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121], ids=lambda kind: f"sm_{kind}"
)
def test_the_kernels_compile(run_on_fakes, kind):
    out = run_on_fakes(
        f"""
        from pathlib import Path
        import installation.inference.nvrtc as nvrtc

        source = Path(nvrtc.__file__).with_name("kernels.cu").read_text()
        cubin = next(nvrtc.compile_source(source, {kind}, 13))
        assert cubin[:4] == b"\\x7fELF" and b"crop_resize" in cubin
        print(len(cubin))
        """
    )
    assert int(out) > 3000


def test_a_compiler_error_is_one_line(run_on_fakes):
    out = run_on_fakes(
        """
        from installation.inference.nvrtc import CompilerError, compile_source

        for source, kind in (("this is no C", 86), ("", 31)):
            try:
                next(compile_source(source, kind, 13))
            except CompilerError as error:
                print(error)
        """
    )
    first, second = out.splitlines()
    assert "NVRTC cannot compile the kernels" in first
    assert "this" in first
    assert "sm_31" in second or "gpu-architecture" in second


def test_a_missing_compiler_has_a_remedy(monkeypatch):
    from installation.inference import nvrtc

    monkeypatch.setattr(nvrtc, "_library_paths", lambda: iter(["/nowhere/libnvrtc.so.13"]))
    with pytest.raises(nvrtc.CompilerError, match="pip install nvidia-cuda-nvrtc"):
        next(nvrtc.compile_source("", 86, 13))
