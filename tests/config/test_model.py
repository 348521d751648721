from datetime import datetime, timedelta
from pathlib import Path

import pytest

from installation.config import loader as configuration
from installation.config.model import Config, Idle
from installation.config.strict_yaml import ConfigError
from tests.paths import ROOT


def load(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return configuration.load(path)


def test_the_shipped_config_is_the_default_written_out():
    shipped = configuration.load(ROOT / "config.yaml")
    default = Config()
    anchored = {"inference", "record"}
    assert shipped.model_dump(exclude=anchored) == default.model_dump(exclude=anchored)
    assert shipped.inference.engines == ROOT / default.inference.engines
    assert shipped.record.file == ROOT / default.record.file


def test_the_shipped_config_names_every_key():
    text = (ROOT / "config.yaml").read_text()
    for section, field in Config.model_fields.items():
        assert f"\n{section}:" in text
        for key in field.annotation.model_fields:
            assert f"\n  {key}:" in text, f"{section}.{key} is not explained"
    for key in Idle.model_fields:
        assert f"\n    {key}: " in text, f"theme.idle.{key} is not explained"


@pytest.mark.parametrize("text", ["", "# nothing\n", "camera:\n", "camera: {}\n"])
def test_missing_keys_have_their_defaults(tmp_path, text):
    assert load(tmp_path, text).camera == Config().camera


def test_engines_are_found_from_the_configs_folder(tmp_path):
    assert load(tmp_path, "inference: {engines: here}").inference.engines == tmp_path / "here"


@pytest.mark.parametrize(
    ("server", "address", "encrypted"),
    [
        ("null", "", False),
        ("kserve://192.0.2.5:8001", "192.0.2.5:8001", False),
        ("kserves://server.example:443", "server.example:443", True),
        ("kserve://[2001:db8::5]:8001", "[2001:db8::5]:8001", False),
    ],
)
def test_a_server_has_an_address(tmp_path, server, address, encrypted):
    found = load(tmp_path, f"inference:\n  server: {server}\n").inference
    assert (found.server_address, found.encrypted) == (address, encrypted)


def test_a_ca_file_is_found_from_the_configs_folder(tmp_path):
    text = "inference: {server: 'kserves://here:8001', ca_file: ca.pem}"
    assert load(tmp_path, text).inference.ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    "server", ["kserves://192.0.2.5:8001", "kserve://127.0.0.1:8001", "kserve://[::1]:8001"]
)
def test_a_token_is_sent_encrypted_or_to_this_machine(tmp_path, server):
    text = f"inference: {{server: '{server}', token: 0123456789abcdefg}}"
    assert load(tmp_path, text).inference.token.get_secret_value() == "0123456789abcdefg"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("camera:\n  source: file://server/a.mp4\n", 2, "three slashes: file:///srv/video.mp4"),
        ("camera:\n  sorce: 0\n", 2, "camera.sorce: unknown key; did you mean source?"),
        ("camera:\n  zebra: 0\n", 2, "known keys: source, width"),
        ("\n\nkamera: {}\n", 3, "did you mean camera?"),
        (
            "web: {size: 12}\n",
            1,
            "web.size: unknown key; known keys: address, port, proxies, max_up",
        ),
        (
            "theme: {lost: x}\n",
            1,
            "box_width, gloss, score, cycle_candidates, idle, text_preparing",
        ),
        ("theme: {preparing: x}\n", 1, "unknown key; did you mean text_preparing?"),
        ("camera: 3\n", 1, "needs keys of its own"),
        ("camera:\n  fps: fast\n", 2, "camera.fps"),
        ("camera:\n  fps: .nan\n", 2, "camera.fps"),
        ("camera:\n  width: 20\n", 2, "greater than or equal to 160, not 20"),
        ("camera:\n  source: [1]\n", 2, "camera.source"),
        ("camera:\n  fps: 1\n  fps: 2\n", 3, "fps: written twice"),
        ("labels:\n  policy: rude\n", 2, "'full', 'inoffensive' or 'safe', not rude"),
        ("display:\n  rotate: 45\n", 2, "display.rotate: input should be 0, 90, 180 or 270"),
        ("camera:\n  format: h264\n", 2, "'mjpg', 'yuyv' or 'nv12'"),
        ("theme:\n  colour: green\n", 2, "theme.colour: green is not of the form"),
        ("theme:\n  colour: red\ncamera:\n  width: 1\n", 2, "theme.colour"),
        (
            "theme:\n  text_scale: 9\n",
            2,
            "theme.text_scale: input should be less than or equal to 3, not 9",
        ),
        ("theme:\n  idle:\n    after_s: -1\n", 3, "theme.idle.after_s"),
        ("theme:\n  idle: 3\n", 2, "needs keys of its own, indented below it: after_s, text"),
        ("theme:\n  idle:\n    txt: x\n", 3, "theme.idle.txt: unknown key; did you mean text?"),
        ("theme:\n  colour: #39ff14\n", 2, "theme.colour: without quotes this is a comment"),
        ("theme:\n  font: elsewhere/DejaVuSans.ttf\n", 2, "cannot be used as a font"),
        ("display:\n  monitor: 1.5\n", 2, "display.monitor: "),
        ("\ntheme:\n  font: nowhere.ttf\n", 3, "nowhere.ttf cannot be used as a font"),
        ("inference:\n  detector: ../x\n", 2, "inference.detector"),
        ("inference:\n  device: gpus\n", 2, "'auto', 'gpu' or 'cpu', not gpus"),
        (
            "inference:\n  device: kserve://here:1\n",
            2,
            "address of a server goes into inference.server",
        ),
        ("inference:\n  server: here:8001\n", 2, "not of the form kserve://HOST:PORT"),
        ("inference:\n  server: kserve://here\n", 2, "not of the form kserve://HOST:PORT"),
        ("inference:\n  server: http://here:8001\n", 2, "not of the form kserve://HOST:PORT"),
        ("inference:\n  server: kserve://here:0\n", 2, "not of the form kserve://HOST:PORT"),
        ("inference:\n  server: kserve://here:70000\n", 2, "no valid port; ports are 1 to 65535"),
        (
            "inference:\n  device: gpu\n  server: kserve://here:8001\n",
            3,
            "inference.server: with a server, this machine uses its CPU",
        ),
        (
            "inference:\n  server: kserve://here:8001\n  ca_file: ca.pem\n",
            3,
            "inference.ca_file: needs an encrypted inference.server",
        ),
        (
            "inference:\n  ca_file: ca.pem\n",
            2,
            "inference.ca_file: needs an encrypted inference.server",
        ),
        ("inference:\n  offload: detector\n", 2, "'classifier' or 'both', not detector"),
        ("inference:\n  token: abc\n", 2, "inference.token: needs at least 16 letters and digits"),
        (
            "inference:\n  server: kserve://192.0.2.5:8001\n  token: 0123456789abcdefg\n",
            3,
            "would be sent unencrypted; let inference.server begin with kserves://",
        ),
        ("- 1\n", 1, "expected sections"),
        ("camera: [\n", 2, "expected"),
        ("camera:\n\tfps: 1\n", 2, "U+0009 (tab) is not allowed here; use spaces"),
        ("? [a]\n: 1\n", 1, "expected a plain word"),
        ("a: &a\n  - *a\n", 2, "an alias: write the value itself"),
        ("a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]\n", 2, "write the value itself"),
        ("camera:\n  <<: {fps: 1}\n", 2, "expected a plain word"),
        ("? !!str [a]\n: 1\n", 1, "begins with ! has a tag: remove the tag"),
        (
            "camera:\n  loop: !!bool perhaps\n",
            2,
            "true or false, without quotes, not !!bool perhaps",
        ),
        ("camera:\n  fps: !!int ''\n", 2, "such as 30 or 1.5, not !!int ''"),
        ("camera:\n  source: !!timestamp soon\n", 2, 'put it in quotes: "soon"'),
        ("camera:\n  fps: !!python/object:os.system x\n", 2, "not !!python/object:os.system x"),
        ("camera:\n  width: 0x" + "f" * 9000 + "\n", 2, "camera.width"),
        ("camera:\n  format: " + "x" * 9000 + "\n", 2, "'mjpg', 'yuyv' or 'nv12', not xxx"),
        ('camera:\n  "so\\nrc\\e[31me": 0\n', 2, "camera.so\\nrc\\x1b[31me: unknown key"),
        ("labels:\n  include: [" + "boss, " * 1001 + "]\n", 2, "1001 items; at most 1000"),
        ("theme:\n  font: /dev/zero\n", 2, "not a file"),
        ("x" * 70_000, 1, "larger than 64 KB"),
        ("\n\0", 2, "'\\x00' is not allowed"),
        ("camera:\n  fps: 1\n width: 640\n", 3, "indent this line like its neighbours"),
        ("camera:\n  source: a: b\n", 2, "quotes around a value with a colon"),
        ("\n\n1: {}\n", 3, "expected a plain word"),
        ("\ntrue: 1\n", 2, "expected a plain word"),
        ("camera:\n  fps: !!int foo\n", 2, "not !!int foo"),
        ("camera:\n  fps: " + "9" * 5000 + "\n", 2, "cannot be read"),
        ("a: " + "[" * 5000 + "]" * 5000, 1, "nested too deeply"),
    ],
)
def test_an_error_is_one_line_that_names_its_location(tmp_path, text, line, says):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/config.yaml:{line}: ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize("source", ["film.mp4", "pictures", "./a.jpg"])
def test_files_are_found_from_the_configs_folder(tmp_path, source):
    found = load(tmp_path, f"camera: {{source: {source}}}").camera.source
    assert Path(found) == tmp_path / source


