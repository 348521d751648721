import pytest

from installation.record.entry import Entry
from installation.record.scene_counter import SceneCounter
from installation.scene import Label, Scene, Track, Verdict

NOW = 1_700_000_000.0
HOUR = 472222


def scene(at, *seen, whole=None):
    """A scene with faces: (id, word, settled, score) each; no word is no verdict yet."""
    tracks = tuple(
        Track(
            id_,
            at,
            (0.0, 0.0, 10.0, 10.0),
            (0.0,) * 4,
            Verdict(Label(word, f"words of {word}", score), settled) if word else None,
        )
        for id_, word, settled, score in seen
    )
    return Scene(0, at, 640, 480, tracks, whole)


def entry(wnid, seconds, confidence=0.5, hour=HOUR):
    return Entry(hour, wnid, confidence, seconds, "wall", "safe", "person-semantic")


@pytest.fixture
def tally():
    return SceneCounter("safe", "person-semantic")


def test_a_settled_word_counts_once_when_its_face_has_gone(tally):
    told = []
    for tenth in range(100):
        told += tally.add(scene(tenth / 10, (1, "n1", tenth >= 8, 0.5)), NOW)
    for tenth in range(100, 200):
        told += tally.add(scene(tenth / 10), NOW)
    assert told == [entry("n1", 9)]
    assert tally.flush() == []


def test_an_entry_is_complete_only_when_its_face_is_gone_for_good(tally):
    tally.add(scene(0, (1, "n1", True, 0.5)), NOW)
    assert tally.add(scene(2.9), NOW) == []
    assert tally.add(scene(3.1), NOW) == [entry("n1", 0)]


def test_a_face_lost_and_found_again_is_one_person(tally):
    told = tally.add(scene(0, (1, "n1", True, 0.5)), NOW)
    told += tally.add(scene(2.5, (1, "n1", True, 0.7)), NOW)
    told += tally.add(scene(4.5, (1, "n1", True, 0.7)), NOW)
    assert told == []
    assert tally.flush() == [entry("n1", 4, 0.5)]


def test_another_word_is_another_entry(tally):
    for second in range(22):
        assert tally.add(scene(second, (1, "n1", True, 0.5)), NOW) == []
    assert tally.add(scene(22, (1, "n2", True, 0.6)), NOW) == [entry("n1", 21)]
    tally.add(scene(24, (1, "n2", True, 0.9)), NOW)
    assert tally.flush() == [entry("n2", 2, 0.6)]


def test_words_that_did_not_settle_do_not_count(tally):
    for at in range(5):
        assert tally.add(scene(at, (1, "n1", False, 0.9), (2, None, False, 0)), NOW) == []
    assert tally.flush() == []


def test_the_word_for_a_whole_frame_does_not_count(tally):
    whole = Verdict(Label("n1", "astronaut", 1.0), True)
    assert tally.add(scene(0, whole=whole), NOW) == []
    assert tally.flush() == []


def test_people_are_counted_each_for_themselves(tally):
    tally.add(scene(0, (1, "n1", True, 0.25), (2, "n1", True, 0.5), (3, "n3", True, 1)), NOW)
    tally.add(scene(2, (2, "n1", True, 0.5), (3, "n3", True, 1)), NOW)
    assert tally.add(scene(4, (3, "n3", True, 1)), NOW) == [entry("n1", 0, 0.25)]
    assert tally.add(scene(6, (3, "n3", True, 1)), NOW) == [entry("n1", 2)]
    assert tally.add(scene(9.5), NOW) == [entry("n3", 6, 1)]


def test_flushing_completes_the_words_still_shown(tally):
    tally.add(scene(0, (1, "n1", True, 0.5), (2, "n2", False, 0.5)), NOW)
    tally.add(scene(1, (1, "n1", True, 0.5), (2, "n2", True, 0.5)), NOW)
    assert tally.flush() == [entry("n1", 1), entry("n2", 0)]
    assert tally.flush() == []


def test_an_hour_is_that_in_which_the_word_settled(tally):
    tally.add(scene(0, (1, "n1", True, 0.5)), (HOUR + 1) * 3600 - 0.01)
    tally.add(scene(1, (1, "n1", True, 0.5), (2, "n2", True, 0.5)), (HOUR + 1) * 3600)
    assert tally.flush() == [entry("n1", 1), entry("n2", 0, hour=HOUR + 1)]


def test_a_clock_that_is_put_right_changes_no_duration(tally):
    tally.add(scene(100, (1, "n1", True, 0.5)), NOW)
    tally.add(scene(102, (1, "n1", True, 0.5)), 0.0)
    assert tally.flush() == [entry("n1", 2)]


def test_a_gap_between_scenes_ends_all_entries(tally):
    tally.add(scene(0, (1, "n1", True, 0.5)), NOW)
    tally.add(scene(2, (1, "n1", True, 0.5)), NOW)
    # The same number again is the same path through the picture, but nobody remembers its word.
    assert tally.add(scene(60, (1, "n1", True, 0.5)), NOW) == [entry("n1", 2)]
    assert tally.flush() == [entry("n1", 0)]


def test_scenes_whose_clock_is_set_back_begin_anew(tally):
    tally.add(scene(1000, (1, "n1", True, 0.5)), NOW)
    assert tally.add(scene(5), NOW) == [entry("n1", 0)]


def test_an_entry_does_not_contain_position_or_identity():
    assert Entry.__slots__ == (
        *("hour", "wnid", "confidence", "seconds", "source", "policy", "engine"),
    )
