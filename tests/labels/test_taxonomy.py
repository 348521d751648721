import pytest

from installation.labels.synsets import load_synsets
from installation.labels.taxonomy import PERSON, WordError, below, find, paths, select, words_of


def test_every_label_leads_up_to_person():
    for synset in load_synsets():
        for path in paths(synset.wnid):
            assert path[0] == synset.wnid
            assert path[-1] == PERSON
            assert len(set(path)) == len(path)


def test_the_way_up_is_that_of_wordnet():
    (widower,) = find("grass widower")
    assert words_of(paths(widower)[0][-1]).startswith("person, ")
    (boss,) = select("boss")
    assert [words_of(each).split(", ")[0] for each in paths(boss)[0]] == [
        "boss",
        "leader",
        "person",
    ]


def test_all_labels_lie_below_person():
    assert below(PERSON) == {synset.wnid for synset in load_synsets()}


@pytest.mark.parametrize(
    "text",
    [
        "grass widower",
        "Grass  Widower",
        "grass_widower",
        "grass widower, divorced man",
        "divorced man",
        "n10144338",
    ],
)
def test_a_word_is_found_however_it_is_written(text):
    assert find(text) == ("n10144338",)


def test_a_word_of_several_meanings_is_all_of_them():
    assert len(select("runner")) == 6


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("grass widwer", "did you mean grass widower"),
        ("criminel", "did you mean criminal"),
        ("under criminel", "did you mean criminal"),
        ("criminal", "write under criminal"),
        ("zzzzzz", "is not a word for a person in WordNet"),
        ("", "is not a word for a person"),
        ("under ", "is not a word for a person"),
    ],
)
def test_what_is_not_a_label_is_rejected_with_suggestions(text, hint):
    with pytest.raises(WordError, match=hint):
        select(text)
