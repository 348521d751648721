"""``config.yaml``: its schema, and errors that tell the line."""

from __future__ import annotations

import difflib
import io
from collections.abc import Hashable
from datetime import date
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from PIL import ImageFont
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    SecretStr,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from installation.errors import InstallationError
from installation.labels.policy import Policy, PolicyName, allowed
from installation.labels.synsets import load_synsets
from installation.labels.taxonomy import select
from installation.supervision.hours import Hours, check_closed, check_span, check_zone

# Bytes that no config needs; reading takes a second for so many on a small computer.
_MOST = 2**16
# Letters of a value, and of a reason, that have room in a line.
_VALUE, _REASON = 60, 400

PLACES = (Path("config.yaml"), Path("/etc/installation/config.yaml"))


class ConfigError(InstallationError):
    """The config cannot be used; the message begins ``FILE:LINE:``."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# Marks a key that is read when the installation starts; all others take effect at a reload.
AT_START = Field(json_schema_extra={"takes effect": "at start"})


def _source(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Camera(_Section):
    """Where pictures come from; see ``config.yaml`` for each key."""

    source: Annotated[
        str,
        BeforeValidator(_source),
        Field(min_length=1),
        WithJsonSchema({"type": ["string", "integer"], "minLength": 1}),
    ] = "0"
    width: Annotated[int, Field(ge=160, le=7680)] = 1280
    height: Annotated[int, Field(ge=120, le=4320)] = 720
    fps: Annotated[float, Field(ge=1, le=240)] = 30
    format: Literal["mjpg", "yuyv", "nv12"] = "mjpg"
    loop: bool = True

    @property
    def path(self) -> Path | None:
        """The file or folder that ``source`` names; None for a device, a stream or the demo."""
        source = self.source
        other = source == "demo" or source.isdecimal() or source.startswith("/dev/")
        return None if other or "://" in source else Path(source)


_SHORTEST_TOKEN = 16


def _secret(value: object) -> object:
    # Told without the value: this error is logged.
    if value is not None and (
        not isinstance(value, str)
        or len(value) < _SHORTEST_TOKEN
        or not (value.isascii() and value.isprintable())
    ):
        raise ValueError(
            f"needs {_SHORTEST_TOKEN} letters and digits or more, in quotes; "
            "`openssl rand -hex 16` makes some"
        )
    return value


class Inference(_Section):
    """Which engines are used, where they live and what they run on."""

    device: Annotated[
        str,
        Field(pattern=r"^(auto|gpu|cpu|kserves?://([\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5})$"),
        AT_START,
    ] = "auto"
    offload: Annotated[Literal["classifier", "both"], AT_START] = "classifier"
    authority: Annotated[Path | None, AT_START] = None
    token: Annotated[SecretStr | None, BeforeValidator(_secret), AT_START] = None
    engines: Annotated[Path, AT_START] = Path("engines/built")
    detector: Annotated[str, Field(pattern=r"^[\w.-]+$"), AT_START] = "face-centerface"
    classifier: Annotated[str, Field(pattern=r"^[\w.-]+$"), AT_START] = "person-semantic"

    @field_validator("token")
    @classmethod
    def _is_encrypted(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        scheme, _, address = info.data.get("device", "").partition("://")
        host = address.rpartition(":")[0]
        if token and scheme == "kserve" and host not in ("localhost", "127.0.0.1", "[::1]"):
            raise ValueError("would be sent unencrypted: let inference.device begin kserves://")
        return token

    @property
    def server(self) -> str:
        """HOST:PORT of the server that ``device`` names; empty for this machine."""
        return self.device.partition("://")[2]

    @property
    def encrypted(self) -> bool:
        """Whether that server is spoken to over TLS."""
        return self.device.startswith("kserves:")


class Vision(_Section):
    """How faces are found."""

    smallest_face: Annotated[int, Field(ge=12, le=1000)] = 32


def _known(text: str) -> str:
    select(text)
    return text


Rule = Annotated[str, AfterValidator(_known)]


class Labels(_Section):
    """Which words may be shown."""

    policy: PolicyName = "safe"
    include: Annotated[tuple[Rule, ...], Field(max_length=1000)] = ()
    exclude: Annotated[tuple[Rule, ...], Field(max_length=1000)] = ()

    @model_validator(mode="after")
    def _some_are_left(self) -> Labels:
        if not allowed(load_synsets(), self.choice).any():
            raise ValueError("no word is left to show; exclude less")
        return self

    @property
    def choice(self) -> Policy:
        """The policy that these keys spell out."""
        return Policy(self.policy, self.include, self.exclude)


class Display(_Section):
    """What the screen shows."""

    fullscreen: Annotated[bool, AT_START] = True
    monitor: Annotated[
        str | None,
        BeforeValidator(_source),
        AT_START,
        WithJsonSchema({"type": ["string", "integer", "null"]}),
    ] = None
    width: Annotated[int, Field(ge=320, le=7680), AT_START] = 1280
    height: Annotated[int, Field(ge=240, le=7680), AT_START] = 720
    rotate: Annotated[Literal[0, 90, 180, 270], AT_START] = 0
    mirror: bool = True
    fit: Literal["cover", "contain"] = "cover"
    debug: bool = False


def _font(path: Path | None, info: ValidationInfo) -> Path | None:
    if path is None:
        return None
    path = (info.context or {}).get("folder", Path()) / path
    try:
        if path.exists() and not path.is_file():
            raise OSError("not a file")
        # Pillow looks for a name elsewhere too, and a bitmap opens at the one size it has.
        for size in (23, 41) if path.is_file() else ():
            ImageFont.truetype(path, size)
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{path} is no font that can be used ({error})") from error
    return path


Sentence = Annotated[str, Field(max_length=200)]


class Idle(_Section):
    """What the wall does when nobody is there."""

    after: Annotated[float, Field(ge=0, le=86400)] = 60
    text: Sentence = ""


class Theme(_Section):
    """How it looks."""

    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#39ff14"
    font: Annotated[Path | None, AfterValidator(_font)] = None
    size: Annotated[float, Field(ge=0.5, le=3)] = 1
    line: Annotated[float, Field(ge=0, le=10)] = 1
    gloss: bool = False
    score: bool = False
    reveal: bool = True
    idle: Idle = Idle()
    preparing: Sentence = "preparing"
    lost: Sentence = "no picture from the camera"

    @field_validator("idle", mode="before")
    @classmethod
    def _may_be_empty(cls, value: object) -> object:
        return {} if value is None else value


def _day(value: object) -> object:
    return value.isoformat() if type(value) is date else value


Span = Annotated[str, AfterValidator(check_span)]
Days = Annotated[str, BeforeValidator(_day), AfterValidator(check_closed)]


class Opening(_Section):
    """When the wall is open."""

    open: Annotated[tuple[Span, ...], Field(max_length=100)] = ()
    closed: Annotated[tuple[Days, ...], Field(max_length=400)] = ()
    timezone: Annotated[str, AfterValidator(check_zone)] | None = None

    @property
    def schedule(self) -> Hours:
        """What these keys spell out."""
        return Hours(self.open, self.closed, self.timezone)


class Record(_Section):
    """What is kept of what was said."""

    file: Annotated[Path | None, AT_START] = Path("record.sqlite")
    keep_days: Annotated[int | None, Field(ge=1, le=36500), AT_START] = None


class Status(_Section):
    """What the wall tells technicians over HTTP, and whom."""

    port: Annotated[int | None, Field(ge=1, le=65535), AT_START] = 8090
    token: Annotated[SecretStr | None, BeforeValidator(_secret), AT_START] = None
    address: Annotated[IPvAnyAddress, AT_START] = IPv4Address("127.0.0.1")
    preview: Annotated[bool, AT_START] = False

    @field_validator("address")
    @classmethod
    def _has_a_token(cls, address: IPvAnyAddress, info: ValidationInfo) -> IPvAnyAddress:
        # Where the token is wrong, that is what there is to say.
        if not address.is_loopback and info.data.get("token", "") is None:
            raise ValueError(
                f"{address} can be reached from other machines: set status.token too, or 127.0.0.1"
            )
        return address


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no address and no network such as 10.0.0.0/8") from error
    return text


class Web(_Section):
    """What the web extension takes and how much of it."""

    address: Annotated[IPvAnyAddress, AT_START] = IPv4Address("127.0.0.1")
    port: Annotated[int, Field(ge=0, le=65535), AT_START] = 8080
    proxies: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], AT_START] = ()
    size: Annotated[float, Field(gt=0, le=100), AT_START] = 12
    pixels: Annotated[float, Field(gt=0, le=150), AT_START] = 40
    jobs: Annotated[int, Field(ge=1, le=64), AT_START] = 2
    seconds: Annotated[float, Field(gt=0, le=600), AT_START] = 20
    places: Annotated[int, Field(ge=2, le=1000), AT_START] = 64
    rate: Annotated[int, Field(ge=0, le=100_000), AT_START] = 120


class Config(_Section):
    """The whole file, validated once; trusted everywhere else."""

    camera: Camera = Camera()
    inference: Inference = Inference()
    vision: Vision = Vision()
    labels: Labels = Labels()
    display: Display = Display()
    theme: Theme = Theme()
    hours: Opening = Opening()
    record: Record = Record()
    status: Status = Status()
    web: Web = Web()


_FORMS: dict[tuple[Hashable, ...], str] = {
    ("theme", "colour"): '"#39ff14"',
    ("inference", "device"): "auto, gpu, cpu or kserve://HOST:PORT",
    ("inference", "detector"): "face-centerface, the name of a folder",
    ("inference", "classifier"): "person-semantic, the name of a folder",
}

# What YAML's own words mean to who edits a config.
_HINTS = {
    "<block end>": "; indent it as its neighbours are",
    "expected ':'": "; a key takes a colon and a space",
    "cannot start any token": "; indent with spaces, and put such in quotes",
    "mapping values are not allowed": "; one key a line, and quotes around a value with a colon",
    "stream": "; is a bracket or a quote not closed?",
    "expected ','": "; is a bracket or a quote not closed?",
    "another document": "; leave out the line with ---",
}

Lines = dict[tuple[Hashable, ...], int]


def _line_of(mark: yaml.Mark | None) -> int:
    return mark.line + 1 if mark else 1


class _Loader(yaml.SafeLoader):
    """Refuses what YAML would take in silence, and says where.

    That is keys written twice, of which the last would win, keys that are no words, and aliases,
    by which a few lines can stand for billions.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, f"*{event.anchor}: write the value itself here", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str" or not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "expected a plain word as key", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value}: written twice; keep one", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            # Such as a date in a thirteenth month, or "!!bool perhaps".
            value = node.value if isinstance(node, yaml.ScalarNode) else node.tag
            reason = f"{_shown(value)} cannot be read: {error}"
            raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark) from error


