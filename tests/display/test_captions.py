import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from installation.config.model import Theme
from installation.display.captions import CaptionRenderer, Typesetter
from installation.display.layout import CaptionSpec
from installation.labels.synsets import load_synsets


@pytest.fixture(scope="module")
def typesetter():
    return Typesetter(Theme())


def test_every_word_there_is_fits_its_width(typesetter):
    for synset in load_synsets():
        width, height = typesetter.measure(CaptionSpec(synset.words, 24, 180))
        assert width <= 182
        assert 5 < height < 450


def test_long_words_wrap_at_the_commas_and_spaces(typesetter):
    one = typesetter.measure(CaptionSpec("groom, bridegroom", 24, 1000))
    two = typesetter.measure(CaptionSpec("groom, bridegroom", 24, 200))
    assert two[0] < one[0]
    assert two[1] > 1.6 * one[1]


def test_a_word_too_long_for_the_width_becomes_smaller(typesetter):
    wide, tall = typesetter.measure(CaptionSpec("internationalist", 60, 2000))
    narrow, low = typesetter.measure(CaptionSpec("internationalist", 60, 200))
    assert narrow <= 202 < wide
    assert low < tall


def test_green_on_a_dark_outline(typesetter):
    pixels = typesetter.draw(CaptionSpec("X", 60, 500)).astype(int)
    solid = pixels[pixels[..., 3] == 255][:, :3]
    assert (solid == [0x39, 0xFF, 0x14]).all(1).sum() > 100
    assert (solid == [0, 0, 0]).all(1).sum() > 100
    # Colours are multiplied by alpha: none can exceed it.
    assert (pixels[..., :3] <= pixels[..., 3:]).all()


def test_the_same_caption_is_drawn_once(typesetter):
    spec = CaptionSpec("clinician", 30, 400)
    assert typesetter.draw(spec) is typesetter.draw(CaptionSpec("clinician", 30, 400))


def test_characters_the_font_lacks_come_from_another(typesetter, monkeypatch, caplog):
    # DejaVu has no Devanagari; what stands for a missing letter is the same for every letter.
    once = typesetter.draw(CaptionSpec("क", 40, 300))
    again = typesetter.draw(CaptionSpec("ख", 40, 300))
    logged = "no font on this machine has the characters" in caplog.text
    assert logged or not np.array_equal(once, again)


def test_frames_never_wait_for_a_caption(typesetter, monkeypatch):
    may_begin, draw = threading.Event(), typesetter.draw

    def in_time(spec):
        assert may_begin.wait(300)
        return draw(spec)

    monkeypatch.setattr(typesetter, "draw", in_time)
    renderer = CaptionRenderer(typesetter)
    spec = CaptionSpec("never set before, and rather long", 60, 300)
    assert renderer.measure(spec) is None
    may_begin.set()
    deadline = time.monotonic() + 300
    while renderer.measure(spec) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert renderer.measure(spec) == typesetter.measure(spec)
    renderer.close()


@pytest.mark.parametrize("words", ["naïve émigré", "привет", ".", "a" * 200, "two\nlines", "a\tb"])
def test_any_text_can_be_set(typesetter, words):
    assert np.asarray(typesetter.draw(CaptionSpec(words, 24, 300))).any()


def luminance(bgr):
    """Relative luminance as WCAG 2 defines it, of float (…, 3), 0 to 255."""
    linear = np.where(bgr <= 10, bgr / 255 / 12.92, ((bgr / 255 + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.0722, 0.7152, 0.2126])


@pytest.mark.parametrize("size", [18, 25, 34, 48])
@pytest.mark.parametrize("background", ["white", "black", "green", "noise"])
def test_words_are_legible_on_anything(typesetter, size, background):
    words = typesetter.draw(CaptionSpec("grass widower, divorced man", size, 9 * size)).astype(
        float
    )
    height, width = words.shape[:2]
    behind = {
        "white": np.full((height, width, 3), 255.0),
        "black": np.zeros((height, width, 3)),
        "green": np.full((height, width, 3), (0x14, 0xFF, 0x39), float),
        "noise": np.random.default_rng(0).uniform(0, 255, (height, width, 3)),
    }[background]
    shown = behind * (1 - words[..., 3:] / 255) + words[..., 2::-1]
    letters = (words[..., :3] == [0x39, 0xFF, 0x14]).all(-1)
    near = cv2.dilate(letters.astype(np.uint8), np.ones((3, 3))).astype(bool)
    further = cv2.dilate(near.astype(np.uint8), np.ones((3, 3))).astype(bool)
    edge = further & ~near
    contrast = (luminance(shown[letters]).mean() + 0.05) / (luminance(shown[edge]).mean() + 0.05)
    assert contrast >= 4.5


def test_words_that_cannot_be_drawn_are_logged_and_left_out(caplog, tmp_path):
    font = tmp_path / "font.ttf"
    font.write_bytes(Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf").read_bytes())
    typesetter = Typesetter(Theme(font=font))
    font.unlink()
    assert not typesetter.draw(CaptionSpec("clinician", 33, 400)).any()
    assert "a caption cannot be drawn" in caplog.text and "clinician" not in caplog.text


def test_more_lines_than_fit_become_smaller(typesetter):
    spec = CaptionSpec("word " * 60, 60, 600, max_height=200)
    width, height = typesetter.measure(spec)
    assert width <= 602
    assert height <= 202