@pytest.mark.parametrize("source", ["0", "demo", "rtsp://camera/1", "/dev/video2", "/films/a.mp4"])
def test_other_sources_are_left_as_they_are(tmp_path, source):
    assert load(tmp_path, f"camera: {{source: '{source}'}}").camera.source == source


def test_a_font_is_found_from_the_configs_folder(tmp_path):
    font = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
    (tmp_path / "here.ttf").write_bytes(font.read_bytes())
    assert load(tmp_path, "theme: {font: here.ttf}").theme.font == tmp_path / "here.ttf"


@pytest.mark.parametrize("text", ["theme:\n  idle:\n", "theme: {idle: {}}"])
def test_a_section_may_be_empty(tmp_path, text):
    assert load(tmp_path, text).theme == Config().theme


@pytest.mark.parametrize(("written", "read"), [("1", "1"), ("'1'", "1"), ("HDMI-1", "HDMI-1")])
def test_a_monitor_has_a_name_or_a_number(tmp_path, written, read):
    assert load(tmp_path, f"display: {{monitor: {written}}}").display.monitor == read


def test_hours_are_read_as_people_write_them(tmp_path):
    hours = load(
        tmp_path,
        "hours:\n  open: [mon-fri 10:00-18:00, 'sat,sun 11:00-20:00', fri 22:00-02:00]\n"
        "  closed: [2026-12-24, 12-25, 2026-12-30..2027-01-02]\n  timezone: Europe/Berlin\n",
    ).hours
    assert hours.closed == ("2026-12-24", "12-25", "2026-12-30..2027-01-02")
    noon = datetime.fromisoformat("2026-12-23T12:00+01:00")
    assert hours.schedule.is_open(noon)
    assert not hours.schedule.is_open(noon + timedelta(days=1))


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("hours:\n  open:\n    - mon 10:00-18:00\n    - san 10:00-18:00", 4, "'san' is not a day"),
        ("hours:\n  open: [10:00-18:00]", 2, "hours.open.0: "),
        ("hours:\n  closed: [2026-02-30]", 2, "day"),
        ("hours:\n  closed: [13-01]", 2, "not in the calendar"),
        ("hours:\n  timezone: Europe/Berlim", 2, "did you mean Europe/Berlin?"),
    ],
)
def test_invalid_hours_are_reported_with_their_line(tmp_path, text, line, says):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'config.yaml'}:{line}: ")
    assert says in str(caught.value)


