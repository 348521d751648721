"""The synsets that person classifiers score, in output order."""

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
        WordNet 3.0 identifiers of ImageNet's 2,832 person synsets, in ascending order.
    """
    return tuple(_TABLE.read_text(encoding="utf-8").split())
