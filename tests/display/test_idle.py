import pytest

from installation.config.model import Theme
from installation.display.captions import Typesetter
from installation.display.idle import IdleWord
from installation.display.layout import Viewport
from installation.display.layout_engine import LayoutEngine
from installation.scene import Label, Scene, Track, Verdict

WORDS = tuple(IdleWord(f"word {index}", f"person > kind {index % 7}") for index in range(50))
SCREEN = 1280, 720
VIEW = Viewport(SCREEN, SCREEN, "cover", False)
SOMEONE = (Track(1, 0.0, (500.0, 200.0, 620.0, 350.0), (0.0,) * 4, None),)
WHOLE = Verdict(Label("n0", "wallflower", 1.0), True)


@pytest.fixture(scope="module")
def typesetter():
    return Typesetter(Theme())


def wall(typesetter, **idle):
    return LayoutEngine(Theme(idle=idle), typesetter.measure, WORDS)


def layouts(arranging, times, tracks=()):
    whole = None if tracks else WHOLE
    return [
        arranging.arrange(Scene(0, float(at), *SCREEN, tracks, whole), float(at), VIEW)
        for at in times
    ]


def words(layout):
    return {caption.spec.words for caption in layout.captions}


def test_after_a_while_alone_the_image_dims_and_words_drift_by(typesetter):
    seen = layouts(wall(typesetter, after_s=10), range(60))
    assert all(layout.brightness == 1 and words(layout) == {"wallflower"} for layout in seen[:10])
    brightness = [layout.brightness for layout in seen[10:]]
    assert brightness == sorted(brightness, reverse=True)
    assert 0 < brightness[-1] < 0.5
    assert all("wallflower" not in words(layout) for layout in seen[11:])
    assert len(words(seen[-1])) >= 5
    # The first rises from below the edge.
    assert all(caption.y >= 0.9 * 720 for caption in seen[11].captions)


def test_words_rise_and_stay_off_each_other(typesetter):
    arranging = wall(typesetter, after_s=1)
    before = {}
    for layout in layouts(arranging, [index / 4 for index in range(400)]):
        places = []
        for caption in layout.captions:
            width, height = typesetter.measure(caption.spec)
            box = (caption.x, caption.y, caption.x + width, caption.y + height)
            for other in places:
                assert (
                    box[2] <= other[0]
                    or other[2] <= box[0]
                    or (box[3] <= other[1] or other[3] <= box[1])
                ), (caption, other)
            places.append(box)
            if layout.brightness < 1 and caption.spec in before:
                assert caption.y <= before[caption.spec] or caption.y > 600
            before[caption.spec] = caption.y


def test_the_animation_ends_at_once_when_somebody_comes(typesetter):
    arranging = wall(typesetter, after_s=5)
    layouts(arranging, range(30))
    (met,) = layouts(arranging, [30], SOMEONE)
    assert met.brightness == 1
    assert words(met) == set()
    assert layouts(arranging, [34])[0].brightness == 1


def test_with_after_s_zero_it_never_dims(typesetter):
    assert layouts(wall(typesetter, after_s=0), [0, 1e6])[1].brightness == 1


def test_the_greeting_is_shown_in_the_curators_words_and_moves(typesetter):
    seen = layouts(wall(typesetter, after_s=1, text="Kommen Sie näher"), range(100))[5:]
    places = [
        (caption.x, caption.y)
        for layout in seen
        for caption in layout.captions
        if caption.spec.words == "Kommen Sie näher"
    ]
    assert len(places) == len(seen)
    assert len(set(places)) > 20


def test_a_gap_between_frames_restarts_the_idle_time(typesetter):
    arranging = wall(typesetter, after_s=10)
    layouts(arranging, range(5), SOMEONE)
    (back,) = layouts(arranging, [100])
    assert back.brightness == 1
    assert layouts(arranging, range(101, 110))[-1].brightness == 1
    assert layouts(arranging, range(110, 120))[-1].brightness < 1


def test_another_time_other_words_drift_by(typesetter):
    arranging = wall(typesetter, after_s=1)
    first = words(layouts(arranging, range(60))[-1])
    layouts(arranging, [60], SOMEONE)
    second = words(layouts(arranging, range(61, 121))[-1])
    assert len(first & second) <= 2 < len(second)


def test_a_long_greeting_in_large_type_stays_on_the_screen(typesetter):
    theme = Theme(text_scale=3, idle={"after_s": 1, "text": "Kommen Sie näher. " * 11})
    arranging = LayoutEngine(theme, typesetter.measure, ())
    (caption,) = layouts(arranging, range(10))[-1].captions
    width, height = typesetter.measure(caption.spec)
    assert 0 <= caption.x <= 1280 - width
    assert 0 <= caption.y <= 720 - height
