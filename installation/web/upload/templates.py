"""The pages: plain HTML in the wall's colour, made more convenient by a script."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from installation.config.model import Config
from installation.labels.policy import PolicyName
from installation.web.upload.errors import RequestError
from installation.web.upload.request_body import FIELD
from installation.web.upload.response import ImageResponse
from installation.web.upload.schemas import Word, data_uri, to_schema

_ASSETS = {
    "style.css": "text/css",
    "script.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
# What visitors should know about the words the curator allows.
_WARNINGS: dict[PolicyName, str] = {
    "full": "Some of the words that may appear are slurs and insults.",
    "inoffensive": "Some of the words that may appear can hurt.",
    "safe": "",
}
# Screen readers read the alternative text aloud: name only as many faces as people will listen to.
_MAX_FACES_IN_ALT = 8


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
        )
        self._environment.filters["percent"] = _percent
        self._environment.globals.update(
            field=FIELD,
            limits=config.web,
            colour=config.theme.colour,
            on_colour=_readable_on(config.theme.colour),
            policy=config.labels.policy,
            warning=_WARNINGS[config.labels.policy],
            recorded=config.record.file is not None,
            semantic=config.inference.classifier == "person-semantic",
        )

    @property
    def assets(self) -> tuple[str, ...]:
        """Names of the files that the pages load."""
        return tuple(_ASSETS)

    def asset(self, name: str) -> Response:
        """Return one of these files."""
        return Response(self._environment.get_template(name).render(), media_type=_ASSETS[name])

    def form(self) -> Response:
        """Return the page with the upload form."""
        return self._render("page.html", 200, result=None, error=None)

    def error(self, error: RequestError) -> Response:
        """Return the page with the form and an error message."""
        return self._render("page.html", error.status, result=None, error=error)

    def result(self, response: ImageResponse) -> Response:
        """Return the page with the form and the result for an image."""
        data = to_schema(response, self._glosses)
        crops = [data_uri(jpeg) for jpeg in response.crops]
        words = [face.words for face in data.faces]
        return self._render(
            "page.html",
            200,
            error=None,
            result={
                "data": data,
                "alt": _alternative_text(words, data.scene),
                "heading": _heading(len(words)),
                "faces": [
                    (each, crops[index] if index < len(crops) else None)
                    for index, each in enumerate(words)
                ]
                or [(data.scene, None)],
            },
        )

    def api(self, document: dict[str, Any]) -> Response:
        """Return the page that describes the API, from its OpenAPI document."""
        return self._render("api.html", 200, document=document)

    def _render(self, name: str, status: int, **values: Any) -> Response:
        return HTMLResponse(self._environment.get_template(name).render(values), status)


def _percent(share: float) -> str:
    """Return a share (0 to 1) in percent, with as many digits as say something.

    Examples
    --------
    >>> _percent(0.315), _percent(0.04), _percent(0.0004)
    ('32 %', '4.0 %', '0.04 %')
    """
    digits = 0 if share >= 0.1 else 1 if share >= 0.001 else 2
    return f"{100 * share:.{digits}f} %"


def _heading(faces: int) -> str:
    if not faces:
        return "No face found; this is the word for the whole image"
    return "One face found" if faces == 1 else f"{faces} faces found, from left to right"


def _alternative_text(faces: list[list[Word]], scene: list[Word]) -> str:
    """Describe the image with its boxes to people who cannot see it."""
    if not faces:
        return f"Your image. No face was found; the word across it is “{scene[0].words}”."
    words = [f"“{each[0].words}”" for each in faces[:_MAX_FACES_IN_ALT]]
    more = f", and {len(faces) - len(words)} more" if len(faces) > len(words) else ""
    if len(faces) == 1:
        return f"Your image with a box around one face. The word below it is {words[0]}."
    return (
        f"Your image with boxes around {len(faces)} faces. The words below them, from left to "
        f"right: {', '.join(words)}{more}."
    )


def _readable_on(colour: str) -> str:
    """Return black or white, whichever has more contrast with a colour (WCAG 2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"
