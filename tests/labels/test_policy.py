import pytest

from installation.labels.policy import allowed
from installation.labels.synsets import load_synsets


@pytest.mark.parametrize(
    ("policy", "tiers"),
    [
        ("full", {"safe", "sensitive", "offensive"}),
        ("inoffensive", {"safe", "sensitive"}),
        ("safe", {"safe"}),
    ],
)
def test_a_policy_lets_whole_tiers_through(policy, tiers):
    synsets = load_synsets()
    shown = {
        synset.safety
        for synset, shows in zip(synsets, allowed(synsets, policy), strict=True)
        if shows
    }
    hidden = {
        synset.safety
        for synset, shows in zip(synsets, allowed(synsets, policy), strict=True)
        if not shows
    }
    assert shown == tiers
    assert not hidden & tiers
