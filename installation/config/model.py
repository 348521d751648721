"""The config's sections and keys: types, ranges, defaults.

``config.yaml`` explains each key.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Annotated, Literal

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
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from installation.config.file_url import is_file_url, local_path
from installation.labels.policy import Policy, PolicyName, allowed
from installation.labels.synsets import load_synsets
from installation.labels.taxonomy import select
from installation.runtime.redact import lacks_scheme
from installation.supervision.hours import Schedule, check_closed, check_span, check_zone

_MAX_PORT = 65535


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# Marks a key that takes effect at a restart only; all others do at a reload.
RESTART_REQUIRED = Field(json_schema_extra={"takes effect": "at start"})


def _check_integer(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is not None and type(value) is not int:
        raise PydanticCustomError("int_type", "is not a whole number")
    return value


def _check_text(value: object) -> object:
    if not isinstance(value, str | IPv4Address | IPv6Address):
        raise PydanticCustomError("string_type", "is not a text")
    return value


def _integer_as_text(value: object) -> object:
    return str(value) if type(value) is int else value


# Stricter than pydantic's own types, which turn true into 1 and false into 0.0.0.0.
INTEGER = BeforeValidator(_check_integer)
Number = Annotated[float, Strict()]
Switch = Annotated[bool, Strict()]
Address = Annotated[IPvAnyAddress, BeforeValidator(_check_text)]


def _check_scheme(source: str) -> str:
    if lacks_scheme(source):
        raise ValueError(
            "looks like a camera's address without a scheme such as rtsp://; "
            "for a file of that name write ./NAME"
        )
    return source


class Camera(_Section):
    """Where frames come from."""

    source: Annotated[
        str,
        BeforeValidator(_integer_as_text),
        Field(min_length=1),
        AfterValidator(_check_scheme),
        WithJsonSchema({"type": ["string", "integer"], "minLength": 1}),
    ] = "0"
    width: Annotated[int, Field(ge=160, le=7680), INTEGER] = 1280
    height: Annotated[int, Field(ge=120, le=4320), INTEGER] = 720
    fps: Annotated[Number, Field(ge=1, le=240)] = 30
    format: Literal["mjpg", "yuyv", "nv12"] = "mjpg"
    loop: Switch = True

    @field_validator("source")
    @classmethod
    def _check_file_url(cls, source: str) -> str:
        local_path(source)
        return source

    @property
    def path(self) -> Path | None:
        """The file or folder in ``source``; None for a device, a stream or the demonstration."""
        source = self.source
        if is_file_url(source):
            return local_path(source)
        is_number = source.isascii() and source.isdecimal()
        is_device = source == "demo" or is_number or source.startswith("/dev/")
        return None if is_device or "://" in source else Path(source)


_MIN_TOKEN_LENGTH = 16


def _check_secret(value: object) -> object:
    # The error is logged: it must not contain the value.
    if value is not None and (
        not isinstance(value, str)
        or len(value) < _MIN_TOKEN_LENGTH
        or not (value.isascii() and value.isprintable())
    ):
        raise ValueError(
            f"needs at least {_MIN_TOKEN_LENGTH} letters and digits, in quotes; "
            "`openssl rand -hex 16` generates a token"
        )
    return value


def _check_device(value: object) -> object:
    if isinstance(value, str) and "://" in value:
        raise ValueError("is auto, gpu or cpu; the address of a server goes into inference.server")
    return value


class Inference(_Section):
    """Which engines are used, where they are stored and what they run on."""

    device: Annotated[
        Literal["auto", "gpu", "cpu"], BeforeValidator(_check_device), RESTART_REQUIRED
    ] = "auto"
    server: Annotated[
        Annotated[
            str,
            Field(pattern=r"^kserves?://([\w.-]+|\[[0-9a-fA-F:.]+\]):[1-9][0-9]{0,4}$"),
        ]
        | None,
        RESTART_REQUIRED,
    ] = None
    offload: Annotated[Literal["classifier", "both"], RESTART_REQUIRED] = "classifier"
    ca_file: Annotated[Path | None, RESTART_REQUIRED] = None
    token: Annotated[SecretStr | None, BeforeValidator(_check_secret), RESTART_REQUIRED] = None
    engines: Annotated[Path, RESTART_REQUIRED] = Path("engines/built")
    detector: Annotated[str, Field(pattern=r"^[\w.-]+$"), RESTART_REQUIRED] = "face-centerface"
    classifier: Annotated[str, Field(pattern=r"^[\w.-]+$"), RESTART_REQUIRED] = "person-semantic"

    @field_validator("server")
    @classmethod
    def _check_server(cls, server: str | None, info: ValidationInfo) -> str | None:
        if server and int(server.rpartition(":")[2]) > _MAX_PORT:
            raise ValueError(f"{server} has no valid port; ports are 1 to {_MAX_PORT}")
        if server and info.data.get("device") == "gpu":
            raise ValueError(
                "with a server, this machine uses its CPU; set inference.device to auto or cpu"
            )
        return server

    @field_validator("ca_file")
    @classmethod
    def _check_ca_file(cls, ca_file: Path | None, info: ValidationInfo) -> Path | None:
        # If the server itself is invalid, that is the error to report.
        server = info.data.get("server", "kserves://") or ""
        if ca_file and not server.startswith("kserves://"):
            raise ValueError("needs an encrypted inference.server: kserves://HOST:PORT")
        return ca_file

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        scheme, _, address = (info.data.get("server") or "").partition("://")
        host = address.rpartition(":")[0]
        if token and scheme == "kserve" and host not in ("localhost", "127.0.0.1", "[::1]"):
            raise ValueError(
                "would be sent unencrypted; let inference.server begin with kserves://"
            )
        return token

    @property
    def server_address(self) -> str:
        """HOST:PORT of the inference server; empty if there is none."""
        return (self.server or "").partition("://")[2]

    @property
    def encrypted(self) -> bool:
        """Whether the inference server is contacted over TLS."""
        return (self.server or "").startswith("kserves://")


class Vision(_Section):
    """How faces are found."""

    min_face_px: Annotated[int, Field(ge=12, le=1000), INTEGER] = 32


def _check_rule(text: str) -> str:
    select(text)
    return text


Rule = Annotated[str, AfterValidator(_check_rule)]


class Labels(_Section):
    """Which words may be shown."""

    policy: PolicyName = "safe"
    include: Annotated[tuple[Rule, ...], Field(max_length=1000)] = ()
    exclude: Annotated[tuple[Rule, ...], Field(max_length=1000)] = ()

    @model_validator(mode="after")
    def _check_not_empty(self) -> Labels:
        if not allowed(load_synsets(), self.choice).any():
            raise ValueError("no word is left to show; exclude fewer words")
        return self

    @property
    def choice(self) -> Policy:
        """These keys as a `Policy`."""
        return Policy(self.policy, self.include, self.exclude)


class Display(_Section):
    """What the screen shows."""

    fullscreen: Annotated[Switch, RESTART_REQUIRED] = True
    monitor: Annotated[
        str | None,
        BeforeValidator(_integer_as_text),
        RESTART_REQUIRED,
        WithJsonSchema({"type": ["string", "integer", "null"]}),
    ] = None
    width: Annotated[int, Field(ge=320, le=7680), INTEGER, RESTART_REQUIRED] = 1280
    height: Annotated[int, Field(ge=240, le=7680), INTEGER, RESTART_REQUIRED] = 720
    rotate: Annotated[Literal[0, 90, 180, 270], INTEGER, RESTART_REQUIRED] = 0
    mirror: Switch = True
    fit: Literal["cover", "contain"] = "cover"
    debug: Switch = False


def _check_font(path: Path | None, info: ValidationInfo) -> Path | None:
    if path is None:
        return None
    path = (info.context or {}).get("folder", Path()) / path
    try:
        if path.exists() and not path.is_file():
            raise OSError("not a file")
        # Pillow would search the system for a missing file; a bitmap font opens at one size only.
        for size in (23, 41) if path.is_file() else ():
            ImageFont.truetype(path, size)
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{path} cannot be used as a font ({error})") from error
    return path


Text = Annotated[str, Field(max_length=200)]


class Idle(_Section):
    """What the screen shows while nobody is there."""

    after_s: Annotated[Number, Field(ge=0, le=86400)] = 60
    text: Text = ""


class Theme(_Section):
    """How boxes and words look."""

    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#39ff14"
    font: Annotated[Path | None, AfterValidator(_check_font)] = None
    text_scale: Annotated[Number, Field(ge=0.5, le=3)] = 1
    box_width: Annotated[Number, Field(ge=0, le=10)] = 1
    gloss: Switch = False
    score: Switch = False
    cycle_candidates: Switch = True
    idle: Idle = Idle()
    text_preparing: Text = "preparing"
    text_no_camera: Text = "no picture from the camera"

    @field_validator("idle", mode="before")
    @classmethod
    def _default_if_null(cls, value: object) -> object:
        return {} if value is None else value


Span = Annotated[str, AfterValidator(check_span)]
Days = Annotated[str, AfterValidator(check_closed)]


class Hours(_Section):
    """Opening hours."""

    open: Annotated[tuple[Span, ...], Field(max_length=100)] = ()
    closed: Annotated[tuple[Days, ...], Field(max_length=400)] = ()
    timezone: Annotated[str, AfterValidator(check_zone)] | None = None

    @property
    def schedule(self) -> Schedule:
        """These keys as a `Schedule`."""
        return Schedule(self.open, self.closed, self.timezone)


class Record(_Section):
    """The record of the words shown."""

    file: Annotated[Path | None, RESTART_REQUIRED] = Path("record.sqlite")
    keep_days: Annotated[int | None, Field(ge=1, le=36500), INTEGER, RESTART_REQUIRED] = None


class Status(_Section):
    """The status page for technicians."""

    port: Annotated[int | None, Field(ge=1, le=_MAX_PORT), INTEGER, RESTART_REQUIRED] = 8090
    token: Annotated[SecretStr | None, BeforeValidator(_check_secret), RESTART_REQUIRED] = None
    address: Annotated[Address, RESTART_REQUIRED] = IPv4Address("127.0.0.1")
    preview: Annotated[Switch, RESTART_REQUIRED] = False

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: IPvAnyAddress, info: ValidationInfo) -> IPvAnyAddress:
        # If the token itself is invalid, that is the error to report.
        if not address.is_loopback and info.data.get("token", "") is None:
            raise ValueError(
                f"{address} is reachable from other machines: set status.token too, or 127.0.0.1"
            )
        return address


def _check_network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is neither an address nor a network such as 10.0.0.0/8"
        ) from error
    return text


class Web(_Section):
    """The upload page: its address and its limits."""

    address: Annotated[Address, RESTART_REQUIRED] = IPv4Address("127.0.0.1")
    port: Annotated[int, Field(ge=0, le=_MAX_PORT), INTEGER, RESTART_REQUIRED] = 8080
    proxies: Annotated[
        tuple[Annotated[str, AfterValidator(_check_network)], ...], RESTART_REQUIRED
    ] = ()
    max_upload_mb: Annotated[Number, Field(gt=0, le=100), RESTART_REQUIRED] = 12
    max_megapixels: Annotated[Number, Field(gt=0, le=150), RESTART_REQUIRED] = 40
    workers: Annotated[int, Field(ge=1, le=64), INTEGER, RESTART_REQUIRED] = 2
    timeout_s: Annotated[Number, Field(gt=0, le=600), RESTART_REQUIRED] = 20
    max_in_flight: Annotated[int, Field(ge=2, le=1000), INTEGER, RESTART_REQUIRED] = 64
    max_per_minute: Annotated[int, Field(ge=0, le=100_000), INTEGER, RESTART_REQUIRED] = 120


class Config(_Section):
    """The whole config: validated here, trusted everywhere else."""

    camera: Camera = Camera()
    inference: Inference = Inference()
    vision: Vision = Vision()
    labels: Labels = Labels()
    display: Display = Display()
    theme: Theme = Theme()
    hours: Hours = Hours()
    record: Record = Record()
    status: Status = Status()
    web: Web = Web()
