import numpy as np
import pytest

from installation.config.model import Theme
from installation.display.captions import Typesetter
from installation.display.layout import Viewport
from installation.display.layout_engine import LayoutEngine
from installation.labels.synsets import load_synsets
from installation.scene import Label, Scene, Track, Verdict

STILL = (0.0, 0.0, 0.0, 0.0)
SCREENS = [(1280, 720), (1920, 1080), (720, 1280), (640, 480), (3840, 2160)]


def scene(*boxes, words="clinician", size=(1280, 720), whole=None):
    tracks = tuple(
        Track(index + 1, 0.0, tuple(map(float, box)), STILL, Verdict(Label("n0", words, 1), True))
        for index, box in enumerate(boxes)
    )
    verdict = Verdict(Label("n0", whole, 1), True) if whole else None
    return Scene(0, 0.0, *size, tracks, verdict)


@pytest.fixture(scope="module")
def typesetter():
    return Typesetter(Theme())


def arranger(typesetter, **theme):
    return LayoutEngine(Theme(**theme), typesetter.measure)


def laid_out(typesetter, what, screen=(1280, 720), mirror=True):
    """Captions as xyxy, and the faces on the screen."""
    view = Viewport((what.width, what.height), screen, "cover", mirror)
    layout = arranger(typesetter).arrange(what, 0.0, view)
    captions = [
        (c.x, c.y, c.x + typesetter.measure(c.spec)[0], c.y + typesetter.measure(c.spec)[1])
        for c in layout.captions
    ]
    return captions, layout


def shared(a, b):
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


@pytest.mark.parametrize(
    ("fit", "mirror", "box", "placed"),
    [
        ("cover", False, (0, 0, 640, 360), (0, 0, 960, 540)),
        ("cover", True, (0, 0, 640, 360), (960, 0, 1920, 540)),
        ("contain", True, (1280, 0, 1280, 720), (0, 0, 0, 1080)),
    ],
)
def test_a_view_of_the_same_shape(fit, mirror, box, placed):
    assert Viewport((1280, 720), (1920, 1080), fit, mirror).place(box) == placed


def test_cover_crops_and_contain_leaves_bars():
    centre = (630, 350, 650, 370)
    cover = Viewport((1280, 720), (1000, 1000), "cover", False)
    contain = Viewport((1280, 720), (1000, 1000), "contain", False)
    assert cover.scale == pytest.approx(1000 / 720)
    assert contain.scale == pytest.approx(1000 / 1280)
    for view in (cover, contain):
        x0, y0, x1, y1 = view.place(centre)
        assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((500, 500))


def test_words_go_below_the_face(typesetter):
    (caption,), layout = laid_out(typesetter, scene((500, 200, 620, 350)))
    (face,) = layout.boxes
    assert caption[1] > face[3]
    assert caption[1] - face[3] < 40
    assert abs((caption[0] + caption[2]) - (face[0] + face[2])) <= 4


@pytest.mark.parametrize("screen", SCREENS)
def test_random_crowds_keep_words_on_the_screen_and_off_faces(typesetter, screen):
    random = np.random.default_rng(0)
    words = sorted((synset.words for synset in load_synsets()), key=len)
    shown = faces = 0
    for _ in range(60):
        boxes = []
        for _ in range(random.integers(1, 9)):
            side = random.uniform(40, 260)
            x, y = random.uniform(0, 1280 - side), random.uniform(0, 720 - side)
            boxes.append((x, y, x + side * 0.8, y + side))
        text = words[random.integers(len(words))]
        captions, layout = laid_out(typesetter, scene(*boxes, words=text), screen)
        for index, caption in enumerate(captions):
            assert caption[0] >= 0
            assert caption[1] >= 0
            assert caption[2] <= screen[0]
            assert caption[3] <= screen[1]
            for other in (*layout.boxes, *captions[:index]):
                # To a pixel of rounding.
                assert shared(caption, other) <= max(screen)
        shown, faces = shown + len(captions), faces + len(layout.boxes)
    assert shown > 0.8 * faces


def test_where_there_is_no_room_a_word_is_left_out(typesetter):
    boxes = [(62 * i, 70 * j, 62 * i + 60, 70 * j + 68) for i in range(20) for j in range(10)]
    captions, layout = laid_out(typesetter, scene(*boxes, words="groom, bridegroom"))
    assert len(layout.boxes) == 200
    assert captions == []


def test_a_face_that_fills_the_screen_still_has_its_word(typesetter):
    (caption,), _ = laid_out(typesetter, scene((10, 5, 1270, 715)))
    assert caption[1] > 600


