"""A real window, in memory through EGL and on a screen under Xvfb: one process each, because
pyglet decides once whether there is a screen."""

import os
import shutil
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest

from installation.config.model import Display, Theme
from installation.display.window import Window
from installation.scene import Frame, Label, Scene, Track, Verdict
from tests.paths import ROOT

SCRIPT = """
    import sys
    import cv2, numpy as np
    from installation.config.model import Display, Theme
    from installation.display.window import Window
    from installation.scene import Frame, Label, Scene, Track, Verdict

    headless, out = sys.argv[1] == "headless", sys.argv[2]
    display = Display(fullscreen=False, width=640, height=360, **{settings})
    window = Window(display, Theme(**{theme}), headless)
    picture = np.zeros((360, 640, 3), np.uint8)
    picture[:, :320] = (200, 40, 90)
    picture[:180, 320:] = (10, 160, 60)
    verdict = Verdict(Label("n0", "clinician", 1), True)
    track = Track(1, 0.0, (400.0, 100.0, 480.0, 200.0), (0.0,) * 4, verdict)
    scene = Scene(0, 0.0, 640, 360, (track,), None)
    for seq in range(3):
        window.show(Frame(seq, 0.0, np.roll(picture, seq - 2, 0)), scene)
    print(window.size)
    cv2.imwrite(out, window.snapshot())
    window.show_slate("no picture")
    window.close()
"""

needs_xvfb = pytest.mark.skipif(not shutil.which("xvfb-run"), reason="no xvfb-run here")


def shot(tmp_path, where, theme=None, **settings):
    out = tmp_path / f"{where}.png"
    script = textwrap.dedent(SCRIPT).replace("{settings}", repr(settings))
    script = script.replace("{theme}", repr(theme or {}))
    command = [sys.executable, "-c", script, where, str(out)]
    if where == "screen":
        command = ["xvfb-run", "-a", "-s", "-screen 0 1280x800x24", *command]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    # xvfb-run may put standard error there, too.
    assert ran.stdout.splitlines()[-1] == "(640, 360)"
    return cv2.imread(str(out))


@pytest.mark.parametrize("where", ["headless", pytest.param("screen", marks=needs_xvfb)])
def test_the_mirrored_frame_is_shown_with_box_and_words(tmp_path, where):
    picture = shot(tmp_path, where)
    assert picture[300, 600].tolist() == [200, 40, 90]
    assert picture[20, 20].tolist() == [10, 160, 60]
    assert picture[300, 20].tolist() == [0, 0, 0]
    # The face at 400..480 is seen at 160..240.
    green = (picture == [0x14, 0xFF, 0x39]).all(-1)
    assert green[150, 158]
    assert green[150, 240]
    assert not green[150, 165:235].any()
    assert green[205:260, 140:260].sum() > 100


def test_without_mirror_and_in_another_colour(tmp_path):
    picture = shot(tmp_path, "headless", {"colour": "#ff0000"}, mirror=False)
    assert picture[300, 20].tolist() == [200, 40, 90]
    red = (picture == [0, 0, 255]).all(-1)
    assert red[150, 398]


@needs_xvfb
def test_memory_and_screen_agree_to_the_pixel(tmp_path):
    difference = shot(tmp_path, "headless").astype(int) - shot(tmp_path, "screen")
    assert np.abs(difference).max() <= 1


def test_a_missing_screen_is_an_error():
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "from installation.config.model import Display, Theme\n"
            "from installation.display.window import Window, DisplayError\n"
            "try: Window(Display(), Theme(), False)\n"
            "except DisplayError as error: print(error)",
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.startswith("no screen: DISPLAY is not set")


def hung(rotate):
    """What the screen's own memory holds, and what people see, of a picture with box and words."""
    width, height = (360, 640) if rotate % 180 else (640, 360)
    display = Display(fullscreen=False, width=width, height=height, rotate=rotate)
    window = Window(display, Theme(), headless=True)
    # Not before a window has settled that there is no screen.
    from pyglet import gl

    try:
        assert window.size == (640, 360)
        picture = np.zeros((360, 640, 3), np.uint8)
        picture[:180, :320] = (200, 40, 90)
        picture[:180, 320:] = (10, 160, 60)
        picture[180:, :320] = (30, 30, 220)
        verdict = Verdict(Label("n0", "clinician", 1), True)
        track = Track(1, 0.0, (400.0, 100.0, 480.0, 200.0), (0.0,) * 4, verdict)
        window.show(Frame(0, 0.0, picture), Scene(0, 0.0, 640, 360, (track,), None))
        seen = window.snapshot()
        memory = np.empty((height, width, 3), np.uint8)
        gl.glReadPixels(0, 0, width, height, gl.GL_BGR, gl.GL_UNSIGNED_BYTE, memory.ctypes.data)
        return memory[::-1], seen
    finally:
        window.close()


# Where, in the screen's own memory, people's upper left, upper right and lower left lie.
@pytest.mark.parametrize(
    ("rotate", "upper_left", "upper_right", "lower_left"),
    [
        (0, (20, 20), (20, 620), (340, 20)),
        (90, (620, 20), (20, 20), (620, 340)),
        (180, (340, 620), (340, 20), (20, 620)),
        (270, (20, 340), (620, 340), (20, 20)),
    ],
)
def test_on_a_turned_screen_all_is_upright(rotate, upper_left, upper_right, lower_left):
    memory, seen = hung(rotate)
    # Mirrored: what the camera has on its left is people's right.
    assert memory[upper_left].tolist() == [10, 160, 60]
    assert memory[upper_right].tolist() == [200, 40, 90]
    assert memory[lower_left].tolist() == [0, 0, 0]
    # Box and words too, to the pixel.
    _, straight = hung(0)
    assert np.abs(seen.astype(int) - straight).max() <= 1
    assert np.abs(np.rot90(memory, -rotate // 90).astype(int) - straight).max() <= 1
    green = (seen == [0x14, 0xFF, 0x39]).all(-1)
    assert green[150, 158]
    assert green[205:260, 140:260].sum() > 100
