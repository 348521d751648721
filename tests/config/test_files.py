"""A config with what is laid over it: what comes of it, and whose fault it is."""

import os

import pytest

from installation.config import loader as configuration
from installation.config.files import overlays
from installation.config.model import Config
from installation.config.strict_yaml import ConfigError
from tests.paths import ROOT


@pytest.fixture
def place(tmp_path):
    """Write a config and its overlays; return the path of the config."""

    def write(text, /, **over):
        (tmp_path / "config.yaml").write_text(text)
        for name, laid in over.items():
            (tmp_path / "config.d").mkdir(exist_ok=True)
            (tmp_path / f"config.d/{name}.yaml").write_text(laid)
        return tmp_path / "config.yaml"

    return write


def complaint(path):
    with pytest.raises(ConfigError) as caught:
        configuration.load(path)
    message = str(caught.value)
    assert message.isprintable()
    folder = f"{path.parent}/"
    assert message.startswith(folder)
    return message.removeprefix(folder)


def test_the_last_one_wins_key_by_key(place):
    config = configuration.load(
        place(
            "theme: {colour: '#111111', text_scale: 2, idle: {after_s: 10, text: x}}\nvision: {}\n",
            b="theme: {colour: '#222222', idle: {text: second}}\n",
            a="theme: {colour: '#333333', box_width: 5}\nhours: {timezone: Europe/Berlin}\n",
        )
    )
    theme = config.theme
    assert (theme.colour, theme.text_scale, theme.box_width) == ("#222222", 2, 5)
    assert (theme.idle.after_s, theme.idle.text) == (10, "second")
    assert config.hours.timezone == "Europe/Berlin"
    assert config.vision == Config().vision


def test_a_list_is_replaced(place):
    labels = configuration.load(
        place("labels: {exclude: [curator, boss]}", wall="labels: {exclude: [rector]}")
    ).labels
    assert labels.exclude == ("rector",)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "theme:\n", "theme:\n  idle:\n", "{}"])
def test_an_empty_overlay_changes_nothing(place, text):
    path = place("theme: {text_scale: 2, idle: {after_s: 5}}")
    alone = configuration.load(path)
    assert configuration.load(place(path.read_text(), wall=text)) == alone


def test_a_key_can_be_set_to_nothing(place):
    config = configuration.load(place("record: {keep_days: 30}", wall="record: {keep_days: null}"))
    assert config.record.keep_days is None


def test_an_overlay_that_is_removed_is_gone(place):
    path = place("camera: {fps: 25}", wall="camera: {fps: 10}")
    assert configuration.load(path).camera.fps == 10
    path.with_name("config.d").joinpath("wall.yaml").unlink()
    assert configuration.load(path).camera.fps == 25
    path.with_name("config.d").rmdir()
    assert configuration.load(path).camera.fps == 25


def test_paths_in_it_start_from_the_folder_of_the_config(place):
    path = place("", wall="camera: {source: film.mp4}\nrecord: {file: west.sqlite}")
    config = configuration.load(path)
    assert config.camera.source == str(path.parent / "film.mp4")
    assert config.record.file == path.parent / "west.sqlite"


def test_the_folder_goes_by_the_name_of_the_config(place):
    path = place("camera: {fps: 25}", wall="camera: {fps: 10}")
    draft = path.rename(path.with_name("draft.yaml"))
    assert configuration.load(draft).camera.fps == 25
    path.with_name("config.d").rename(path.with_name("draft.d"))
    assert configuration.load(draft).camera.fps == 10


def test_one_config_may_be_shared_by_a_link_and_laid_over_where_the_link_is(place, tmp_path):
    path = place("camera: {source: film.mp4}", wall="camera: {fps: 10}")
    shared = tmp_path / "shared"
    shared.mkdir()
    path.rename(shared / "config.yaml")
    path.symlink_to(shared / "config.yaml")
    camera = configuration.load(path).camera
    assert (camera.source, camera.fps) == (str(shared / "film.mp4"), 10)


