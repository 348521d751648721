"""The curator's policy: which labels may be shown, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from installation.labels.synsets import Safety, Synset
from installation.labels.taxonomy import select

PolicyName = Literal["full", "inoffensive", "safe"]

_TIERS: dict[PolicyName, frozenset[Safety]] = {
    "full": frozenset({"safe", "sensitive", "offensive"}),
    "inoffensive": frozenset({"safe", "sensitive"}),
    "safe": frozenset({"safe"}),
}


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a label may be shown, and the rule that says so."""

    shown: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Which labels may be shown.

    Attributes
    ----------
    name
        ``full`` shows every tier (the work as it was shown), ``inoffensive`` leaves out the
        offensive tier, ``safe`` keeps only what Yang et al. (2020) found safe.
    include, exclude
        Exceptions, in the form that `select` takes. Exclusions take precedence.
    """

    name: PolicyName
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """What to warn of before the screen is shown to visitors; empty if there is nothing."""
        hidden = {
            "full": "slurs and insults",
            "inoffensive": "words that hurt in some contexts",
        }
        if self.name not in hidden:
            return ""
        return f"labels.policy is {self.name}: {hidden[self.name]} may be shown over people's faces"

    def decide(self, synset: Synset) -> Decision:
        """Decide about one label."""
        for word, rules in (("exclude", self.exclude), ("include", self.include)):
            for rule in rules:
                if synset.wnid in select(rule):
                    return Decision(word == "include", f"labels.{word} names {rule!r}")
        shown = synset.safety in _TIERS[self.name]
        return Decision(shown, f"its tier is {synset.safety}, and labels.policy is {self.name}")


def allowed(synsets: tuple[Synset, ...], policy: Policy) -> NDArray[np.bool_]:
    """Return which labels a policy allows.

    Parameters
    ----------
    synsets
        L synsets, in the order of the classifier's outputs.
    policy
        The policy to apply.

    Returns
    -------
    ndarray
        bool (L,).
    """
    return np.array([policy.decide(synset).shown for synset in synsets], dtype=np.bool_)
