"""A value is taken exactly as it is written, or refused with its line, its key and a remedy."""

from decimal import Decimal
from typing import get_args

import pytest
from pydantic import BaseModel

from installation.config import loader as configuration
from installation.config.model import Config
from installation.config.strict_yaml import ConfigError, dump, parse

# Without quotes. YAML 1.1 and 1.2 take each for a boolean, nothing or a number of some kind, not
# always the same.
WORDS = ("yes", "no", "on", "off", "y", "n", "Yes", "NO", "On", "oFF", "none", "None", "tRuE")
ODD_NUMBERS = (
    *("030", "0o30", "010000", "0x1F", "0X1f", "0b11", "-017", "1_000", "1_000.5", "0_1", "+5"),
    *("-0", "00", "007.5", "1e3", "1.5e1", "1E2", "1e-1", "-1e+3", ".inf", "-.INF", "+.inf"),
    *(".nan", ".NaN", "0123456789012345", "01:30", "1:30", "10:00", "190:20:30", "1:30.5"),
)
INTEGERS = ("0", "1", "12", "30", "90", "8090")
DECIMALS = ("2.0", "30.0", "1.5", ".5", "5.", "1.0", "200.25")
SWITCHES = ("true", "false", "True", "FALSE")
NULLS = ("null", "~", "Null", "NULL", "")
QUOTED = ('"30"', "'1.5'", '"yes"', "'true'", '"null"', '"010"')
TAGGED = ("!!int 30", "!!str yes", "!!bool yes", "!!float 1", "!!null x")
LOCAL_TAGS = ("! 12", "!mine 3")
DATES = ("2026-12-24", "2001-12-14t21:59:43.10-05:00", "2001-12-14 21:59:43")
OTHERS = ("=", "<<", "word", "12px", "1,5", "1 000", "٣", "127.0.0.1", "inf", "nan")
VALUES = (
    *(*WORDS, *ODD_NUMBERS, *INTEGERS, *DECIMALS, *SWITCHES, *NULLS),
    *(*QUOTED, *TAGGED, *LOCAL_TAGS, *DATES, *OTHERS),
)


def fields(model=Config, above=()):
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields(field.annotation, (*above, name))
        else:
            yield (*above, name), field.annotation


FIELDS = dict(fields())


def load(folder, path, value):
    """Load a config in which a key, or the only item of its list, is written so."""
    if isinstance(getattr(default(path), "__len__", None) and default(path), tuple):
        value = f"[{value}]"
    lines = [f"{'  ' * depth}{step}:" for depth, step in enumerate(path)]
    lines[-1] += f" {value}"
    if path[-1] == "ca_file":
        lines.append("  server: kserves://here:8001")
    file = folder / "config.yaml"
    file.write_text("\n" + "\n".join(lines) + "\n")
    found = configuration.load(file)
    for step in path:
        found = getattr(found, step)
    return found


def default(path):
    found = Config()
    for step in path:
        found = getattr(found, step)
    return found


def as_text(folder, found):
    if isinstance(found, tuple):
        (found,) = found
    if hasattr(found, "get_secret_value"):
        return found.get_secret_value()
    return str(found).removeprefix(f"{folder}/")