@pytest.mark.parametrize(
    "name",
    [
        *("wall.yaml~", ".#wall.yaml", ".wall.yaml.swp", "#wall.yaml#", ".wall.yaml", "4913"),
        *("wall.yaml.bak", "wall.yaml.dpkg-old", "wall.yaml.rpmsave", "README", ".making-x"),
    ],
)
def test_files_left_by_editors_and_packages_are_ignored(place, name):
    path = place("camera: {fps: 25}", wall="camera: {fps: 10}")
    path.with_name("config.d").joinpath(name).write_text("camera: {fps: nonsense}")
    assert [each.name for each in overlays(path)] == ["wall.yaml"]
    assert configuration.load(path).camera.fps == 10


def test_a_lock_of_emacs_which_is_a_link_to_nowhere_is_not_followed(place):
    path = place("", wall="camera: {fps: 10}")
    path.with_name("config.d").joinpath(".#wall.yaml").symlink_to("me@machine.123:456")
    assert configuration.load(path).camera.fps == 10


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("camera:\n  sorce: 0\n", "2: camera.sorce: unknown key; did you mean source?"),
        ("\nkamera: {}\n", "2: kamera: unknown key; did you mean camera?"),
        ("camera: [\n", "2: expected"),
        ("camera: {fps: 1}\ncamera: {}\n", "2: camera: written twice"),
        ("- 1\n", "1: expected sections (camera, "),
        ("yes\n", "1: expected sections"),
        ("camera: 3\n", "1: camera: needs keys of its own"),
        (
            "theme:\n  text_scale: 9\n",
            "2: theme.text_scale: input should be less than or equal to 3, not 9",
        ),
        (
            "theme:\n  text_scale: null\n",
            "2: theme.text_scale: needs a plain decimal number without quotes",
        ),
        ("labels:\n  exclude:\n    - curator\n    - criminel\n", "4: labels.exclude.1: 'criminel'"),
        ("# " + "x" * 70_000, "1: larger than 64 KB, together with the files before it"),
        ("a: !!omap [[x]: 1]\n", "1: a value that begins with ! has a tag"),
    ],
)
def test_an_error_in_an_overlay_names_its_own_line(place, text, says):
    path = place(
        "camera:\n  fps: 25\ntheme:\n  text_scale: 2\nlabels: {exclude: [boss]}\n", wall=text
    )
    assert complaint(path).startswith(f"config.d/wall.yaml:{says}")


def test_an_error_in_the_config_is_reported_whatever_overlays_say(place):
    path = place("\ncamera:\n  sorce: 0\n", wall="camera: {fps: 10}")
    assert complaint(path).startswith("config.yaml:3: camera.sorce")


def test_the_first_of_several_errors_is_reported(place):
    path = place("theme: {text_scale: 2}\n\n\n\nweb: {port: -1}", a="camera: {fps: 0}", b="x: 1")
    assert complaint(path).startswith("config.yaml:5: web.port")


def test_of_several_files_that_set_a_key_the_last_is_to_blame(place):
    path = place(
        "theme: {text_scale: 9}", a="\ntheme: {text_scale: 8}", b="\n\ntheme: {text_scale: 7}"
    )
    assert complaint(path).startswith("config.d/b.yaml:3: theme.text_scale: ")
    assert "not 7" in complaint(path)
    # And what is put right over it needs no mending below.
    path = place("theme: {text_scale: 9}", a="theme: {text_scale: 8}", b="theme: {text_scale: 1}")
    assert configuration.load(path).theme.text_scale == 1


SECRET = "token: 0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "over", "says"),
    [
        # The one who opens the door, or who takes away the key: whoever came last.
        ("", {"wall": "\nstatus:\n  address: 0.0.0.0\n"}, "config.d/wall.yaml:3: status.address"),
        (
            f"status:\n  address: 0.0.0.0\n  {SECRET}\n",
            {"wall": "\nstatus:\n  token: null\n"},
            "config.d/wall.yaml:2: status.address: 0.0.0.0 is reachable",
        ),
        (
            f"status:\n  {SECRET}\n",
            {"a": "status:\n  address: 0.0.0.0\n", "b": "\n\nstatus: {token: null}\n"},
            "config.d/b.yaml:3: status.address: 0.0.0.0 is reachable",
        ),
        (
            f"status:\n  {SECRET}\n",
            {"a": "\nstatus: {token: null}\n", "b": "status:\n  address: 0.0.0.0\n"},
            "config.d/b.yaml:2: status.address: 0.0.0.0 is reachable",
        ),
        # It was so already.
        (
            "status:\n  address: 0.0.0.0\n",
            {"a": "status: {port: 8091}", "b": "status: {preview: true}"},
            "config.yaml:2: status.address: 0.0.0.0 is reachable",
        ),
        (
            "labels:\n  policy: safe\n",
            {"wall": "\nlabels: {exclude: [under person]}\n"},
            "config.d/wall.yaml:2: labels: no word is left to show",
        ),
        (
            "\nlabels: {exclude: [under person]}\n",
            {"wall": "labels: {policy: inoffensive}\n"},
            "config.yaml:2: labels: no word is left to show",
        ),
    ],
)
def test_an_overlay_that_makes_another_file_invalid_is_to_blame(place, text, over, says):
    assert complaint(place(text, **over)).startswith(says)


