import numpy as np
import pytest

from installation.labels.policy import Policy, allowed
from installation.labels.synsets import load_synsets
from installation.labels.taxonomy import below, find, select
from installation.scene import Frame

SYNSETS = load_synsets()


def shown(policy):
    return {s.wnid for s, may in zip(SYNSETS, allowed(SYNSETS, policy), strict=True) if may}


@pytest.mark.parametrize(
    ("policy", "tiers", "count"),
    [
        ("full", {"safe", "sensitive", "offensive"}, 2832),
        ("inoffensive", {"safe", "sensitive"}, 2832 - 437),
        ("safe", {"safe"}, 1239),
    ],
)
def test_a_policy_lets_whole_tiers_through(policy, tiers, count):
    may = shown(Policy(policy))
    assert len(may) == count
    assert {synset.safety for synset in SYNSETS if synset.wnid in may} == tiers


def test_included_words_are_shown_besides():
    (boss,) = select("boss")
    assert shown(Policy("safe", include=("boss",))) == shown(Policy("safe")) | {boss}


def test_excluded_words_are_not_shown():
    assert shown(Policy("safe", exclude=("clinician",))) == (
        shown(Policy("safe")) - select("clinician")
    )


def test_a_whole_subtree_is_one_rule():
    (criminal,) = find("criminal")
    assert len(below(criminal)) > 20
    left = shown(Policy("full", exclude=("under criminal",)))
    assert len(left) == 2832 - len(below(criminal))
    assert not left & below(criminal)


def test_what_is_excluded_is_not_shown_whatever_else_applies():
    policy = Policy("full", include=("boss", "under criminal"), exclude=("boss", "under person"))
    assert shown(policy) == set()


def test_every_decision_names_its_rule():
    policy = Policy("safe", include=("boss",), exclude=("under criminal",))
    reasons = {policy.decide(synset).reason for synset in SYNSETS}
    assert reasons == {
        "labels.include names 'boss'",
        "labels.exclude names 'under criminal'",
        *(
            f"its tier is {tier}, and labels.policy is safe"
            for tier in ("safe", "sensitive", "offensive")
        ),
    }


@pytest.mark.parametrize(
    ("name", "warns"), [("safe", False), ("inoffensive", True), ("full", True)]
)
def test_only_what_may_wound_is_warned_of(name, warns):
    assert bool(Policy(name).warning) == warns


class Scores:
    """An engine that answers with whatever it is told to."""

    def __init__(self, manifest, scores):
        self.manifest = manifest
        self._scores = scores

    def run(self, _frame, regions):
        return {"log_probabilities": self._scores[: len(regions)]}


@pytest.mark.parametrize(("name", "hidden"), [("safe", 1156 + 437), ("inoffensive", 437)])
def test_no_scores_whatever_bring_up_a_hidden_word(built, name, hidden):
    """100,000 random answers, among them ones that are sure of a hidden word and of no other."""
    from engines.manifest import load_manifest
    from installation.vision.classifier import Classifier

    manifest = load_manifest(built / "person-semantic")
    wnids = tuple(synset.wnid for synset in SYNSETS)
    forbidden = {synset.wnid for synset in SYNSETS} - shown(Policy(name))
    assert len(forbidden) == hidden
    rng = np.random.default_rng(2020)
    bad = np.array([synset.wnid in forbidden for synset in SYNSETS])
    frame = Frame.from_image(np.zeros((8, 8, 3), np.uint8))
    for round_ in range(50):
        scores = rng.normal(-8, 3, (2000, 2832)).astype(np.float32)
        if round_ % 2:
            scores[:, bad] += 40
        classifier = Classifier(Scores(manifest, scores), wnids, Policy(name))
        answers = classifier.score(frame, np.zeros((2000, 4), np.float32))
        assert np.isfinite(answers).all()
        first = {classifier.synsets[index].wnid for index in answers.argmax(1)}
        assert not first & forbidden
