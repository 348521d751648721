"""The user whom the checks run as, and the files of the config."""

import os

import pytest

from installation.checks.run_checks import check_config, run_checks


def test_a_user_who_does_not_exist_is_an_error():
    found, *_ = run_checks(None, user="nobody-of-that-name")
    assert (found.check, found.level) == ("user", "error")
    assert str(found).endswith("who does not exist; run sudo systemd/install")


@pytest.mark.parametrize("name", ["config.yaml", "config.d/wall.yaml"])
def test_the_remedy_for_an_unreadable_config_grants_access_to_the_group_only(
    tmp_path, monkeypatch, name
):
    (tmp_path / "config.d").mkdir()
    for each in ("config.yaml", "config.d/wall.yaml"):
        (tmp_path / each).touch()
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: path.name not in name and access(path, mode)
    )
    (found,) = check_config(tmp_path / "config.yaml")
    assert found.level == "error" and str(tmp_path / name) in found.message
    assert "chgrp" in found.remedy or found.remedy == "use sudo"
    assert "o+r" not in found.remedy and "a+r" not in found.remedy