def test_an_error_caused_by_another_file_names_both_places(place):
    path = place(f"status:\n  address: 0.0.0.0\n  {SECRET}\n", wall="status: {token: null}\n")
    assert complaint(path).endswith(f"(set in {path}:2)")


def test_keys_that_need_each_other_may_be_in_different_files(place):
    path = place("status: {address: 0.0.0.0}", wall=f"status: {{{SECRET}}}")
    assert configuration.load(path).status.token.get_secret_value() == "0123456789abcdef"


def test_an_unreadable_overlay_is_reported(place):
    path = place("", wall="")
    folder = path.with_name("config.d")
    wall = folder / "wall.yaml"
    wall.write_bytes(b"camera: \xff\xfe")
    assert complaint(path) == (
        "config.d/wall.yaml:1: cannot be read: not UTF-8 at byte 0xFF (ÿ in Windows-1252); "
        "save the file as UTF-8"
    )
    wall.unlink()
    wall.mkdir()
    assert complaint(path).startswith("config.d/wall.yaml:1: cannot be read: not a file")
    wall.rmdir()
    wall.symlink_to("nowhere")
    assert complaint(path) == "config.d/wall.yaml:1: cannot be read: No such file or directory"
    wall.unlink()
    os.mkfifo(wall)
    assert complaint(path).startswith("config.d/wall.yaml:1: cannot be read: not a file")
    wall.unlink()
    folder.rmdir()
    folder.write_text("camera: {fps: 10}")
    assert complaint(path) == "config.d:1: cannot be read: Not a directory"


@pytest.mark.parametrize("name", ["wall.yml", "wall.YAML", "wall.Yml"])
def test_a_file_meant_as_an_overlay_is_not_ignored(place, name):
    path = place("", wall="")
    path.with_name("config.d").joinpath(name).write_text("camera: {fps: 10}")
    assert complaint(path) == f"config.d/{name}:1: is not read: its name must end in .yaml"


def test_an_odd_name_leaves_one_line(place):
    path = place("", wall="")
    path.with_name("config.d").joinpath("a\nb\x1b[31m.yaml").write_text("x: 1")
    assert complaint(path).startswith("config.d/a\\nb\\x1b[31m.yaml:1: x: unknown key")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
@pytest.mark.parametrize("closed", ["config.d", "config.d/wall.yaml"])
def test_an_overlay_without_permission_is_reported(place, closed):
    path = place("", wall="camera: {fps: 10}")
    shut = path.parent / closed
    shut.chmod(0)
    try:
        said = "cannot be read; let this user or its group read it"
        assert complaint(path) == f"{closed}:1: {said}"
    finally:
        shut.chmod(0o755)


def test_number_and_size_of_overlays_are_limited(place):
    path = place("", **{f"wall{number}": "camera: {fps: 10}" for number in range(20)})
    assert configuration.load(path).camera.fps == 10
    place("", more="")
    assert complaint(path) == "config.d:1: more than 20 files; merge some of them"


def test_the_size_of_all_files_together_is_limited(place):
    half = "# " + "x" * 30_000
    path = place(half, a=half)
    assert configuration.load(path) == configuration.load(place(half, a=half))
    assert complaint(place(half, b=half)).startswith(
        "config.d/b.yaml:1: larger than 64 KB, together with"
    )


def test_the_shipped_config_can_be_laid_over_anything(place):
    shipped = (ROOT / "config.yaml").read_text()
    path = place(shipped)
    alone = configuration.load(path)
    assert configuration.load(place("camera: {fps: 3}", wall=shipped)) == alone
