"""The page in a real browser: with a mouse, by keyboard, on a phone and for screen readers."""

import os
import shutil
import time

import cv2
import numpy as np
import pytest

from tests.web.upload.serving import LONG, Serving, encoded

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")

SIZES = {
    "desktop": {"viewport": {"width": 1280, "height": 800}},
    "phone": {
        "viewport": {"width": 390, "height": 760},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
}


@pytest.fixture(scope="module")
def film(built, hopper, tmp_path_factory):
    """Return the video of a simulated camera: Hopper."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    path.write_bytes(encoded(cv2.resize(hopper, (640, 750))[:480]) * 10)
    return path


@pytest.fixture(scope="module")
def browser(film):
    with playwright.sync_playwright() as driver:
        # Chromium does not run as root within its sandbox.
        options = ["--no-sandbox"] if os.getuid() == 0 else []
        options += ["--disable-dev-shm-usage", "--use-fake-ui-for-media-stream"]
        options += ["--use-fake-device-for-media-stream"]
        options += [f"--use-file-for-fake-video-capture={film}"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, site):
    """Return a function that opens the page; errors in the page fail the test."""
    contexts, wrong = [], []

    def open_(path="/", where=site, **options):
        context = browser.new_context(base_url=where.url, **options)
        contexts.append(context)
        context.set_default_timeout(LONG * 1000)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on(
            "request",
            lambda asked: asked.url.startswith((where.url, "data:")) or wrong.append(asked.url),
        )
        page.goto(path)
        return page

    yield open_
    for context in contexts:
        assert context.cookies() == []
        context.close()
    # Chromium reports every status from 400 on.
    assert [each for each in wrong if "Failed to load resource" not in each] == []


@pytest.fixture
def files(tmp_path, both, hopper):
    (tmp_path / "both.jpg").write_bytes(encoded(both))
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "large.png").write_bytes(encoded(cv2.resize(hopper, (1024, 1200)), ".png"))
    return tmp_path


def shown(locator):
    """Return a screenshot of an element, RGB."""
    data = np.frombuffer(locator.screenshot(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.int16)


def greenness(picture):
    """Share of pixels that are much more green than anything in a photograph."""
    return (picture[..., 1] - picture[..., ::2].max(2) > 80).mean()


def shows_answer(page, faces=2):
    """Check that words and boxes are visible, and described for screen readers."""
    picture = page.locator("#answer > figure img")
    picture.wait_for()
    named = page.locator("#answer h3").all_inner_texts()
    assert len(named) == faces
    alt = picture.get_attribute("alt")
    assert all(f"“{words}”" in alt for words in named)
    assert greenness(shown(picture)) > 0.002
    return named


def until(page, expression):
    """Wait until an expression is true; the page's security policy forbids Playwright's own way."""
    deadline = time.monotonic() + LONG
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def is_accessible(page):
    """Check the page with axe: its rules for WCAG 2.2 A and AA and best practice."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], "wider than the screen"


@pytest.mark.parametrize("size", SIZES)
def test_a_chosen_image_comes_back_with_boxes_and_words(visit, files, size):
    page = visit(**SIZES[size])
    is_accessible(page)
    page.evaluate(
        """window.heard = [];
        new MutationObserver(() => heard.push(document.getElementById("progress").textContent))
            .observe(document.getElementById("progress"), {childList: true})"""
    )
    page.set_input_files("#pick", files / "both.jpg")
    named = shows_answer(page)
    assert page.evaluate("heard[0]") == "The machine is looking at your image"
    until(page, "document.getElementById('progress').textContent === ''")
    assert page.evaluate("document.activeElement.id") == "answer"
    assert "2 faces" in page.title()
    assert 0 <= page.locator("#outcome").bounding_box()["y"] < 200, "not in sight"
    page.get_by_text("What does this word mean").first.click()
    assert page.locator(".path").first.inner_text().startswith(named[0].partition(", ")[0])
    page.get_by_text("Why this word").first.click()
    assert page.get_by_alt_text("The part of your image around this face").first.is_visible()
    assert page.locator("table").first.locator("tr").count() == 5
    is_accessible(page)


def test_by_keyboard_alone(visit, files):
    page = visit(**SIZES["desktop"])
    # Answers the file dialogue.
    page.on("filechooser", lambda dialogue: dialogue.set_files(files / "both.jpg"))
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "pick":
            break
    assert page.evaluate("document.activeElement.id") == "pick"
    outline = page.evaluate(
        "getComputedStyle(document.activeElement.closest('.choice')).outlineStyle"
    )
    assert outline == "solid"
    page.keyboard.press("Enter")
    shows_answer(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.locator("#answer details").first.get_attribute("open") is not None
    assert page.locator(".path").first.is_visible()


@pytest.mark.parametrize("size", SIZES)
def test_without_a_script(visit, files, size):
    page = visit(java_script_enabled=False, **SIZES[size])
    for field in page.locator(".choice:visible, .send").all():
        box = field.bounding_box()
        assert box["x"] + box["width"] <= SIZES[size]["viewport"]["width"]
    page.set_input_files("#pick", files / "both.jpg")
    page.get_by_role("button", name="Send").click()
    shows_answer(page)
    page.get_by_text("What does this word mean").first.click()
    assert page.locator(".path").first.is_visible()
    page.goto("/")
    page.set_input_files("#pick", files / "text.jpg")
    page.get_by_role("button", name="Send").click()
    assert "not a JPEG" in page.get_by_role("alert").inner_text()


def test_after_an_error_another_image_can_be_sent(visit, files):
    page = visit(**SIZES["phone"])
    page.set_input_files("#pick", files / "text.jpg")
    assert "not a JPEG" in page.get_by_role("alert").inner_text()
    assert 0 <= page.get_by_role("alert").bounding_box()["y"] < 200, "not in sight"
    is_accessible(page)
    page.set_input_files("#pick", files / "both.jpg")
    shows_answer(page)


def test_a_busy_server_is_asked_again(visit, files):
    page = visit()
    answers = iter([503, 429])

    def busy(route):
        status = next(answers, None)
        if status is None:
            route.continue_()
        else:
            route.fulfill(status=status, headers={"Retry-After": "1"}, body="")

    page.route("/", busy)
    page.set_input_files("#pick", files / "both.jpg")
    page.get_by_text("It will be your turn soon").wait_for()
    shows_answer(page)


def test_an_unreachable_server_is_reported(visit, files):
    page = visit()
    page.route("/", lambda route: route.abort())
    page.set_input_files("#pick", files / "both.jpg")
    assert "cannot be reached" in page.get_by_role("alert").inner_text()


def test_the_camera_of_a_desktop(visit):
    page = visit(**SIZES["desktop"])
    page.get_by_role("button", name="Take a photo").click()
    until(page, "document.querySelector('video').videoWidth > 0")
    is_accessible(page)
    page.get_by_role("button", name="Take the photo").click()
    shows_answer(page, faces=1)
    assert page.evaluate("document.querySelector('video').srcObject") is None


def test_an_image_can_be_dropped(visit, files):
    page = visit()
    page.evaluate(
        """(bytes) => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([new Uint8Array(bytes)], "x.jpg", {type: "image/jpeg"}));
            document.body.dispatchEvent(
                new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
        }""",
        list((files / "both.jpg").read_bytes()),
    )
    shows_answer(page)


def test_a_large_image_is_shrunk_before_it_is_sent(visit, files, built, tmp_path):
    folder = tmp_path / "strict"
    folder.mkdir()
    with Serving(folder, built, "max_upload_mb: 0.4, timeout_s: 600") as strict:
        assert (files / "large.png").stat().st_size > 400_000
        page = visit(where=strict)
        page.set_input_files("#pick", files / "large.png")
        shows_answer(page, faces=1)


def test_the_page_for_developers(visit):
    for size in SIZES.values():
        is_accessible(visit("/api", **size))
