import numpy as np
import pytest

from engines.manifest import ManifestError
from installation.labels.policy import Policy
from installation.labels.synsets import load_synsets
from installation.scene import Frame
from installation.vision.classifier import Classifier
from tests.cpu_engine import on_cpu
from tests.portraits import HOPPER_FACE

FACE = np.array([HOPPER_FACE], np.float32)


@pytest.fixture(scope="module")
def hopper_frame(hopper):
    return Frame.from_image(hopper)


def under(config, policy):
    folder = config.inference.engines / config.inference.classifier
    wnids = (folder / "labels.txt").read_text().split()
    return Classifier(on_cpu(folder), tuple(wnids), Policy(policy))


def test_policies_choose_among_what_is_left(config, hopper_frame):
    full, safe = under(config, "full"), under(config, "safe")
    everything, some = (
        full.score_faces(hopper_frame, FACE),
        safe.score_faces(hopper_frame, FACE),
    )
    assert (everything.shape, some.shape) == ((1, 2832), (1, 1239))
    for scores in (everything, some):
        np.testing.assert_allclose(np.exp(scores).sum(1), 1, atol=1e-4)
    # The same ranking, without what is excluded.
    place = {synset.wnid: index for index, synset in enumerate(full.synsets)}
    order = np.array([place[synset.wnid] for synset in safe.synsets])
    assert np.array_equal(np.argsort(-some[0])[:20], np.argsort(-everything[0][order])[:20])
    assert {synset.safety for synset in safe.synsets} == {"safe"}


def test_labels_come_best_first_with_their_words(config, hopper_frame):
    classifier = under(config, "safe")
    labels = classifier.best(classifier.score_whole(hopper_frame), 1239)
    scores = [label.score for label in labels]
    assert scores == sorted(scores, reverse=True)
    assert len({label.wnid for label in labels}) == 1239
    words = {synset.wnid: synset.words for synset in load_synsets()}
    assert all(label.words == words[label.wnid] for label in labels)


def test_a_uniform_is_seen(config, hopper_frame):
    """An admiral in uniform is named after one, of all the 1,239 words."""
    classifier = under(config, "safe")
    words = {
        label.words for label in classifier.best(classifier.score_faces(hopper_frame, FACE)[0], 10)
    }
    assert {"inspector general", "medical officer, medic"} <= words


def test_no_faces_no_scores(config, hopper_frame):
    scores = under(config, "safe").score_faces(hopper_frame, np.zeros((0, 4), np.float32))
    assert scores.shape == (0, 1239)


def test_a_label_file_with_unknown_synsets_is_rejected(built):
    engine = on_cpu(built / "person-semantic")
    with pytest.raises(ManifestError, match="n99999999"):
        Classifier(engine, ("n99999999",), Policy("safe"))


def test_a_truncated_label_file_is_rejected(built, hopper_frame):
    engine = on_cpu(built / "person-semantic")
    classifier = Classifier(engine, (load_synsets()[0].wnid,), Policy("full"))
    with pytest.raises(ManifestError, match=r"2832 scores, but its label file has 1 line"):
        classifier.score_whole(hopper_frame)


def test_a_detector_is_rejected_as_classifier(built):
    with pytest.raises(ManifestError, match="the classifier must be"):
        Classifier(on_cpu(built / "face-centerface"), (), Policy("safe"))
