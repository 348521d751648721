"""The page in the visitor's language, and the catalogues behind it."""

import ast
import configparser
import importlib
import inspect
import re

import pytest
from babel.messages.frontend import CommandLineInterface
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from markupsafe import escape

from installation.config.model import Web
from installation.web.upload.error_sentences import translatable_sentences
from installation.web.upload.languages import choose_language, load_languages
from tests.paths import ROOT

UPLOAD = ROOT / "installation/web/upload"
CODES = sorted(folder.name for folder in (UPLOAD / "locales").iterdir())
FIELDS = re.compile(r"%\(\w+\)s")
TAGS = re.compile(r"<[^>]+>")


def in_language(site, code, path="/", **headers):
    return site.ask(path=path, headers={"Accept-Language": code, **headers}).text


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """Return the sentences of the page, as pybabel finds them."""
    file = tmp_path_factory.mktemp("catalogue") / "page.pot"
    mapping = str(ROOT / "pyproject.toml")
    arguments = ["pybabel", "-q", "extract", "-F", mapping, "-o", str(file), str(UPLOAD)]
    assert not CommandLineInterface().run(arguments)
    with file.open("rb") as template:
        return {(message.id, message.context) for message in read_po(template) if message.id}


def catalogue(code):
    with (UPLOAD / f"locales/{code}/LC_MESSAGES/page.po").open("rb") as file:
        return read_po(file)


def sentences(catalog):
    found = [(each.id, each.context, each.string) for each in catalog if each.id]
    return sorted((forms(id_), context or "", forms(string)) for id_, context, string in found)


def forms(text):
    return [text] if isinstance(text, str) else list(text)


class TestCatalogues:
    def test_each_language_says_its_name_and_direction(self):
        languages = load_languages()
        assert [*languages] == ["en", *CODES]
        assert {"de", "fr", "it", "es", "ar"} <= {*CODES}
        names = [language.name for language in languages.values()]
        assert names[0] == "English" and len(set(names)) == len(names)
        assert {language.direction for language in languages.values()} == {"ltr", "rtl"}
        assert languages["ar"].direction == "rtl"

    def test_the_catalogues_are_installed_with_the_program(self):
        setup = configparser.ConfigParser()
        setup.read(ROOT / "setup.cfg")
        data = setup["options.package_data"]["installation.web.upload"].replace(" ", "").split(",")
        installed = {path for pattern in data for path in UPLOAD.glob(pattern)}
        assert installed >= {UPLOAD / f"locales/{code}/LC_MESSAGES/page.mo" for code in CODES}

    @pytest.mark.parametrize("code", CODES)
    def test_every_sentence_is_translated_and_none_is_stale(self, code, extracted):
        translated = catalogue(code)
        assert {(each.id, each.context) for each in translated if each.id} == extracted
        assert not translated.obsolete
        for message in translated:
            assert all(forms(message.string)), message.id
            assert not message.fuzzy or not message.id, message.id

    @pytest.mark.parametrize("code", CODES)
    def test_no_field_and_no_markup_is_lost(self, code):
        for message in catalogue(code):
            if not message.id:
                continue
            *few, many = forms(message.string)
            original = forms(message.id)[-1]
            for pattern in (FIELDS, TAGS):
                expected = sorted(pattern.findall(original))
                assert sorted(pattern.findall(many)) == expected, message.id
                # "One face" and "two faces" need no number.
                for form in few:
                    assert set(pattern.findall(form)) <= set(expected), message.id
            assert all(FIELDS.sub("", form).count("%") == 0 for form in forms(message.string))

    @pytest.mark.parametrize("code", CODES)
    def test_the_compiled_catalogue_is_up_to_date(self, code):
        with (UPLOAD / f"locales/{code}/LC_MESSAGES/page.mo").open("rb") as file:
            assert sentences(read_mo(file)) == sentences(catalogue(code)), "run pybabel compile"

    def test_every_error_that_is_raised_can_be_translated(self):
        known = set(translatable_sentences(Web()))
        found = 0
        for path in UPLOAD.glob("*.py"):
            module = importlib.import_module(f"installation.web.upload.{path.stem}")
            for sentence in raised_sentences(module):
                assert any(re.fullmatch(sentence, each) for each in known), (path, sentence)
                found += 1
        assert found > 15