def test_a_face_that_is_not_on_the_screen_is_not_named(typesetter):
    above = scene((100, 0, 300, 200), size=(720, 1280))
    captions, layout = laid_out(typesetter, above, screen=(1280, 720))
    assert (captions, layout.boxes) == ([], ())


def test_a_face_that_has_walked_on_since_is_not_boxed_where_it_was(typesetter):
    view = Viewport((1280, 720), (1280, 720), "cover", False)
    for velocity, age, boxes in ((300, 0.1, 1), (300, 0.6, 0), (0, 5.0, 1)):
        moving = (float(velocity), 0.0) * 2
        track = Track(1, 1.0, (100.0, 100.0, 200.0, 200.0), moving, None)
        what = Scene(0, 1.0, 1280, 720, (track,), None)
        assert len(arranger(typesetter).arrange(what, 1.0 + age, view).boxes) == boxes


def test_neighbours_do_not_write_over_each_other(typesetter):
    boxes = [(100 + 180 * i, 250, 220 + 180 * i, 400) for i in range(6)]
    captions, layout = laid_out(typesetter, scene(*boxes, words="grass widower, divorced man"))
    for index, caption in enumerate(captions):
        assert all(shared(caption, other) == 0 for other in captions[:index])
        assert all(shared(caption, face) == 0 for face in layout.boxes)


@pytest.mark.parametrize(
    "box",
    [
        (500, 560, 640, 719),  # no room below
        (0, 300, 90, 420),  # at the edge
        (-60, 300, 60, 460),  # half outside
        (300, 20, 900, 700),  # room beside only
    ],
)
def test_at_the_edges_words_find_another_place(typesetter, box):
    (caption,), layout = laid_out(typesetter, scene(box, words="coiffeur"))
    assert shared(caption, layout.boxes[0]) == 0
    assert caption[0] >= 0
    assert caption[1] >= 0
    assert caption[2] <= 1280
    assert caption[3] <= 720


def test_the_whole_is_named_in_the_upper_left(typesetter):
    (caption,), layout = laid_out(typesetter, scene(whole="restaurateur, restauranter"))
    assert layout.boxes == ()
    assert caption[0] < 100
    assert caption[1] < 100
    # A mirror turns the picture round, not the words.
    assert laid_out(typesetter, scene(whole="x"), mirror=False)[0][0][:2] == caption[:2]


def test_before_a_verdict_there_is_a_box_without_words(typesetter):
    track = Track(1, 0.0, (10.0, 10.0, 90.0, 90.0), STILL, None)
    captions, layout = laid_out(typesetter, Scene(0, 0.0, 1280, 720, (track,), None))
    assert (captions, len(layout.boxes)) == ([], 1)


def test_boxes_are_predicted_to_the_time_of_the_frame(typesetter):
    track = Track(1, 1.0, (100.0, 100.0, 200.0, 200.0), (50.0, 0.0, 50.0, 0.0), None)
    view = Viewport((1280, 720), (1280, 720), "cover", False)
    layout = arranger(typesetter).arrange(Scene(0, 1.0, 1280, 720, (track,), None), 1.2, view)
    assert layout.boxes == ((110, 100, 210, 200),)


def test_a_face_that_comes_nearer_has_its_words_drawn_three_times_at_most(typesetter):
    styles = set()
    for side in range(20, 400):
        what = scene((500, 100, 500 + side, 100 + side), words="grass widower, divorced man")
        view = Viewport((1280, 720), (1280, 720), "cover", True)
        styles |= {c.spec for c in arranger(typesetter).arrange(what, 0.0, view).captions}
    assert len(styles) <= 3


def following(typesetter, boxes, seconds=0.1, **theme):
    """The captions of one face, scene after scene."""
    arranging = arranger(typesetter, **theme)
    view = Viewport((1280, 720), (1280, 720), "cover", False)
    for index, box in enumerate(boxes):
        what = scene(*(box if isinstance(box[0], tuple) else (box,)))
        yield arranging.arrange(what, index * seconds, view).captions


def test_a_face_that_moves_slightly_keeps_its_type_size(typesetter):
    widths = [118, 122, 116, 124, 119, 121] * 5
    sizes = {
        captions[0].spec.size
        for captions in following(typesetter, [(500, 200, 500 + w, 350) for w in widths])
    }
    assert len(sizes) == 1


def test_a_face_that_comes_near_gets_larger_type_once(typesetter):
    sizes = [
        captions[0].spec.size
        for captions in following(typesetter, [(500, 200, 500 + w, 350) for w in range(80, 200, 2)])
    ]
    assert sorted(sizes) == sizes
    assert 2 <= len(set(sizes)) <= 3


