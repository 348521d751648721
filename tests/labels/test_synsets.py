from installation.labels.synsets import load_synsets


def test_all_persons_are_there_once_in_order():
    wnids = [synset.wnid for synset in load_synsets()]
    assert len(wnids) == 2832
    assert wnids == sorted(set(wnids))


def test_words_are_written_as_wordnet_does():
    words = {synset.wnid: synset.words for synset in load_synsets()}
    assert words["n10144338"] == "grass widower, divorced man"


def test_tiers_are_those_published():
    tiers = [synset.safety for synset in load_synsets()]
    assert [tiers.count(tier) for tier in ("safe", "sensitive", "offensive")] == [1239, 1156, 437]
