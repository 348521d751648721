from pathlib import Path

import pytest

from installation.config import loader as configuration
from installation.config.strict_yaml import ConfigError
from tests.paths import ROOT


def test_a_path_may_be_a_string():
    assert configuration.load(str(ROOT / "config.yaml")) == configuration.load(ROOT / "config.yaml")


def test_a_missing_or_undecodable_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.yaml:1: cannot be read"):
        configuration.load(tmp_path / "nowhere.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"# \xfa")
    with pytest.raises(ConfigError, match=r"bytes.yaml:1: cannot be read: not UTF-8 at byte 0xFA"):
        configuration.load(tmp_path / "bytes.yaml")


def test_without_a_name_the_config_in_the_current_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "machine.yaml").touch()
    paths = (configuration.SEARCH_PATHS[0], tmp_path / "machine.yaml")
    assert configuration.find(paths) == tmp_path / "machine.yaml"
    (tmp_path / "config.yaml").touch()
    assert configuration.find(paths) == Path("config.yaml")


def test_without_any_config_the_error_names_the_last_good_one(tmp_path):
    nowhere, last_good = (tmp_path / "a", tmp_path / "b"), tmp_path / "config.last-good.yaml"
    with pytest.raises(ConfigError, match=r"/a:1: no such file, nor .*/b; .*--config FILE$"):
        configuration.find(nowhere, last_good)
    last_good.touch()
    with pytest.raises(ConfigError, match=r"the last good config is kept in /.*good\.yaml$"):
        configuration.find(nowhere, last_good)