def _lines(node: yaml.Node | None, path: tuple[Hashable, ...] = ()) -> Lines:
    """Map the path of every key and item to the line it stands in, as deep as the schema goes."""
    found: Lines = {}
    if len(path) > 3:
        return found
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, key.value)
            found[below] = _line_of(key.start_mark)
            found |= _lines(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            below = (*path, index)
            found[below] = _line_of(value.start_mark)
            found |= _lines(value, below)
    return found


def _fields(path: tuple[Hashable, ...]) -> list[str]:
    """Return the keys that are known in the section a path leads into."""
    model: Any = Config
    for step in path:
        model = model.model_fields[step].annotation
    return list(model.model_fields)


def _shown(value: object) -> str:
    """Show a value, or as much of it as has room in a line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        # An integer of more digits than Python prints, or lists within lists within lists.
        return "that"
    return text if len(text) <= _VALUE else f"{text[:_VALUE]}…"


def _wrong(path: Path, line: int, reason: str) -> ConfigError:
    """Say in a line that people and terminals can read what is wrong."""
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in reason[:_REASON])
    return ConfigError(f"{path}:{line}: {shown}{'…' if len(reason) > _REASON else ''}")


def _explain(error: Any) -> str:
    """Turn one of pydantic's errors into: key, what is wrong, what would be right."""
    path = tuple(error["loc"])
    key = ".".join(str(step)[:_VALUE] for step in path)
    if error["type"] == "extra_forbidden":
        known = _fields(path[:-1])
        close = difflib.get_close_matches(str(path[-1]), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if error["type"] == "model_type":
        return f"{key}: needs keys of its own, indented below it: {', '.join(_fields(path))}"
    if error["input"] is None and path in _FORMS:
        return f"{key}: needs quotes, or is a comment: {_FORMS[path]}"
    if error["type"] == "string_pattern_mismatch":
        return f"{key}: {_shown(error['input'])} is not of the form {_FORMS[path]}"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    if error["type"] == "too_long":
        return f"{key}: {error['ctx']['actual_length']} items; at most {error['ctx']['max_length']}"
    reason = error["msg"][:1].lower() + error["msg"][1:]
    return f"{key}: {reason}, not {_shown(error['input'])}"


def load(path: str | Path) -> Config:
    """Read and validate a config.

    Parameters
    ----------
    path
        The file. Relative paths inside it are taken from its folder.

    Returns
    -------
    Config
        Complete; keys the file leaves out have their defaults.

    Raises
    ------
    ConfigError
        The file cannot be read, is not YAML, or a key or value is wrong.
    """
    path = Path(path)
    return parse(read(path), path)


def read(path: Path) -> str:
    """Return the text of a config file; raises `ConfigError`."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST + 1)
        if len(text) > _MOST:
            raise _wrong(path, 1, f"more than {_MOST // 1024} KB, which no config needs")
        # As files are read that are text: however lines end.
        return io.IncrementalNewlineDecoder(None, True).decode(text.decode("utf-8"), True)
    except UnicodeDecodeError as error:
        raise _wrong(path, 1, "cannot be read: not a UTF-8 text") from error
    except PermissionError as error:
        raise _wrong(path, 1, "cannot be read; let this user or its group read it") from error
    except OSError as error:
        raise _wrong(path, 1, f"cannot be read: {error.strerror}") from error


def parse(text: str, path: Path) -> Config:
    """Validate the text of the config file at some path; see `load`."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        data = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = _line_of(error.problem_mark or error.context_mark)
        problem = error.problem or "not valid YAML"
        hint = next((hint for part, hint in _HINTS.items() if part in problem), "")
        raise _wrong(path, line, f"{problem}{hint}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _wrong(
            path, line, f"not valid YAML: {text[error.position]!r} may not be in it"
        ) from error
    except RecursionError as error:
        raise _wrong(path, 1, "nested too deeply") from error
    if data is not None and not isinstance(data, dict):
        raise _wrong(path, 1, f"expected sections ({', '.join(Config.model_fields)})")
    # A section whose keys are all commented out is there, but empty.
    sections = {key: value for key, value in (data or {}).items() if value is not None}
    try:
        config = Config.model_validate(sections, context={"folder": path.resolve().parent})
    except ValidationError as error:
        lines = _lines(node)
        first = min(error.errors(), key=lambda each: _line(each["loc"], lines))
        raise _wrong(path, _line(first["loc"], lines), _explain(first)) from error
    return _anchored(config, path.resolve().parent)


def _anchored(config: Config, folder: Path) -> Config:
    """Make the paths in a config absolute: relative ones start from a folder."""
    camera = config.camera
    if camera.path is not None:
        camera = camera.model_copy(update={"source": str(folder / camera.path)})
    engines = folder / config.inference.engines
    inference = config.inference.model_copy(update={"engines": engines})
    if inference.authority is not None:
        inference = inference.model_copy(update={"authority": folder / inference.authority})
    record = config.record
    if record.file is not None:
        record = record.model_copy(update={"file": folder / record.file})
    return config.model_copy(update={"camera": camera, "inference": inference, "record": record})


def _line(loc: tuple[Hashable, ...], lines: Lines) -> int:
    """Return the line of a key, or of the nearest section around it that is in the file."""
    while loc and loc not in lines:
        loc = loc[:-1]
    return lines.get(loc, 1)


def find() -> Path:
    """Return the config to use when none is named: here, else the machine's.

    Raises
    ------
    ConfigError
        There is neither.
    """
    for place in PLACES:
        try:
            if place.is_file():
                return place
        except PermissionError:
            continue  # Somebody else's folder is no place to look for it.
    raise ConfigError(f"{PLACES[0]}:1: no such file, nor {PLACES[1]}; name one with --config FILE")
