"""The pages: plain HTML in the wall's colour, made more convenient by a script."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from installation.config.model import Config
from installation.scene import Box
from installation.web.upload.error_sentences import sentence_fields, translatable_sentences
from installation.web.upload.errors import RequestError
from installation.web.upload.icon import draw_icon
from installation.web.upload.languages import ENGLISH, Language, choose_language, load_languages
from installation.web.upload.request_body import FIELD
from installation.web.upload.response import ImageResponse
from installation.web.upload.schemas import Word, data_uri, to_schema

_ASSETS = {
    "style.css": "text/css",
    "script.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
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


class Page:
    """Renders the page in one language.

    Parameters
    ----------
    config
        Its theme, labels and limits appear in the page.
    glosses
        Definitions by wnid.
    language
        Of all sentences except words, their definitions and the page for developers.
    names
        What speakers of each language call it, by code.
    """

    def __init__(
        self, config: Config, glosses: dict[str, str], language: Language, names: dict[str, str]
    ) -> None:
        self._glosses = glosses
        self._language = language
        self._error_fields = sentence_fields(config.web)
        self._error_sentences = translatable_sentences(config.web)
        self._environment = _environment(config)
        self._environment.install_gettext_translations(  # type: ignore[attr-defined]
            language.translations, newstyle=True
        )
        self._environment.filters["localized"] = language.localized
        self._environment.globals.update(language=language, language_names=names)

    def form(self) -> Response:
        """Return the page with the upload form."""
        return self._render("page.html", 200, result=None, error=None)

    def error(self, error: RequestError) -> Response:
        """Return the page with an error message and the form."""
        sentence = str(error)
        if known := self._error_sentences.get(sentence):
            fields = {
                name: self._language.localized(text) for name, text in self._error_fields.items()
            }
            sentence = self._language.translations.gettext(known) % fields
        temporary = error.status in _TEMPORARY or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        shown = {"sentence": sentence, "temporary": temporary}
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


class Pages:
    """The page in all languages, and the files it loads.

    Parameters
    ----------
    config
        Its theme, labels and limits appear in the page.
    glosses
        Definitions by wnid.

    Attributes
    ----------
    english
        The page in English.
    """

    def __init__(self, config: Config, glosses: dict[str, str]) -> None:
        languages = load_languages()
        names = {code: language.name for code, language in languages.items()}
        self._pages = {
            code: Page(config, glosses, language, names) for code, language in languages.items()
        }
        self.english = self._pages[ENGLISH]
        environment = _environment(config)
        self._assets = {
            name: Response(environment.get_template(name).render(), media_type=kind)
            for name, kind in _ASSETS.items()
        }
        icon = draw_icon(config.theme.colour)
        self._assets["apple-touch-icon.png"] = Response(icon, media_type="image/png")

    def choose(self, request: Request) -> Page:
        """Return the page in the language that a visitor chose, or that their browser prefers."""
        accepted = request.headers.get("accept-language", "")
        code = choose_language(self._pages, request.query_params.get("lang"), accepted)
        return self._pages[code]

    @property
    def assets(self) -> tuple[str, ...]:
        """Names of the files that the pages load."""
        return tuple(self._assets)

    def asset(self, name: str) -> Response:
        """Return one of these files."""
        return self._assets[name]


def _environment(config: Config) -> Environment:
    """Return a template environment with what all languages have in common."""
    environment = Environment(
        loader=PackageLoader(__package__, "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.filters["percent"] = _percent
    environment.globals.update(
        field=FIELD,
        limits=config.web,
        colour=config.theme.colour,
        on_colour=_readable_on(config.theme.colour),
        policy=config.labels.policy,
        recorded=config.record.file is not None,
        semantic=config.inference.classifier == "person-semantic",
    )
    return environment


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
