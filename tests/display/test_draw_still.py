import numpy as np
import pytest

from installation.config.model import Theme
from installation.display.draw_still import draw_scene
from installation.scene import Label, Scene, Track, Verdict

GREEN = np.array([0x14, 0xFF, 0x39])
VERDICT = Verdict(Label("n0", "clinician", 0.5), True)


def scene(picture, *boxes, whole=None):
    tracks = tuple(Track(i, 0.0, box, (0.0,) * 4, VERDICT) for i, box in enumerate(boxes, 1))
    return Scene(0, 0.0, picture.shape[1], picture.shape[0], tracks, whole)


def test_box_and_words_are_drawn_into_a_copy(hopper):
    before = hopper.copy()
    drawn = draw_scene(hopper, scene(hopper, (172.0, 128.0, 362.0, 333.0)), Theme())
    assert np.array_equal(hopper, before)
    assert (drawn[200, 172] == GREEN).all()
    assert np.array_equal(drawn[200, 250], hopper[200, 250])
    assert (drawn[340:400] == GREEN).all(-1).sum() > 100


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (20, 400), (400, 20), (60, 60)])
def test_words_larger_than_the_image_are_cut(size):
    picture = np.full((*size, 3), 100, np.uint8)
    assert draw_scene(picture, scene(picture, whole=VERDICT), Theme()).shape == picture.shape
    box = (0.0, 0.0, float(size[1]), float(size[0]))
    assert draw_scene(picture, scene(picture, box), Theme()).shape == picture.shape
