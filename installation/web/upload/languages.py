"""The languages of the page: one gettext catalogue each, and which one a visitor gets."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files

# The sentences in the code are English.
ENGLISH = "en"
_CATALOGUES = files(__package__) / "locales"
_FILE = "LC_MESSAGES/page.mo"


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """A language of the page.

    Attributes
    ----------
    code
        ISO 639 code, such as ``de``.
    translations
        Its catalogue, which also contains the facts below.
    """

    code: str
    translations: NullTranslations

    @property
    def name(self) -> str:
        """What its speakers call it."""
        return self.translations.pgettext("this language", "English")

    @property
    def direction(self) -> str:
        """``ltr`` or ``rtl``, as in HTML."""
        return self.translations.pgettext("direction of this language: ltr or rtl", "ltr")

    def localized(self, number: str) -> str:
        """Return a number with the decimal mark of this language."""
        return number.replace(".", self.translations.pgettext("decimal mark", "."))


def load_languages() -> dict[str, Language]:
    """Return all languages by code, English first."""
    languages = {ENGLISH: Language(ENGLISH, NullTranslations())}
    for folder in sorted(_CATALOGUES.iterdir(), key=lambda folder: folder.name):
        with folder.joinpath(_FILE).open("rb") as file:
            languages[folder.name] = Language(folder.name, GNUTranslations(file))
    return languages


def choose_language(available: Collection[str], requested: str | None, accepted: str) -> str:
    """Return the code of the language for a visitor.

    Parameters
    ----------
    available
        Codes of the languages there are.
    requested
        The code that the visitor chose; None or unknown: what their browser prefers.
    accepted
        The header ``Accept-Language``.

    Examples
    --------
    >>> choose_language(("en", "de", "fr"), None, "nl, fr-CH;q=0.8, de;q=0.9")
    'de'
    >>> choose_language(("en", "de", "fr"), "fr", "de")
    'fr'
    """
    if requested is not None and requested in available:
        return requested
    preferences = []
    for entry in accepted.split(","):
        tag, _, quality = entry.replace(" ", "").partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        if weight > 0:
            preferences.append((weight, tag.partition("-")[0].lower()))
    # Of equal weights the first one counts.
    preferences.sort(key=lambda preference: -preference[0])
    known = (code for _, code in preferences if code in available)
    return next(known, ENGLISH)
