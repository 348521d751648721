"""The pages: plain HTML in the wall's colour, made more convenient by a script."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from installation.config.model import Config
from installation.scene import Box
from installation.web.upload.errors import RequestError
from installation.web.upload.icon import draw_icon
from installation.web.upload.request_body import FIELD
from installation.web.upload.response import ImageResponse
from installation.web.upload.schemas import Word, data_uri, to_schema

_ASSETS = {
    "style.css": "text/css",
    "script.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_ICON = "apple-touch-icon.png"
# Errors that may be gone if the same image is sent again.
_TEMPORARY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


@dataclass(frozen=True, slots=True)
class _Face:
    """A face as the page shows it: its number in the image, its words and what the network saw."""

    number: int
    box: Box
    words: list[Word]
    crop: str | None

    @property
    def word(self) -> Word:
        return self.words[0]


@dataclass(frozen=True, slots=True)
class _Group:
    """A word and the faces that got it; without faces, the word for the whole image."""

    words: list[Word]
    faces: list[_Face] = field(default_factory=list)

    @property
    def word(self) -> Word:
        return self.words[0]


class Pages:
    """Renders the pages.

    Parameters
    ----------
    config
        Its theme, labels and limits appear in the pages.
    glosses
        Definitions by wnid.
    """

    def __init__(self, config: Config, glosses: dict[str, str]) -> None:
        self._config = config
        self._glosses = glosses
        self._environment = Environment(
            loader=PackageLoader(__package__, "assets"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.i18n"],
        )
        self._environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
        self._environment.filters["percent"] = _percent
        self._environment.globals.update(
            language="en",
            direction="ltr",
            field=FIELD,
            limits=config.web,
            colour=config.theme.colour,
            on_colour=_readable_on(config.theme.colour),
            policy=config.labels.policy,
            recorded=config.record.file is not None,
            semantic=config.inference.classifier == "person-semantic",
        )
        self._icon = draw_icon(config.theme.colour)

    @property
    def assets(self) -> tuple[str, ...]:
        """Names of the files that the pages load."""
        return (*_ASSETS, _ICON)

    def asset(self, name: str) -> Response:
        """Return one of these files."""
        if name == _ICON:
            return Response(self._icon, media_type="image/png")
        return Response(self._environment.get_template(name).render(), media_type=_ASSETS[name])

    def form(self) -> Response:
        """Return the page with the upload form."""
        return self._render("page.html", 200, result=None, error=None)

    def error(self, error: RequestError) -> Response:
        """Return the page with an error message and the form."""
        temporary = error.status in _TEMPORARY or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        shown = {"sentence": str(error), "temporary": temporary}
        return self._render("page.html", error.status, result=None, error=shown)

    def result(self, response: ImageResponse) -> Response:
        """Return the page with the result for an image."""
        data = to_schema(response, self._glosses)
        crops = map(data_uri, response.crops)
        faces = [
            _Face(number, face.box, face.words, next(crops, None))
            for number, face in enumerate(data.faces, 1)
        ]
        result = {
            "picture": data.picture,
            "width": data.width,
            "height": data.height,
            "faces": faces,
            "groups": _group(faces) or [_Group(data.scene)],
        }
        return self._render("page.html", 200, result=result, error=None)

    def api(self, document: dict[str, Any]) -> Response:
        """Return the page that describes the API, from its OpenAPI document."""
        return self._render("api.html", 200, document=document)

    def _render(self, name: str, status: int, **values: Any) -> Response:
        return HTMLResponse(self._environment.get_template(name).render(values), status)


def _group(faces: list[_Face]) -> list[_Group]:
    """Group faces by their word, in the order of the first face of each."""
    groups: dict[str, _Group] = {}
    for face in faces:
        groups.setdefault(face.word.wnid, _Group(face.words)).faces.append(face)
    return list(groups.values())


def _percent(share: float) -> str:
    """Return a share (0 to 1) in percent, with as many digits as say something.

    Examples
    --------
    >>> _percent(0.315), _percent(0.04), _percent(0.0004)
    ('32 %', '4.0 %', '0.04 %')
    """
    digits = 0 if share >= 0.1 else 1 if share >= 0.001 else 2
    return f"{100 * share:.{digits}f} %"


def _readable_on(colour: str) -> str:
    """Return black or white, whichever has more contrast with a colour (WCAG 2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"