def unquoted(value):
    return value[1:-1] if value[:1] in ("'", '"') else value


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
def test_a_value_is_read_as_written_or_rejected_with_a_remedy(tmp_path, path):
    kinds = {default(path).__class__, *get_args(FIELDS[path]), FIELDS[path]}
    for value in VALUES:
        try:
            found = load(tmp_path, path, value)
        except ConfigError as error:
            said = str(error)
            start = f"{tmp_path}/config.yaml:{len(path) + 1}: {'.'.join(path)}"
            assert said.startswith(start), (value, said)
            assert value not in LOCAL_TAGS or ("has a tag; put the text in quotes" in said), said
            if path[-1] == "token" or value in (*NULLS, *QUOTED, *DATES, *OTHERS, *LOCAL_TAGS):
                continue
            assert value in said, (value, said)
            remedies = (
                "quotes",
                "such as",
                "should be",
                "of the form",
                "is not a",
                "neither",
                "as a font",
            )
            assert any(each in said for each in remedies), (value, said)
            continue
        if found is None:
            assert value in NULLS, value
        elif isinstance(found, bool):
            assert bool in kinds and value in SWITCHES and str(found) == value.capitalize()
        elif isinstance(found, (int, float)):
            assert value in (*INTEGERS, *DECIMALS), value
            assert Decimal(value) == Decimal(found)
        elif found == ():
            assert value == ""
        else:
            assert value not in (*WORDS, *SWITCHES, *DECIMALS, *NULLS, *TAGGED, *LOCAL_TAGS), value
            number = value in INTEGERS or (value in ODD_NUMBERS and ":" not in value)
            assert not number or (value in INTEGERS and path[-1] in ("source", "monitor")), value
            assert as_text(tmp_path, found) == unquoted(value)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("record.keep_days", "yes", "needs a whole number in plain digits without quotes"),
        ("record.keep_days", "030", "such as 30, not 030"),
        ("record.keep_days", '"30"', 'not "30"'),
        ("record.keep_days", "30.5", "not 30.5"),
        ("web.max_per_minute", "off", "not off"),
        ("status.port", "010000", "not 010000"),
        ("theme.box_width", "no", "needs a plain decimal number without quotes, such as 30 or 1.5"),
        ("theme.idle.after_s", "1:30", "not 1:30"),
        ("camera.fps", ".inf", "not .inf"),
        ("camera.loop", "1", "needs true or false, without quotes, not 1"),
        ("display.mirror", "off", "needs true or false, without quotes, not off"),
        ("display.mirror", '"true"', 'not "true"'),
        ("display.rotate", "false", "whole number"),
        ("display.rotate", "090", "not 090"),
        ("camera.source", "010", '010 is not read as a text; put it in quotes: "010"'),
        ("theme.idle.text", "yes", 'yes is not read as a text; put it in quotes: "yes"'),
        ("theme.idle.text", "2024", 'put it in quotes: "2024"'),
        ("theme.text_no_camera", "~", "needs a text in quotes, not ~"),
        ("theme.text_no_camera", "", "needs a text in quotes; the value is missing"),
        ("record.file", "no", 'put it in quotes: "no", or write null for none'),
        ("record.file", "none", "or write null for none"),
        ("record.file", "!!str 2024", 'put it in quotes: "2024"'),
        ("theme.font", "12", 'put it in quotes: "12"'),
        ("hours.timezone", "on", 'put it in quotes: "on"'),
        ("labels.exclude", "no", 'put it in quotes: "no"'),
        ("hours.open", "{a: b}", "needs a text in quotes, not keys of its own"),
        ("web.address", "no", 'put it in quotes: "no"'),
        ("web.address", "0", 'put it in quotes: "0"'),
        ("web.proxies", "10", 'put it in quotes: "10"'),
        ("labels.policy", "no", "'full', 'inoffensive' or 'safe', not no"),
        ("inference.detector", "12", 'put it in quotes: "12"'),
    ],
)
def test_the_error_says_what_to_write(tmp_path, path, value, says):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, tuple(path.split(".")), value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("record.keep_days", "30", 30),
        ("record.keep_days", "30.0", 30),
        ("theme.box_width", ".5", 0.5),
        ("web.timeout_s", "20", 20.0),
        ("camera.loop", "FALSE", False),
        ("camera.source", "1", "1"),
        ("camera.source", '"010"', "010"),
        ("display.rotate", "90", 90),
        ("theme.idle.text", "10:00", "10:00"),
        ("theme.idle.text", '"yes"', "yes"),
        ("theme.text_no_camera", "2026-13-45", "2026-13-45"),
        ("hours.closed", "2026-12-24", ("2026-12-24",)),
        ("hours.closed", "12-30..01-02", ("12-30..01-02",)),
        ("hours.open", "fri 22:00-02:00", ("fri 22:00-02:00",)),
    ],
)
def test_an_accepted_value_is_read(tmp_path, path, value, found):
    taken = load(tmp_path, tuple(path.split(".")), value)
    assert (taken, type(taken)) == (found, type(found))


