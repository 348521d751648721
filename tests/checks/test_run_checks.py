"""As whom all is looked at, and what is said where that cannot be."""

import pytest

from installation.checks import run_checks as examine


def test_a_user_that_was_removed_is_one_line(config, monkeypatch):
    from installation.checks import service

    monkeypatch.setattr(examine, "_user", lambda: "nobody-of-that-name")
    monkeypatch.setattr(service, "units", lambda: iter(()))
    (seen,) = examine.examine(None)
    assert (seen.about, seen.level) == ("user", "trouble")
    assert str(seen).endswith("is missing; sudo systemd/install makes it")


@pytest.mark.parametrize("name", ["config.yaml", "config.d/wall.yaml"])
def test_a_config_that_the_wall_may_not_read_is_let_be_read_by_its_group(
    tmp_path, monkeypatch, name
):
    (tmp_path / "config.d").mkdir()
    for each in ("config.yaml", "config.d/wall.yaml"):
        (tmp_path / each).touch()
    access = examine.os.access
    monkeypatch.setattr(
        examine.os, "access", lambda path, mode: path.name not in name and access(path, mode)
    )
    (seen,) = examine._config(tmp_path / "config.yaml")
    assert seen.level == "trouble" and str(tmp_path / name) in seen.said
    assert "chgrp" in seen.remedy or seen.remedy == "use sudo"
    assert "o+r" not in seen.remedy and "a+r" not in seen.remedy
