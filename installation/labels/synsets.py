"""The 2,832 ImageNet synsets that WordNet files under *person*.

The table ``person_synsets.tsv`` joins WordNet 3.0 (Fellbaum 1998, (c) Princeton University) with
the judgements of Yang et al., "Towards Fairer Datasets: Filtering and Balancing the Distribution
of the People Subtree in the ImageNet Hierarchy" (FAT* 2020).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, cast

Safety = Literal["safe", "sensitive", "offensive"]


@dataclass(frozen=True, slots=True)
class Synset:
    """One meaning of a word.

    Attributes
    ----------
    wnid
        WordNet 3.0 identifier: ``n`` and eight digits.
    lemmas
        The words for this meaning, commonest first.
    parents
        Wnids of its direct hypernyms.
    safety
        Published tier: ``safe``, ``sensitive`` (depends on context) or ``offensive``.
    imageability
        How easily people imagine it, 1 to 5; None if the authors did not ask.
    usage
        WordNet's usage labels, such as ``disparagement`` or ``ethnic-slur``.
    """

    wnid: str
    lemmas: tuple[str, ...]
    parents: tuple[str, ...]
    safety: Safety
    imageability: float | None
    usage: tuple[str, ...]

    @property
    def words(self) -> str:
        """The lemmas as WordNet prints them: ``grass widower, divorced man``."""
        return ", ".join(self.lemmas)


def split(cell: str) -> tuple[str, ...]:
    """Split a cell of the tables into its items."""
    return tuple(cell.split("|")) if cell else ()


@cache
def load_synsets() -> tuple[Synset, ...]:
    """Read the table.

    Returns
    -------
    tuple of Synset
        All 2,832, ascending by wnid: the order of every person classifier's outputs.
    """
    table = (files(__package__) / "person_synsets.tsv").read_text(encoding="utf-8")
    return tuple(
        Synset(
            wnid=row["wnid"],
            lemmas=split(row["lemmas"]),
            parents=split(row["parents"]),
            safety=cast(Safety, row["safety"]),
            imageability=float(row["imageability"]) if row["imageability"] else None,
            usage=split(row["usage"]),
        )
        for row in csv.DictReader(table.splitlines(), delimiter="\t")
    )
