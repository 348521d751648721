from engines.persons import person_wnids
from installation.labels.synsets import load_synsets


def test_engines_and_labels_list_the_same_synsets_in_the_same_order():
    assert person_wnids() == tuple(synset.wnid for synset in load_synsets())