def test_a_caption_goes_back_below_its_face_when_that_has_been_free_for_a_while(typesetter):
    face, blocker = (500, 200, 620, 350), (480, 360, 660, 560)
    boxes = [(face, blocker)] * 3 + [(face,)] * 40
    below = [captions[0].y > 350 for captions in following(typesetter, boxes)]
    # Nearer faces choose first: the blocker's is the first caption while it is there.
    assert not any(
        caption.y < 350 < caption.y + 30
        for captions in following(typesetter, boxes[:3])
        for caption in captions
    )
    assert below[3:20].count(True) == 0
    assert all(below[-15:])


def test_the_words_turn_through_the_candidates_until_one_has_won(typesetter):
    labels = tuple(Label(f"n{index}", word, 0.3) for index, word in enumerate(("a", "b", "c")))
    view = Viewport((1280, 720), (1280, 720), "cover", False)

    def words(settled, cycle_candidates):
        verdict = Verdict(labels[0], settled, labels)
        track = Track(1, 0.0, (500.0, 200.0, 620.0, 350.0), STILL, verdict)
        what = Scene(0, 0.0, 1280, 720, (track,), None)
        arranging = arranger(typesetter, cycle_candidates=cycle_candidates)
        return {
            arranging.arrange(what, time / 100, view).captions[0].spec.words
            for time in range(0, 100, 4)
        }

    assert words(settled=False, cycle_candidates=True) == {"a", "b", "c"}
    assert words(settled=True, cycle_candidates=True) == {"a"}
    assert words(settled=False, cycle_candidates=False) == {"a"}


def test_gloss_and_score_are_shown_to_curators_who_want_them(typesetter):
    label = Label("n0", "clinician", 0.834, "a practitioner of medicine")
    track = Track(1, 0.0, (500.0, 200.0, 620.0, 350.0), STILL, Verdict(label, True))
    what = Scene(0, 0.0, 1280, 720, (track,), None)
    view = Viewport((1280, 720), (1280, 720), "cover", False)

    def spec(**theme):
        return arranger(typesetter, **theme).arrange(what, 0.0, view).captions[0].spec

    assert (spec().words, spec().below) == ("clinician", "")
    shown = spec(gloss=True, score=True)
    assert (shown.words, shown.below) == ("clinician 83%", "a practitioner of medicine")
    plain, glossed = typesetter.measure(spec()), typesetter.measure(shown)
    assert glossed[1] > 1.3 * plain[1]


def test_a_theme_scales_words_and_lines(typesetter):
    what = scene((500, 200, 620, 350))
    view = Viewport((1280, 720), (1280, 720), "cover", False)
    once, twice = (
        arranger(typesetter, text_scale=scale, box_width=scale).arrange(what, 0.0, view)
        for scale in (1, 2)
    )
    assert twice.captions[0].spec.size == pytest.approx(2 * once.captions[0].spec.size, abs=1)
    assert twice.line_width == 2 * once.line_width
    assert arranger(typesetter, box_width=0).arrange(what, 0.0, view).line_width == 0


def test_a_caption_never_blinks_while_the_next_words_are_set(typesetter):
    asked = set()

    def slowly(spec):
        """Like a renderer: nothing the first time."""
        if spec in asked:
            return typesetter.measure(spec)
        asked.add(spec)
        return None

    labels = tuple(Label(f"n{index}", f"word {index}", 0.3) for index in range(5))
    track = Track(1, 0.0, (500.0, 200.0, 620.0, 350.0), STILL, Verdict(labels[0], False, labels))
    what = Scene(0, 0.0, 1280, 720, (track,), None)
    view = Viewport((1280, 720), (1280, 720), "cover", False)
    arranging = LayoutEngine(Theme(), slowly)
    seen = [len(arranging.arrange(what, time / 30, view).captions) for time in range(60)]
    assert seen == [0] + [1] * 59


def test_a_face_hidden_for_a_moment_has_its_words_as_before(typesetter):
    arranging = arranger(typesetter)
    view = Viewport((1280, 720), (1280, 720), "cover", False)
    near, hardly_near = (500, 200, 640, 360), (500, 200, 617, 340)
    sizes = []
    for at, what in enumerate([scene(near), scene(hardly_near), scene(), scene(hardly_near)]):
        layout = arranging.arrange(what, at / 10, view)
        sizes += [caption.spec.size for caption in layout.captions]
    assert len(sizes) == 3
    assert len(set(sizes)) == 1
