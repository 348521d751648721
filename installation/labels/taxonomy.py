"""Where words stand in WordNet: what lies above a synset, what below, and which synset is meant."""

from __future__ import annotations

import csv
import difflib
from collections import defaultdict
from functools import cache
from importlib.resources import files

from installation.labels.synsets import load_synsets, split

PERSON = "n00007846"
_UNDER = "under "


class WordError(ValueError):
    """A word, wnid or subtree that WordNet does not have among its persons."""


@cache
def _ancestors() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return lemmas and parents of what lies above the 2,832 and is none of them, by wnid."""
    table = (files(__package__) / "person_ancestors.tsv").read_text(encoding="utf-8")
    return {
        row["wnid"]: (split(row["lemmas"]), split(row["parents"]))
        for row in csv.DictReader(table.splitlines(), delimiter="\t")
    }


@cache
def _lemmas() -> dict[str, tuple[str, ...]]:
    below = {synset.wnid: synset.lemmas for synset in load_synsets()}
    return {wnid: lemmas for wnid, (lemmas, _) in _ancestors().items()} | below


@cache
def _parents() -> dict[str, tuple[str, ...]]:
    below = {synset.wnid: synset.parents for synset in load_synsets()}
    return {wnid: parents for wnid, (_, parents) in _ancestors().items()} | below


@cache
def _children() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    for wnid, parents in _parents().items():
        for parent in parents:
            found[parent].append(wnid)
    return {wnid: tuple(children) for wnid, children in found.items()}


@cache
def _by_word() -> dict[str, tuple[str, ...]]:
    """Return the synsets of each lemma, of all lemmas as they are shown, and of each wnid."""
    found: dict[str, list[str]] = defaultdict(list)
    for wnid, lemmas in _lemmas().items():
        for name in {wnid, ", ".join(lemmas).casefold(), *(each.casefold() for each in lemmas)}:
            found[name].append(wnid)
    return {name: tuple(sorted(wnids)) for name, wnids in found.items()}


def words_of(wnid: str) -> str:
    """Return the lemmas of a synset among the persons or above them, as they are shown."""
    return ", ".join(_lemmas()[wnid])


def find(text: str) -> tuple[str, ...]:
    """Find the synsets that a word means.

    Parameters
    ----------
    text
        A wnid, one lemma, or all lemmas as they are shown; capitals do not matter.

    Returns
    -------
    tuple of str
        Wnids: of persons, or of what lies between them and *person*.

    Raises
    ------
    WordError
        There is none; the message suggests what may have been meant.
    """
    known = _by_word()
    wanted = " ".join(text.casefold().replace("_", " ").split())
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.8)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise WordError(f"{text!r} is no word for a person in WordNet{hint}")
    return known[wanted]


@cache
def below(wnid: str) -> frozenset[str]:
    """Return a synset and all below it: only those among the 2,832."""
    labels = {synset.wnid for synset in load_synsets()}
    found: set[str] = set()
    waiting = [wnid]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += _children().get(each, ())
    return frozenset(found & labels)


@cache
def select(text: str) -> frozenset[str]:
    """Return the labels that a curator's choice of words means.

    Parameters
    ----------
    text
        What `find` takes; after ``under``, that and everything below it.

    Raises
    ------
    WordError
        No such word, or one that lies above all labels and can only be meant with ``under``.
    """
    name = text.removeprefix(_UNDER)
    wnids = find(name)
    if name != text:
        return frozenset().union(*(below(wnid) for wnid in wnids))
    labels = {synset.wnid for synset in load_synsets()}
    chosen = frozenset(wnids) & labels
    if not chosen:
        raise WordError(f"{text!r} is no label itself; with all below it: {_UNDER}{text}")
    return chosen


def paths(wnid: str) -> tuple[tuple[str, ...], ...]:
    """Return the ways up from a synset to *person*, both included, the shortest first."""
    if wnid == PERSON:
        return ((PERSON,),)
    ways = [(wnid, *way) for parent in _parents()[wnid] for way in paths(parent)]
    return tuple(sorted(ways, key=len))
