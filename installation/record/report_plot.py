"""Plot a record as a report of one A4 page."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from installation.errors import InstallationError
from installation.record.summary import WEEKDAYS, Summary, WordCount, days, duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".html")

_SIZE_INCHES = (8.27, 11.69)
_DPI = 300
# The header has the colours of the screen, the rest those of paper.
_HEADER_COLOUR, _GREEN, _QUIET = "#000000", "#39ff14", "#d0d0d0"
_PAPER, _INK, _FAINT, _EMPTY = "#ffffff", "#000000", "#666666", "#f8f8f8"
# Fractions of the width: margins, and where bars begin.
_LEFT, _RIGHT, _BARS = 0.07, 0.93, 0.40
# Fractions of the height: the bottom of the header; bottom and height of each part.
_HEADER_BOTTOM, _WORDS, _WEEK, _SUBTREES = 0.835, (0.415, 0.355), (0.245, 0.105), (0.06, 0.12)
_MAX_WORDS, _MAX_SUBTREES = 20, 8
# A week is drawn with at least so many hours; up to so many are all labelled.
_MIN_HOURS, _MAX_HOUR_LABELS = 8, 12
# Characters that fit beside a bar, and below the box.
_BAR_CHARS, _BOX_CHARS = 32, 24
_CAVEAT = (
    "These words say something about the people who made the data, "
    "and nothing about those they were given to."
)


def save(summary: Summary, zone: str, path: Path) -> None:
    """Save a report of a summary.

    Parameters
    ----------
    summary
        The summary.
    zone
        Name of its time zone.
    path
        ``.png`` for printing, at 300 dpi; ``.html`` for a self-contained page.

    Raises
    ------
    InstallationError
        The summary is empty, or the file cannot be written.
    """
    if not summary.entries:
        raise InstallationError("nothing was recorded in this period; there is nothing to plot")
    with _matplotlib():
        figure = _draw(summary, zone)
        if path.suffix == ".png":
            image = io.BytesIO()
            figure.savefig(image, format="png", dpi=_DPI, metadata={"Software": None})
            data = image.getvalue()
        else:
            drawing = io.StringIO()
            no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            figure.savefig(drawing, format="svg", metadata=no_metadata)
            data = _page(summary, zone, drawing.getvalue()).encode()
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InstallationError(
            f"{path}: cannot be written: {error.strerror}; name another file"
        ) from error


@contextmanager
def _matplotlib() -> Iterator[None]:
    """Load matplotlib with its default settings and without writing to the home folder."""
    before = os.environ.get("MPLCONFIGDIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            import matplotlib as mpl
            import matplotlib.font_manager  # caches the fonts it finds in that folder

            mpl.get_configdir()
        finally:
            del os.environ["MPLCONFIGDIR"]
            if before is not None:
                os.environ["MPLCONFIGDIR"] = before
    with mpl.rc_context():
        mpl.rcdefaults()
        # Makes the output reproducible.
        mpl.rcParams["svg.hashsalt"] = "installation"
        # A dollar sign does not begin a formula.
        mpl.rcParams["text.parse_math"] = False
        yield


def _draw(summary: Summary, zone: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, facecolor=_PAPER)
    _draw_header(figure, summary)
    top = summary.words[:_MAX_WORDS]
    axes = _add_axes(figure, "The most frequent words", _WORDS, _BARS)
    _draw_bars(axes, top, _MAX_WORDS, [f"{each.entries:,}" for each in top])
    _draw_week(_add_axes(figure, f"When ({zone})", _WEEK, _LEFT + 0.05), summary)
    subtrees = _with_others(summary.subtrees)
    axes = _add_axes(figure, "Where they stand in WordNet, below person", _SUBTREES, _BARS)
    shares = [f"{each.entries / summary.entries:.1%}" for each in subtrees]
    _draw_bars(axes, subtrees, _MAX_SUBTREES + 1, shares)
    figure.text(_LEFT, 0.022, _CAVEAT, fontsize=7.5, color=_FAINT)
    return figure


def _shorten(words: str, max_chars: int) -> str:
    """Drop lemmas from the end, and cut the first if it is still too long."""
    while len(words) > max_chars and ", " in words:
        words = words.rpartition(", ")[0]
    return words if len(words) <= max_chars else f"{words[: max_chars - 1]}…"


def _facts(summary: Summary) -> list[str]:
    """Return the facts below the title, one per line."""
    shown = f", shown for {duration(summary.seconds)}" if summary.seconds else ""
    where = " · ".join(f"{name} {count:,}" for name, count in summary.sources.items())
    return [
        _period(summary),
        f"{len(summary.words):,} different ones{shown}",
        f"{len(summary.never_used):,} of the {summary.allowed:,} allowed words were never given",
        f"{where} · {_names('policy', 'policies', summary.policies)}"
        f" · {_names('engine', 'engines', summary.engines)}",
    ]


def _period(summary: Summary) -> str:
    assert summary.first and summary.last
    return days(summary.first, summary.last)


def _names(one: str, several: str, names: Sequence[str] | dict[str, int]) -> str:
    return f"{one if len(names) == 1 else several} {', '.join(names)}"


def _draw_header(figure: Figure, summary: Summary) -> None:
    from matplotlib.patches import Rectangle

    figure.add_artist(
        Rectangle((0, _HEADER_BOTTOM), 1, 1 - _HEADER_BOTTOM, facecolor=_HEADER_COLOUR, linewidth=0)
    )
    count = f"{summary.entries:,} word{'' if summary.entries == 1 else 's'} given"
    figure.text(_LEFT, 0.95, count, fontsize=25, weight="bold", color=_PAPER, va="center")
    for line, text in enumerate(_facts(summary)):
        figure.text(_LEFT, 0.917 - 0.0165 * line, text, fontsize=8.5, color=_QUIET, va="center")
    # The most frequent word, as the screen shows it.
    width = 0.135
    height = width * _SIZE_INCHES[0] / _SIZE_INCHES[1]
    middle, bottom = _RIGHT - 0.12, 0.8825
    box = Rectangle((middle - width / 2, bottom), width, height, linewidth=3, edgecolor=_GREEN)
    box.set_fill(False)
    figure.add_artist(box)
    first = summary.words[0]
    word = _shorten(first.words, _BOX_CHARS)
    for at, text, size in (
        (bottom + height / 2, f"{first.entries:,}", 17),
        (bottom - 0.016, word, 11),
    ):
        style: dict[str, Any] = {"weight": "bold", "ha": "center", "va": "center"}
        figure.text(middle, at, text, fontsize=size, color=_GREEN, **style)


def _add_axes(figure: Figure, title: str, place: tuple[float, float], left: float) -> Axes:
    bottom, height = place
    figure.text(
        _LEFT, bottom + height + 0.011, title, fontsize=12.5, weight="bold", color=_INK, va="bottom"
    )
    axes = figure.add_axes((left, bottom, _RIGHT - left, height))
    axes.set_frame_on(False)
    axes.tick_params(length=0, labelsize=8.5, colors=_INK)
    return axes


def _draw_bars(axes: Axes, counts: Sequence[WordCount], room: int, labels: list[str]) -> None:
    longest = max(each.entries for each in counts)
    places = range(len(counts))
    # The sum of all others has no synset.
    colours = [_INK if each.wnid else "#b0b0b0" for each in counts]
    axes.barh(places, [each.entries for each in counts], height=0.72, color=colours)
    for place, each, text in zip(places, counts, labels, strict=True):
        axes.text(each.entries + longest * 0.012, place, text, va="center_baseline", fontsize=8.5)
    axes.set_yticks(places, [_shorten(each.words, _BAR_CHARS) for each in counts])
    axes.set_xticks([])
    axes.set_xlim(0, longest * 1.12)
    # Few bars are no thicker than many.
    axes.set_ylim(room - 0.5, -0.5)


def _draw_week(axes: Axes, summary: Summary) -> None:
    from matplotlib import colormaps

    week = summary.week
    used = week.sum(axis=0).nonzero()[0]
    first, end = min(int(used[0]), 24 - _MIN_HOURS), int(used[-1]) + 1
    greys = colormaps["Greys"].with_extremes(under=_EMPTY)
    # Distinguishes hours without entries from hours with few.
    shades = np.where(week, week + week.max() / 8, 0)
    axes.pcolormesh(shades, cmap=greys, vmin=0.1, vmax=shades.max(), edgecolors=_PAPER, linewidth=2)
    axes.set_xlim(first, max(end, first + _MIN_HOURS))
    axes.set_ylim(7, 0)
    axes.set_yticks([day + 0.5 for day in range(7)], [name[:3] for name in WEEKDAYS])
    ticks = range(first, end + 1, 1 if end - first <= _MAX_HOUR_LABELS else 2)
    axes.set_xticks(ticks, [f"{hour}:00" for hour in ticks])
    for day, hour in zip(*week.nonzero(), strict=True):
        count = int(week[day, hour])
        dark = count > week.max() / 2
        axes.text(
            hour + 0.5,
            day + 0.52,
            f"{count}" if count < 10_000 else f"{count // 1000}k",
            fontsize=5.5,
            ha="center",
            va="center",
            color=_PAPER if dark else _INK,
        )


def _with_others(subtrees: tuple[WordCount, ...]) -> tuple[WordCount, ...]:
    if len(subtrees) <= _MAX_SUBTREES + 1:
        return subtrees
    others = subtrees[_MAX_SUBTREES:]
    entries = sum(each.entries for each in others)
    return (*subtrees[:_MAX_SUBTREES], WordCount("", f"{len(others)} others", entries, 0))


_STYLE = """
body { margin: 0; font: 1rem/1.5 "DejaVu Sans", sans-serif; color: #000; background: #fff }
main { max-width: 60rem; margin: auto }
svg { display: block; width: 100%; height: auto }
section { padding: 0 7% }
table { border-collapse: collapse; margin-bottom: 2rem; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: bold; font-size: 1.2rem; padding: 1rem 0 .5rem }
th, td { text-align: left; padding: .15rem 1rem .15rem 0; border-bottom: 1px solid #ccc }
td { text-align: right }
tbody th { font-weight: normal }
.wide { overflow-x: auto }
.wide th, .wide td { padding-right: .6rem }
@media print { .wide { font-size: .5rem } }
"""


def _page(summary: Summary, zone: str, drawing: str) -> str:
    """Return a page with the drawing, and below it tables of all data, including what it omits."""
    svg = drawing[drawing.index("<svg") :]
    title = f"{summary.entries:,} words given, {_period(summary)}"
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}; see the tables"', 1)
    lines = "".join(f"<li>{escape(line)}</li>" for line in _facts(summary))
    hours = [f"{hour}:00" for hour in range(24)]
    week = [
        (name, *(f"{count:,}" for count in counts))
        for name, counts in zip(WEEKDAYS, summary.week.tolist(), strict=True)
    ]
    tables = "".join(
        (
            _table("Words", ("word", "times", "seconds"), _rows(summary.words)),
            _table(
                "Below person in WordNet", ("child", "times", "seconds"), _rows(summary.subtrees)
            ),
            f'<div class="wide" tabindex="0" role="region" aria-label="When">'
            f"{_table(f'When ({zone})', ('weekday', *hours), week)}</div>",
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{svg}\n<section>\n<h1>{escape(title)}</h1>\n<ul>{lines}</ul>\n{tables}\n"
        f"<p>{escape(_CAVEAT)}</p>\n</section>\n</main>\n</body>\n</html>\n"
    )


def _rows(counts: Sequence[WordCount]) -> list[tuple[str, ...]]:
    return [(each.words, f"{each.entries:,}", f"{each.seconds:,}") for each in counts]


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cells(names: Sequence[str], scope: str) -> str:
        if scope == "col":
            return "".join(f'<th scope="col">{escape(each)}</th>' for each in names)
        first, *rest = names
        return f'<th scope="row">{escape(first)}</th>' + "".join(
            f"<td>{escape(each)}</td>" for each in rest
        )

    body = "".join(f"<tr>{cells(row, 'row')}</tr>\n" for row in rows)
    return (
        f"<table><caption>{escape(title)}</caption>\n<thead><tr>{cells(head, 'col')}</tr></thead>\n"
        f"<tbody>\n{body}</tbody></table>\n"
    )
