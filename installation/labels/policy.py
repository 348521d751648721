"""The curator's choice of words: which synsets may be shown at all."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from installation.labels.synsets import Safety, Synset

PolicyName = Literal["full", "inoffensive", "safe"]

_TIERS: dict[PolicyName, frozenset[Safety]] = {
    "full": frozenset({"safe", "sensitive", "offensive"}),
    "inoffensive": frozenset({"safe", "sensitive"}),
    "safe": frozenset({"safe"}),
}


def allowed(synsets: tuple[Synset, ...], policy: PolicyName) -> NDArray[np.bool_]:
    """Tell which labels a policy lets through.

    Parameters
    ----------
    synsets
        L synsets, in the order of the classifier's outputs.
    policy
        ``full`` shows every tier (the work as it was shown), ``inoffensive`` leaves out the
        offensive tier, ``safe`` keeps only what the authors found safe.

    Returns
    -------
    ndarray
        bool (L,).
    """
    tiers = _TIERS[policy]
    return np.array([synset.safety in tiers for synset in synsets], dtype=np.bool_)
