import os
import re
import subprocess
import sys
from contextlib import closing
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from installation.errors import InstallationError
from installation.labels.policy import Policy
from installation.labels.synsets import load_synsets
from installation.record.entry import Entry
from installation.record.reader import Period
from installation.record.report_plot import save
from installation.record.store import Store
from installation.record.summary import summarise
from installation.supervision.hours import Schedule
from tests.paths import ROOT

ZONE = Schedule(zone="Europe/Berlin").zone


def entries(number):
    """As many entries, over many words and hours."""
    synsets = load_synsets()
    return [
        Entry(472222 + each % 500, synsets[each * each % 97].wnid, 0.5, 3, "wall", "safe", "engine")
        for each in range(number)
    ]


def summary(tmp_path, rows):
    path = tmp_path / "record.sqlite"
    with closing(Store(path)) as store:
        store.add(rows)
    return summarise(path, Period(ZONE), Policy("safe"))


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.cells = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [
            value
            for name, value in attributes
            if name.split(":")[-1] in ("href", "src") and not value.startswith("#")
        ]

    def handle_data(self, data):
        self.cells.append(data)


@pytest.mark.parametrize("number", [1, 2, pytest.param(3000, marks=pytest.mark.endurance)])
def test_a_sheet_is_a4_at_300_pixels_an_inch(tmp_path, number):
    path = tmp_path / "sheet.png"
    save(summary(tmp_path, entries(number)), "Europe/Berlin", path)
    with Image.open(path) as picture:
        assert abs(picture.width - 210 / 25.4 * 300) < 3
        assert abs(picture.height - 297 / 25.4 * 300) < 3
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        # Black, green and white are on it.
        colours = np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)
    assert {(0, 0, 0), (255, 255, 255), (0x39, 0xFF, 0x14)} <= set(map(tuple, colours.tolist()))


def test_a_page_is_self_contained_and_has_all_data_as_text(tmp_path):
    path = tmp_path / "page.html"
    found = summary(tmp_path, entries(3000))
    save(found, "Europe/Berlin", path)
    text = path.read_text()
    page = Page(text)
    assert page.tags.count("svg") == 1 and page.tags.count("table") == 3
    assert "script" not in page.tags and page.links == []
    assert not re.search(r"url\((?!#)", text) and "@import" not in text
    assert re.search(r'<svg role="img" aria-label="3,000 words given', text)
    for each in found.words:
        assert each.words in page.cells
    assert 'lang="en"' in text


def test_the_same_record_gives_the_same_page(tmp_path):
    found = summary(tmp_path, entries(50))
    for name in ("one.html", "other.html"):
        save(found, "Europe/Berlin", tmp_path / name)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()


def test_what_a_file_may_hold_is_text_on_the_page(tmp_path):
    evil = Entry(472222, "<script>alert(1)</script>$\\frac{$", 0.5, 3, "wall", "safe", "<b>engine")
    path = tmp_path / "page.html"
    save(summary(tmp_path, [evil]), "Europe/Berlin", path)
    page = Page(path.read_text())
    assert not {"script", "b"} & set(page.tags)


def test_an_empty_summary_is_not_drawn(tmp_path):
    with pytest.raises(InstallationError, match="nothing to plot"):
        save(summary(tmp_path, []), "Europe/Berlin", tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()


def test_a_place_where_nothing_can_be_written_is_named(tmp_path):
    path = tmp_path / "nowhere" / "sheet.png"
    with pytest.raises(InstallationError) as caught:
        save(summary(tmp_path, entries(1)), "Europe/Berlin", path)
    assert str(caught.value).startswith(f"{path}: ")


def test_no_trace_is_left_at_home(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    # What a matplotlibrc beside the command says is not for it.
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 7\nsavefig.bbox: tight\n")
    (tmp_path / "config.yaml").write_text("{}")
    summary(tmp_path, entries(3))
    ran = subprocess.run(
        [sys.executable, "-m", "installation", "record", "plot", "sheet.png"],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.height > 3500
    assert list(home.iterdir()) == []
