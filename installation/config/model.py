"""``config.yaml``: its schema, and errors that tell the line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from PIL import ImageFont
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    SecretStr,
    Strict,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from installation.config.errors import explain
from installation.config.file_url import is_file_url, local_path
from installation.config.files import merge_documents, read
from installation.config.strict_yaml import ConfigError, Document, Key, config_error
from installation.labels.policy import Policy, PolicyName, allowed
from installation.labels.synsets import load_synsets
from installation.labels.taxonomy import select
from installation.runtime.redact import lacks_scheme
from installation.supervision.hours import Hours, check_closed, check_span, check_zone

_MOST_PORT = 65535

SEARCH_PATHS = (Path("config.yaml"), Path("/etc/installation/config.yaml"))
# What the installed wall keeps of the config that was good last.
LAST_GOOD = Path("/var/lib/installation/config.last-good.yaml")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# Marks a key that is read when the installation starts; all others take effect at a reload.
RESTART_REQUIRED = Field(json_schema_extra={"takes effect": "at start"})


def _integer(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is not None and type(value) is not int:
        raise PydanticCustomError("int_type", "is no whole number")
    return value


def _text(value: object) -> object:
    if not isinstance(value, str | IPv4Address | IPv6Address):
        raise PydanticCustomError("string_type", "is no text")
    return value


def _number_or_text(value: object) -> object:
    return str(value) if type(value) is int else value


# What pydantic would make one of the other from, such as 1 from true and 0.0.0.0 from false.
WHOLE = BeforeValidator(_integer)
Number = Annotated[float, Strict()]
Switch = Annotated[bool, Strict()]
Address = Annotated[IPvAnyAddress, BeforeValidator(_text)]


def _has_a_scheme(source: str) -> str:
    if lacks_scheme(source):
        raise ValueError(
            "seems to be a camera's address, but has no scheme such as rtsp://; "
            "a file of that name is written ./NAME"
        )
    return source


class Camera(_Section):
    """Where pictures come from; see ``config.yaml`` for each key."""

    source: Annotated[
        str,
        BeforeValidator(_number_or_text),
        Field(min_length=1),
        AfterValidator(_has_a_scheme),
        WithJsonSchema({"type": ["string", "integer"], "minLength": 1}),
    ] = "0"
    width: Annotated[int, Field(ge=160, le=7680), WHOLE] = 1280
    height: Annotated[int, Field(ge=120, le=4320), WHOLE] = 720
    fps: Annotated[Number, Field(ge=1, le=240)] = 30
    format: Literal["mjpg", "yuyv", "nv12"] = "mjpg"
    loop: Switch = True

    @field_validator("source")
    @classmethod
    def _is_on_this_machine(cls, source: str) -> str:
        local_path(source)
        return source

    @property
    def path(self) -> Path | None:
        """The file or folder that ``source`` names; None for a device, a stream or the demo."""
        source = self.source
        if is_file_url(source):
            return local_path(source)
        number = source.isascii() and source.isdecimal()
        other = source == "demo" or number or source.startswith("/dev/")
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
        Field(pattern=r"^(auto|gpu|cpu|kserves?://([\w.-]+|\[[0-9a-fA-F:.]+\]):[1-9][0-9]{0,4})$"),
        RESTART_REQUIRED,
    ] = "auto"
    offload: Annotated[Literal["classifier", "both"], RESTART_REQUIRED] = "classifier"
    authority: Annotated[Path | None, RESTART_REQUIRED] = None
    token: Annotated[SecretStr | None, BeforeValidator(_secret), RESTART_REQUIRED] = None
    engines: Annotated[Path, RESTART_REQUIRED] = Path("engines/built")
    detector: Annotated[str, Field(pattern=r"^[\w.-]+$"), RESTART_REQUIRED] = "face-centerface"
    classifier: Annotated[str, Field(pattern=r"^[\w.-]+$"), RESTART_REQUIRED] = "person-semantic"

    @field_validator("device")
    @classmethod
    def _has_a_port(cls, device: str) -> str:
        if "://" in device and int(device.rpartition(":")[2]) > _MOST_PORT:
            raise ValueError(f"{device} has no port: they are 1 to {_MOST_PORT}")
        return device

    @field_validator("authority")
    @classmethod
    def _check_authority(cls, authority: Path | None, info: ValidationInfo) -> Path | None:
        if authority and not info.data.get("device", "kserves:").startswith("kserves:"):
            raise ValueError("belongs to a server that is spoken to encrypted: kserves://HOST:PORT")
        return authority

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

    smallest_face: Annotated[int, Field(ge=12, le=1000), WHOLE] = 32


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

    fullscreen: Annotated[Switch, RESTART_REQUIRED] = True
    monitor: Annotated[
        str | None,
        BeforeValidator(_number_or_text),
        RESTART_REQUIRED,
        WithJsonSchema({"type": ["string", "integer", "null"]}),
    ] = None
    width: Annotated[int, Field(ge=320, le=7680), WHOLE, RESTART_REQUIRED] = 1280
    height: Annotated[int, Field(ge=240, le=7680), WHOLE, RESTART_REQUIRED] = 720
    rotate: Annotated[Literal[0, 90, 180, 270], WHOLE, RESTART_REQUIRED] = 0
    mirror: Switch = True
    fit: Literal["cover", "contain"] = "cover"
    debug: Switch = False


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

    after: Annotated[Number, Field(ge=0, le=86400)] = 60
    text: Sentence = ""


class Theme(_Section):
    """How it looks."""

    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#39ff14"
    font: Annotated[Path | None, AfterValidator(_font)] = None
    size: Annotated[Number, Field(ge=0.5, le=3)] = 1
    line: Annotated[Number, Field(ge=0, le=10)] = 1
    gloss: Switch = False
    score: Switch = False
    reveal: Switch = True
    idle: Idle = Idle()
    preparing: Sentence = "preparing"
    lost: Sentence = "no picture from the camera"

    @field_validator("idle", mode="before")
    @classmethod
    def _may_be_empty(cls, value: object) -> object:
        return {} if value is None else value


Span = Annotated[str, AfterValidator(check_span)]
Days = Annotated[str, AfterValidator(check_closed)]


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

    file: Annotated[Path | None, RESTART_REQUIRED] = Path("record.sqlite")
    keep_days: Annotated[int | None, Field(ge=1, le=36500), WHOLE, RESTART_REQUIRED] = None


class Status(_Section):
    """What the wall tells technicians over HTTP, and whom."""

    port: Annotated[int | None, Field(ge=1, le=_MOST_PORT), WHOLE, RESTART_REQUIRED] = 8090
    token: Annotated[SecretStr | None, BeforeValidator(_secret), RESTART_REQUIRED] = None
    address: Annotated[Address, RESTART_REQUIRED] = IPv4Address("127.0.0.1")
    preview: Annotated[Switch, RESTART_REQUIRED] = False

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

    address: Annotated[Address, RESTART_REQUIRED] = IPv4Address("127.0.0.1")
    port: Annotated[int, Field(ge=0, le=_MOST_PORT), WHOLE, RESTART_REQUIRED] = 8080
    proxies: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], RESTART_REQUIRED] = ()
    size: Annotated[Number, Field(gt=0, le=100), RESTART_REQUIRED] = 12
    pixels: Annotated[Number, Field(gt=0, le=150), RESTART_REQUIRED] = 40
    jobs: Annotated[int, Field(ge=1, le=64), WHOLE, RESTART_REQUIRED] = 2
    seconds: Annotated[Number, Field(gt=0, le=600), RESTART_REQUIRED] = 20
    places: Annotated[int, Field(ge=2, le=1000), WHOLE, RESTART_REQUIRED] = 64
    rate: Annotated[int, Field(ge=0, le=100_000), WHOLE, RESTART_REQUIRED] = 120


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


def load(path: str | Path) -> Config:
    """Read and validate a config.

    Parameters
    ----------
    path
        The file; what `overlays` finds beside it is laid over it. Relative paths in any of them
        are taken from its folder.

    Returns
    -------
    Config
        Complete; keys the files leave out have their defaults.

    Raises
    ------
    ConfigError
        A file cannot be read, is not YAML, or a key or value is wrong.
    """
    return validate(read(Path(path)))


def validate(documents: Sequence[Document]) -> Config:
    """Return the config that files come to, the first of them the one that is named; see `load`."""
    for document in documents:
        if not isinstance(document.data, dict | None):
            sections = ", ".join(Config.model_fields)
            raise config_error(document.path, 1, f"expected sections ({sections})")
    folder = Path(os.path.realpath(documents[0].path)).parent
    try:
        return _resolve_paths(_validated(documents, folder), folder)
    except ValidationError as error:
        raise _error_location(error, documents, folder) from error


def _validated(documents: Sequence[Document], folder: Path) -> Config:
    # A section whose keys are all commented out is there, but empty.
    data = {key: value for key, value in merge_documents(documents).items() if value is not None}
    return Config.model_validate(data, context={"folder": folder})


def _error_location(
    error: ValidationError, documents: Sequence[Document], folder: Path
) -> ConfigError:
    """Say what is wrong first, in the order of files and lines, and where that is."""
    # Of the first file alone, the first two, and so on.
    before = [_wrong_keys(documents[:count], folder) for count in range(1, len(documents))]

    def place(each: Any) -> tuple[int, int]:
        # At fault is the last file that has the key; or the one by which what stands in another
        # became wrong, such as an address that may be reached by a token that was taken away.
        key, at = each["loc"], 0
        for number, document in enumerate(documents):
            said = key in document.lines and not isinstance(each["input"], dict)
            if said or (number and key not in before[number - 1]):
                at = number
        return at, documents[at].line(key)

    first = min(error.errors(), key=place)
    at, line = place(first)
    key = first["loc"]
    reason = explain(first, documents[at].written.get(key), Config)
    elsewhere = [each for each in documents[:at] if key in each.lines]
    if elsewhere and key not in documents[at].lines:
        reason += f" (it stands in {elsewhere[-1].path}:{elsewhere[-1].lines[key]})"
    return config_error(documents[at].path, line, reason)


def _wrong_keys(documents: Sequence[Document], folder: Path) -> set[Key]:
    try:
        _validated(documents, folder)
    except ValidationError as error:
        return {each["loc"] for each in error.errors()}
    return set()


def _resolve_paths(config: Config, folder: Path) -> Config:
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


def find() -> Path:
    """Return the config to use when none is named: here, else the machine's.

    Raises
    ------
    ConfigError
        There is neither.
    """
    for place in SEARCH_PATHS:
        try:
            if place.is_file():
                return place
        except PermissionError:
            continue  # Somebody else's folder is no place to look for it.
    kept = ""
    with suppress(PermissionError):
        if LAST_GOOD.is_file():
            kept = f"; what was good last is kept in {LAST_GOOD}"
    raise ConfigError(
        f"{SEARCH_PATHS[0]}:1: no such file, nor {SEARCH_PATHS[1]}; name one with --config FILE"
        f"{kept}"
    )
