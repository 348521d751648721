"""The synsets that person classifiers score, in the order of their outputs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_TABLE = Path(__file__).with_name("persons.txt")


@cache
def person_wnids() -> tuple[str, ...]:
    """Read the list.

    Returns
    -------
    tuple of str
        The 2,832 WordNet 3.0 identifiers of ImageNet's person synsets, ascending.
    """
    return tuple(_TABLE.read_text(encoding="ascii").split())
