"""The pages, in the wall's colour: plain HTML that a script may make more convenient."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from installation.config.model import Config
from installation.labels.policy import PolicyName
from installation.web.upload.decode_image import KINDS
from installation.web.upload.errors import RequestError
from installation.web.upload.request_body import FIELD
from installation.web.upload.response import ImageResponse, Word, data_uri, reply

# What else is served, and as what.
_ASSETS = {
    "style.css": "text/css",
    "script.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
# What visitors have to know of the curator's choice of words.
_WARNINGS: dict[PolicyName, str] = {
    "full": "Some of the words that may appear are slurs and insults.",
    "inoffensive": "Some of the words that may appear can hurt.",
    "safe": "",
}
# Words of alternative texts are read aloud: no more of them than people listen to.
_NAMED_ALOUD = 8


class Pages:
    """Makes pages.

    Parameters
    ----------
    config
        Whose theme and labels they follow.
    glosses
        What the words mean, by wnid.
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
            kinds=KINDS,
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
        """Names of the files beside the pages."""
        return tuple(_ASSETS)

    def asset(self, name: str) -> Response:
        """Return one of these files."""
        return Response(self._environment.get_template(name).render(), media_type=_ASSETS[name])

    def form(self) -> Response:
        """Return the page on which a picture is chosen."""
        return self._render("page.html", 200, answer=None, trouble=None)

    def trouble(self, trouble: RequestError) -> Response:
        """Return the page that says why there is no answer."""
        return self._render("page.html", trouble.status, answer=None, trouble=trouble)

    def answer(self, answer: ImageResponse) -> Response:
        """Return the page with a picture's answer."""
        data = reply(answer, self._glosses)
        seen = [data_uri(jpeg) for jpeg in answer.seen]
        words = [face.words for face in data.faces]
        return self._render(
            "page.html",
            200,
            trouble=None,
            answer={
                "data": data,
                "alt": _described(words, data.scene),
                "heading": _heading(len(words)),
                "named": [
                    (each, seen[index] if index < len(seen) else None)
                    for index, each in enumerate(words)
                ]
                or [(data.scene, None)],
            },
        )

    def api(self, document: dict[str, Any]) -> Response:
        """Return the page that describes the API."""
        return self._render("api.html", 200, document=document)

    def _render(self, name: str, status: int, **values: Any) -> Response:
        return HTMLResponse(self._environment.get_template(name).render(values), status)


def _percent(share: float) -> str:
    """Say a share as people do.

    Examples
    --------
    >>> _percent(0.315), _percent(0.04), _percent(0.0004)
    ('32 %', '4.0 %', '0.04 %')
    """
    digits = 0 if share >= 0.1 else 1 if share >= 0.001 else 2
    return f"{100 * share:.{digits}f} %"


def _heading(faces: int) -> str:
    if not faces:
        return "No face was found; this is the word for the picture as a whole"
    return "One face was found" if faces == 1 else f"{faces} faces were found, from left to right"


def _described(faces: list[list[Word]], scene: list[Word]) -> str:
    """Describe a picture with its boxes to those who do not see it."""
    if not faces:
        return f"Your picture. No face was found; across it stands: “{scene[0].words}”."
    named = [f"“{words[0].words}”" for words in faces[:_NAMED_ALOUD]]
    more = f", and {len(faces) - len(named)} more" if len(faces) > len(named) else ""
    if len(faces) == 1:
        return f"Your picture with a box around one face. Under it stands: {named[0]}."
    return (
        f"Your picture with boxes around {len(faces)} faces. From left to right, "
        f"under them stands: {', '.join(named)}{more}."
    )


def _readable_on(colour: str) -> str:
    """Return black or white, whichever is easier to read on a colour (WCAG 2, contrast)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000000" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"