def test_the_record_is_kept_beside_the_config(tmp_path):
    assert load(tmp_path, "record: {file: words.sqlite}").record.file == tmp_path / "words.sqlite"
    assert load(tmp_path, "record: {file: null}").record.file is None


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("status:\n  address: 0.0.0.0\n", 2, "status.address: 0.0.0.0 is reachable"),
        ("status:\n\n  address: '::'\n", 3, "set status.token too, or 127.0.0.1"),
        ("status: {address: wall}\n", 1, "status.address: needs an IP address, such as 127.0.0.1"),
        (
            "status:\n  token: a-secret\n",
            2,
            "status.token: needs at least 16 letters and digits",
        ),
        ("status:\n  token: 1234567890123456\n", 2, "in quotes"),
        ("status:\n  address: 0.0.0.0\n  token: 'sécret-sécret-sécret'\n", 3, "status.token"),
        ("status:\n  token: ''\n", 2, "status.token: needs at least 16"),
        ("status:\n  port: 0\n", 2, "status.port"),
        ("status:\n  tokne: x\n", 2, "did you mean token?"),
    ],
)
def test_an_open_status_page_needs_a_token(tmp_path, text, line, says):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/config.yaml:{line}: ")
    assert says in message
    # It is logged: the secret is not.
    assert "cret" not in message.partition("status.token")[2] and "1234" not in message


@pytest.mark.parametrize(
    "text",
    [
        "{port: null}",
        "{address: '::1'}",
        "{address: 127.0.0.2}",
        "{address: 0.0.0.0, token: 0123456789abcdef}",
        "{token: correct horse battery staple}",
    ],
)
def test_a_status_page_with_a_token_may_be_open(tmp_path, text):
    status = load(tmp_path, f"status: {text}").status
    assert "0123456789abcdef" not in repr(status) and "battery" not in repr(status)