@pytest.mark.parametrize("token", ["0123456789012345", "1234567890123456", "1e100000000000000000"])
def test_a_token_of_digits_needs_quotes_and_is_not_shown(tmp_path, token):
    with pytest.raises(ConfigError, match="in quotes") as caught:
        load(tmp_path, ("status", "token"), token)
    assert token not in str(caught.value)
    assert as_text(tmp_path, load(tmp_path, ("status", "token"), f'"{token}"')) == token


def test_overlays_are_read_as_strictly(tmp_path):
    (tmp_path / "config.yaml").write_text("record: {keep_days: 30}\n")
    over = tmp_path / "config.d" / "wall.yaml"
    over.parent.mkdir()
    over.write_text("record:\n\n  keep_days: yes\n")
    with pytest.raises(ConfigError, match=r"config\.d/wall\.yaml:3: record\.keep_days: .* not yes"):
        configuration.load(tmp_path / "config.yaml")


TEXTS = (
    *(unquoted(each) for each in VALUES),
    *("a: b # c", "- x", "? x", "[x]", "{x", "&x", "*x", "!x", "|", ">", "%", "@", "`", "#x"),
    *("'", '"', "a'b", 'a"b', "\\", " x", "x ", "a\nb", "a\tb", "\u2028", "\u2029", "\x85", "\x1b"),
    *("\ufeff", "\u00a0x\u00a0", "x\u00a0: y", "💡", "ü" * 300, "x " * 200, "\r\n", "---", "..."),
)


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_a_dumped_text_is_read_back_unchanged(tmp_path, text):
    data = {
        "theme": {"text_no_camera": text, "idle": {"text": text}},
        "labels": {"include": [text, text]},
    }
    assert parse(tmp_path, dump(data)).data == data


@pytest.mark.parametrize(
    "value", [0, 1, -1, 10**20, 0.5, 1e-05, 1e-300, 1e22, 123456.789, -2.5, True, False, None, []]
)
def test_any_other_dumped_value_is_read_back_unchanged(tmp_path, value):
    found = parse(tmp_path, dump({"x": {"y": value}})).data["x"]["y"]
    assert (found, type(found)) == (value, type(value))


# --- encodings

GERMAN = """\
# As an editor of another system writes it.
theme:
  idle:
    after_s: 30

    text: "Tritt näher, 5 €"
  text_no_camera: keine Kamera
"""
LINE = 6


def refused(folder, data, over=False):
    path = folder / "config.yaml"
    path.write_bytes(b"" if over else data)
    if over:
        (folder / "config.d").mkdir()
        (folder / "config.d" / "wall.yaml").write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        configuration.load(path)
    said = str(caught.value)
    assert said.isprintable()
    return said.removeprefix(f"{folder}/config.d/wall.yaml:" if over else f"{path}:")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("over", [False, True])
def test_in_windows_1252_the_line_of_the_first_such_character_is_reported(tmp_path, newline, over):
    data = GERMAN.replace("\n", newline).encode("cp1252")
    assert refused(tmp_path, data, over) == (
        f"{LINE}: cannot be read: not UTF-8 at byte 0xE4 (ä in Windows-1252); "
        "save the file as UTF-8"
    )


def test_the_line_of_the_first_invalid_byte_is_reported(tmp_path):
    first, *rest = GERMAN.split("näher")
    data = first.encode() + "näher".encode() + "näher".join(rest).encode()
    mixed = b"\xef\xbb\xbf# \xc3\xa4\n" + data.replace("€".encode(), b"\x80")
    assert refused(tmp_path, mixed).startswith(
        f"{LINE + 1}: cannot be read: not UTF-8 at byte 0x80"
    )


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
def test_wide_encodings_are_named(tmp_path, encoding):
    assert refused(tmp_path, GERMAN.encode(encoding)) == (
        "1: cannot be read: UTF-16 or UTF-32; save the file as UTF-8"
    )


