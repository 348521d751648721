"""The WordNet taxonomy of persons: hypernyms, hyponyms, and the synsets of a word."""

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
    """A word or wnid that is not among WordNet's persons."""


@cache
def _ancestors() -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return lemmas and parents, by wnid, of the hypernyms that are not labels themselves."""
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
    """Return wnids by casefolded lemma, by all lemmas as shown, and by wnid."""
    found: dict[str, list[str]] = defaultdict(list)
    for wnid, lemmas in _lemmas().items():
        for name in {wnid, ", ".join(lemmas).casefold(), *(each.casefold() for each in lemmas)}:
            found[name].append(wnid)
    return {name: tuple(sorted(wnids)) for name, wnids in found.items()}


def words_of(wnid: str) -> str:
    """Return the lemmas of a label or of one of its hypernyms as they are shown."""
    return ", ".join(_lemmas()[wnid])


def find(text: str) -> tuple[str, ...]:
    """Return the synsets of a word.

    Parameters
    ----------
    text
        A wnid, one lemma, or all lemmas as they are shown; case is ignored.

    Returns
    -------
    tuple of str
        Wnids of labels, or of hypernyms between them and *person*.

    Raises
    ------
    WordError
        There is none; the message suggests similar words.
    """
    known = _by_word()
    wanted = " ".join(text.casefold().replace("_", " ").split())
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.8)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise WordError(f"{text!r} is not a word for a person in WordNet{hint}")
    return known[wanted]


@cache
def below(wnid: str) -> frozenset[str]:
    """Return the labels in the subtree of a synset, itself included if it is a label."""
    labels = {synset.wnid for synset in load_synsets()}
    found: set[str] = set()
    pending = [wnid]
    while pending:
        each = pending.pop()
        if each not in found:
            found.add(each)
            pending += _children().get(each, ())
    return frozenset(found & labels)


@cache
def select(text: str) -> frozenset[str]:
    """Return the labels that an include or exclude rule selects.

    Parameters
    ----------
    text
        What `find` takes; with ``under`` before it, that and everything below it.

    Raises
    ------
    WordError
        There is no such word, or it is not a label itself and needs ``under``.
    """
    name = text.removeprefix(_UNDER)
    wnids = find(name)
    if name != text:
        return frozenset().union(*(below(wnid) for wnid in wnids))
    labels = {synset.wnid for synset in load_synsets()}
    chosen = frozenset(wnids) & labels
    if not chosen:
        raise WordError(
            f"{text!r} is not a label itself; for all labels below it, write {_UNDER}{text}"
        )
    return chosen


def paths(wnid: str) -> tuple[tuple[str, ...], ...]:
    """Return the hypernym paths from a synset to *person*, both included, shortest first."""
    if wnid == PERSON:
        return ((PERSON,),)
    found = [(wnid, *path) for parent in _parents()[wnid] for path in paths(parent)]
    return tuple(sorted(found, key=len))