def raised_sentences(module):
    """Yield the sentences of the errors that a module raises, as regular expressions."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RequestError"):
            continue
        if len(node.args) < 2:
            continue
        sentence = node.args[1]
        if isinstance(sentence, ast.Name):
            # Local names hold sentences of other modules.
            if value := getattr(module, sentence.id, None):
                yield re.escape(value)
        elif isinstance(sentence, ast.JoinedStr):
            yield "".join(
                re.escape(part.value) if isinstance(part, ast.Constant) else ".+"
                for part in sentence.values
            )
        elif isinstance(sentence, ast.Constant):
            yield re.escape(sentence.value)


@pytest.mark.parametrize(
    ("requested", "accepted", "expected"),
    [
        (None, "", "en"),
        (None, "de", "de"),
        (None, "DE-at,de;q=0.9,en;q=0.8", "de"),
        (None, "nl,pt;q=0.9,it;q=0.8,en;q=0.7", "it"),
        (None, "en;q=0.1, ar", "ar"),
        (None, "fr;q=0, es;q=0.5", "es"),
        (None, "*", "en"),
        (None, "xx;q=y, ;;,de;q=nan,fr;q=-1,,=", "en"),
        (None, "," * 16_000, "en"),
        ("fr", "de", "fr"),
        ("tlh", "de", "de"),
        ("../../etc", "de", "de"),
        ("", "", "en"),
    ],
)
def test_the_language_of_a_visitor(requested, accepted, expected):
    assert choose_language(load_languages(), requested, accepted) == expected


class TestPage:
    @pytest.mark.parametrize("code", ["en", *CODES])
    def test_the_browser_says_which_language(self, site, code):
        page = in_language(site, code)
        language = load_languages()[code]
        assert f'<html lang="{code}" dir="{language.direction}">' in page
        assert language.translations.gettext("What does the machine call you?") in page
        assert re.findall('aria-current="true">(.+?)<', page) == [language.name]

    def test_the_visitor_can_choose_another_and_keeps_it(self, site, small):
        page = in_language(site, "de", "/?lang=fr")
        assert '<html lang="fr"' in page
        action = re.search('action="(.+?)"', page)[1]
        assert '<html lang="fr"' in site.submit(small, path=action).text
        assert site.ask(path=action).headers["Set-Cookie"] is None

    def test_words_stay_english(self, site, small):
        answer = site.submit(small, path="/?lang=ar").text
        word = re.search(r'<h2 lang="en" dir="ltr">(.+)</h2>', answer)[1]
        expected = site.send(small).json["faces"][0]["words"][0]
        assert word == expected["words"]
        assert escape(expected["gloss"][1:]) in answer
        assert "عُثر على وجه واحد" in answer

    def test_numbers_have_the_decimal_mark_of_the_language(self, site, small):
        english = re.findall("<td>([^<]+ %)</td>", site.submit(small).text)
        german = re.findall("<td>([^<]+ %)</td>", site.submit(small, path="/?lang=de").text)
        assert german == [each.replace(".", ",") for each in english]
        assert any("," in each for each in german)

    @pytest.mark.parametrize("code", CODES)
    def test_errors_are_translated_on_the_page_only(self, site, code):
        gettext = load_languages()[code].translations.gettext
        sentence = site.send(b"hello").json["error"]
        page = site.submit(b"hello", path=f"/?lang={code}").text
        assert gettext(sentence) in page and sentence not in page
        too_large = site.submit(bytes(12_000_001), path=f"/?lang={code}").text
        template = "This image is larger than %(megabytes)s megabytes. Please send a smaller one."
        assert gettext(template) % {"megabytes": "12"} in too_large
        assert gettext("There is nothing at this address.") in in_language(site, code, "/nothing")
        api = site.ask("POST", f"/api/classify?lang={code}", b"x", {"Content-Type": "image/jpeg"})
        assert api.json["error"] == sentence