def test_a_byte_order_mark_is_ignored(tmp_path):
    (tmp_path / "config.yaml").write_bytes(GERMAN.encode("utf-8-sig"))
    assert configuration.load(tmp_path / "config.yaml").theme.idle.text == "Tritt näher, 5 €"


# --- what looks like a space

SPACES = {
    "\t": "U+0009 (tab)",
    "\u00a0": "U+00A0 (no-break space)",
    "\u2007": "U+2007 (figure space)",
    "\u202f": "U+202F (narrow no-break space)",
    "\u3000": "U+3000 (ideographic space)",
    "\u200b": "U+200B (zero width space)",
    "\u200e": "U+200E (left-to-right mark)",
    "\ufeff": "U+FEFF (zero width no-break space)",
    "\u2060": "U+2060 (word joiner)",
    "\u00ad": "U+00AD (soft hyphen)",
    "\u2800": "U+2800 (braille pattern blank)",
    "\u2028": "U+2028 (line separator)",
    "\x85": "U+0085 (next line)",
}
PLACES = (
    ("camera:\n{}fps: 25\n", 2),
    ("camera:\n {}fps: 25\n", 2),
    ("camera:\n{} fps: 25\n", 2),
    ("camera:\n  fps:{}25\n  loop: true\n", 2),
    ("camera:\n  fps: {}25\n  loop: true\n", 2),
    ("camera:\n  fps{}: 25\n", 2),
    ("camera:\n  fps: 25{}\n  loop: true\n", 2),
    ("camera:\n  fps: 25{}# pictures\n  loop: true\n", 2),
    ("camera:\n  source: a{}# of mine\n", 2),
    ("camera:{}\n  fps: 25\n", 1),
    ("theme:\n{}camera:\n  fps: 25\n", 2),
    ("hours:\n  open:\n    -{}mon 10:00-18:00\n", 3),
    ("hours:\n  open:\n    - {}mon 10:00-18:00\n", 3),
    ("hours:\n  open: [mon 10:00-18:00,{}tue 10:00-18:00]\n", 2),
    ("theme: {{idle: {{text: one,{}after_s: 3}}}}\n", 1),
    ("theme:\n  text_no_camera: one\n  {}two: three\n", 3),
    ("theme:\n  text_no_camera: one\n    {}two\n", 3),
    ("camera:\n  s{}ource: 0\n", 2),
    ("camera:\n  {}# a comment\n  fps: 25\n", 2),
)


@pytest.mark.parametrize("letter", SPACES, ids=ascii)
@pytest.mark.parametrize("place", range(len(PLACES)))
def test_a_character_that_looks_like_a_space_is_named_with_its_line(tmp_path, letter, place):
    text, line = PLACES[place]
    said = refused(tmp_path, text.format(letter).encode())
    assert said.startswith(f"{line}: {SPACES[letter]} "), said


@pytest.mark.parametrize(
    "text",
    [
        "# Attention\u00a0: un commentaire\ncamera: {fps: 25}\n",
        'theme: {text_no_camera: "\u00a0a\u00a0"}\n',
        "theme:\n  text_no_camera: Rien ici\u00a0!\n  text_preparing: 5\u202f€ et\u00a0plus\n",
        "theme: {idle: {text: 👩\u200d🎨 painter}}\n",
        "theme:\n  text_no_camera: >-\n    one\u00a0two\n",
    ],
)
def test_odd_spaces_are_allowed_in_comments_quotes_and_texts(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    configuration.load(tmp_path / "config.yaml")


def test_many_odd_spaces_are_found_in_linear_time(tmp_path):
    text = "theme:\n  text_no_camera: x" + "\u00a0 " * 20_000 + "y\n"
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match="at most 200 characters"):
        configuration.load(tmp_path / "config.yaml")


@pytest.mark.parametrize("value", ['"a\\0b"', '"\\ud800"'])
@pytest.mark.parametrize("path", ["camera.source", "record.file", "theme.text_no_camera"])
def test_names_that_no_file_can_have_are_rejected(tmp_path, path, value):
    with pytest.raises(ConfigError, match=r"config\.yaml:3: .* is not allowed in a text"):
        load(tmp_path, tuple(path.split(".")), value)
