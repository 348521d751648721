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
        "viewport": {"width": 360, "height": 740},
        "device_scale_factor": 2,
        "is_mobile": True,
        "has_touch": True,
    },
    "landscape": {"viewport": {"width": 740, "height": 360}},
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
    picture = page.locator("#answer .picture img")
    picture.wait_for()
    named = page.locator("#answer h2").all_inner_texts()
    assert len(named) == faces
    alt = picture.get_attribute("alt")
    assert all(words in alt for words in named)
    assert greenness(shown(picture)) > 0.002
    return named


def until(page, expression):
    """Wait until an expression is true; the page's security policy forbids Playwright's own way."""
    deadline = time.monotonic() + LONG
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def is_accessible(page, contrast=True):
    """Check the page with axe: its rules for WCAG 2.2 A and AA and best practice."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"rules": {"color-contrast": {"enabled": contrast}}})
    assert found.violations_count == 0, found.generate_report()
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], "wider than the screen"


def send(page, file):
    """Choose a file; the page sends it at once."""
    page.set_input_files("#pick", file)


def hold(page):
    """Hold back what is sent; return it in a list, which fills."""
    held = []
    page.route("**/*", lambda route: held.append(route) if is_post(route) else route.continue_())
    return held


def is_post(route):
    return route.request.method == "POST"


def in_view(locator):
    """Return whether all of an element is on the screen."""
    box, size = locator.bounding_box(), locator.page.viewport_size
    return (
        0 <= box["x"] <= box["x"] + box["width"] <= size["width"]
        and 0 <= box["y"] <= box["y"] + box["height"] <= size["height"]
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_chosen_image_comes_back_with_boxes_and_words(visit, files, size):
    page = visit(**SIZES[size])
    is_accessible(page)
    assert in_view(page.locator(".choice:visible").last)
    send(page, files / "both.jpg")
    named = shows_answer(page)
    assert page.evaluate("document.activeElement.id") == "answer"
    assert "2 faces" in page.title()
    assert in_view(page.locator("#outcome"))
    assert in_view(page.locator(".words h2").first)
    if size != "landscape":
        assert in_view(page.locator(".picture"))
        assert in_view(page.get_by_role("link", name="Another image"))
    assert page.locator(".gloss").first.inner_text().endswith(".")
    page.get_by_text("Why this word?").first.click()
    assert page.locator(".path").first.inner_text().startswith(named[0].partition(", ")[0])
    assert page.locator("table").first.locator("tr").count() == 5
    is_accessible(page)


@pytest.mark.parametrize("size", SIZES)
def test_while_an_image_is_sent_the_page_shows_it_and_what_happens(visit, files, size):
    page = visit(**SIZES[size])
    held = hold(page)
    send(page, files / "both.jpg")
    until(page, "document.querySelector('canvas').width > 300")
    page.get_by_text("Your image is being sent").wait_for()
    for what in ("canvas", "#progress", "progress", ".stop"):
        assert in_view(page.locator(what)), what
    assert page.evaluate("document.activeElement.id") == "waiting"
    assert not page.locator("#content").is_visible()
    is_accessible(page)
    page.evaluate(
        """window.heard = [];
        new MutationObserver(() => heard.push(document.getElementById("progress").textContent))
            .observe(document.getElementById("progress"), {childList: true})"""
    )
    held[0].continue_()
    shows_answer(page)
    assert page.evaluate("heard").count("The machine is looking at your image") == 1
    assert not page.locator("#waiting").is_visible()
    assert page.evaluate("document.querySelector('canvas').width") == 0, "the image is kept"


def test_a_slow_connection_shows_how_much_has_been_sent(visit, files):
    page = visit(**SIZES["phone"])
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 50_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    send(page, files / "large.png")
    until(page, "document.querySelector('progress').position > 0")
    page.get_by_text("The machine is looking at your image").wait_for()
    assert page.evaluate("document.querySelector('progress').position") == -1
    shows_answer(page, faces=1)


def test_waiting_can_be_cancelled(visit, files):
    page = visit(**SIZES["phone"])
    hold(page)
    send(page, files / "both.jpg")
    page.get_by_role("button", name="Cancel").click()
    assert in_view(page.locator(".choice:visible").last)
    assert page.evaluate("document.activeElement.id") == "pick"
    page.unroute("**/*")
    send(page, files / "both.jpg")
    shows_answer(page)


def test_the_answer_stays_when_the_phone_is_rotated(visit, files):
    page = visit(**SIZES["phone"])
    send(page, files / "both.jpg")
    named = shows_answer(page)
    size = SIZES["phone"]["viewport"]
    for width, height in ((size["height"], size["width"]), (size["width"], size["height"])):
        page.set_viewport_size({"width": width, "height": height})
        until(page, f"innerWidth === {width}")
        assert page.locator(".answer h2").all_inner_texts() == named
        assert in_view(page.locator("#outcome"))
        shown_part = page.locator(".picture").bounding_box()
        assert shown_part["y"] < height / 2 and shown_part["x"] + shown_part["width"] <= width


def test_back_and_forward_lead_to_the_form_and_the_answer(visit, files):
    page = visit("/?lang=en", **SIZES["phone"])
    send(page, files / "both.jpg")
    named = shows_answer(page)
    page.get_by_role("link", name="Another image").click()
    until(page, "location.hash === '#choose'")
    page.go_back()
    until(page, "location.hash === ''")
    assert page.locator(".answer h2").all_inner_texts() == named
    page.go_back()
    page.get_by_text("What does the machine call you?").wait_for()
    assert not page.locator(".answer").is_visible()
    page.go_forward()
    assert shows_answer(page) == named
    page.go_back()
    send(page, files / "text.jpg")
    page.get_by_role("alert").wait_for()
    page.go_back()
    page.get_by_text("What does the machine call you?").wait_for()


def test_the_answer_can_be_saved(visit, files):
    page = visit(**SIZES["desktop"])
    send(page, files / "both.jpg")
    shows_answer(page)
    assert not page.get_by_role("button", name="Share").is_visible(), "this browser cannot share"
    with page.expect_download() as download:
        page.get_by_role("button", name="Save").click()
    assert download.value.suggested_filename.endswith(".jpg")
    saved = cv2.imread(download.value.path())
    assert saved.shape == (512, 1024, 3) and greenness(saved.astype(np.int16)) > 0.002


def test_the_answer_can_be_shared(visit, files):
    page = visit(**SIZES["phone"])
    page.evaluate(
        """() => {
            navigator.canShare = ({files}) => files.length === 1;
            navigator.share = async ({files}) => {
                window.shared = [files[0].type, files[0].size];
                throw new DOMException("", "AbortError");
            };
        }"""
    )
    send(page, files / "both.jpg")
    shows_answer(page)
    page.get_by_role("button", name="Share").click()
    kind, size = page.evaluate("window.shared")
    assert kind == "image/jpeg" and size > 10_000


def test_many_faces_are_numbered_and_grouped_by_word(visit, files, both):
    (files / "many.jpg").write_bytes(encoded(np.vstack([both, both])))
    page = visit(**SIZES["phone"])
    send(page, files / "many.jpg")
    page.locator("#answer .picture img").wait_for()
    numbers = page.locator(".numbers text").all_text_contents()
    assert numbers == ["1", "2", "3", "4"]
    words = page.locator("#answer h2").all_inner_texts()
    assert len(words) == len(set(words)) < 4
    listed = [each.split()[-1] for each in page.locator(".faces li").all_inner_texts()]
    assert sorted(listed) == numbers
    picture = page.locator(".picture img").bounding_box()
    crops = page.locator(".faces img").all()
    for index, crop in enumerate(crops):
        number = page.locator(".numbers circle").nth(int(listed[index]) - 1).bounding_box()
        assert picture["y"] - 20 < number["y"] < picture["y"] + picture["height"]
        assert crop.evaluate("crop => crop.naturalWidth") == 128
    # A number leads to its word.
    page.locator(".numbers a").nth(3).click()
    assert page.locator("#face-4:target").count() == 1
    until(page, "document.querySelector('#face-4').getBoundingClientRect().top < innerHeight")
    is_accessible(page)


def test_an_image_chosen_before_the_script_is_loaded_is_sent(visit, files):
    held = []
    page = visit("/api", **SIZES["phone"])
    page.route("**/script.js", lambda route: held.append(route))
    page.goto("/", wait_until="commit")
    page.get_by_text("Choose an image").wait_for()
    send(page, files / "both.jpg")
    until(page, "document.getElementById('pick').files.length === 1")
    held[0].continue_()
    shows_answer(page)


def test_by_keyboard_alone(visit, files):
    page = visit(**SIZES["desktop"])
    # Answers the file dialogue.
    page.on("filechooser", lambda dialogue: dialogue.set_files(files / "both.jpg"))

    def tab_to(selector):
        for _ in range(15):
            page.keyboard.press("Tab")
            if page.evaluate(f"document.activeElement.matches({selector!r})"):
                return
        pytest.fail(f"the Tab key does not reach {selector}")

    tab_to("#pick")
    outline = page.evaluate(
        "getComputedStyle(document.activeElement.closest('.choice')).outlineStyle"
    )
    assert outline == "solid"
    page.keyboard.press("Enter")
    shows_answer(page)
    tab_to("summary")
    page.keyboard.press("Enter")
    assert page.locator("#answer details").first.get_attribute("open") is not None
    assert page.locator(".path").first.is_visible()
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.textContent") == "Another image"
    page.keyboard.press("Enter")
    until(page, "document.getElementById('choose').getBoundingClientRect().top < innerHeight")
    tab_to("#pick")


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_without_a_script(visit, files, size):
    page = visit(java_script_enabled=False, **SIZES[size])
    for field in page.locator(".choice:visible, .send").all():
        assert in_view(field)
    page.set_input_files("#pick", files / "both.jpg")
    page.get_by_role("button", name="Send").click()
    shows_answer(page)
    assert in_view(page.locator(".picture"))
    assert page.get_by_text("To save the image, press and hold it").is_visible()
    for needs_script in (".save", ".share", ".again", ".camera"):
        assert not page.locator(needs_script).first.is_visible()
    page.get_by_text("Why this word?").first.click()
    assert page.locator(".path").first.is_visible()
    page.get_by_role("link", name="Another image").click()
    assert page.locator(".send").is_visible()
    page.set_input_files("#pick", files / "text.jpg")
    page.get_by_role("button", name="Send").click()
    assert "not a JPEG" in page.get_by_role("alert").inner_text()
    assert in_view(page.locator(".send"))


def test_after_an_error_another_image_can_be_sent(visit, files):
    page = visit(**SIZES["phone"])
    send(page, files / "text.jpg")
    assert "not a JPEG" in page.get_by_role("alert").inner_text()
    assert in_view(page.get_by_role("alert"))
    assert in_view(page.locator(".choice:visible").last)
    assert not page.get_by_role("button", name="Try again").is_visible()
    is_accessible(page)
    send(page, files / "both.jpg")
    shows_answer(page)


def test_a_busy_server_is_asked_again(visit, files):
    page = visit()
    answers = iter([503, 429])

    def busy(route):
        status = next(answers, None) if is_post(route) else None
        if status is None:
            route.continue_()
        else:
            route.fulfill(status=status, headers={"Retry-After": "1"}, body="")

    page.route("**/*", busy)
    send(page, files / "both.jpg")
    page.get_by_text("It will be your turn soon").wait_for()
    shows_answer(page)


def test_an_unreachable_server_is_reported_and_can_be_asked_again(visit, files):
    page = visit(**SIZES["phone"])
    page.route("**/*", lambda route: route.abort() if is_post(route) else route.continue_())
    send(page, files / "both.jpg")
    assert "cannot be reached" in page.get_by_role("alert").inner_text()
    again = page.get_by_role("button", name="Try again")
    assert in_view(again)
    is_accessible(page)
    page.unroute("**/*")
    again.click()
    shows_answer(page)


def test_on_a_narrow_screen(visit, files):
    page = visit(viewport={"width": 320, "height": 640})
    is_accessible(page)
    send(page, files / "both.jpg")
    shows_answer(page)
    page.get_by_text("Why this word?").first.click()
    is_accessible(page)


def test_with_text_of_twice_the_size(visit, files):
    page = visit(**SIZES["phone"])
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    is_accessible(page)
    send(page, files / "both.jpg")
    shows_answer(page)
    page.get_by_text("Why this word?").first.click()
    is_accessible(page)


def test_in_forced_colours(visit, files):
    page = visit(forced_colors="active", **SIZES["phone"])
    send(page, files / "both.jpg")
    shows_answer(page)
    # axe does not know which colours are shown.
    is_accessible(page, contrast=False)
    assert greenness(shown(page.locator("#outcome"))) == 0
    another = page.get_by_role("link", name="Another image")
    assert np.ptp(shown(another)[..., 1]) > 128, "neither text nor a border"


def test_in_the_language_of_the_browser(visit, files):
    page = visit(locale="de", **SIZES["phone"])
    assert in_view(page.get_by_text("Bild auswählen"))
    held = hold(page)
    send(page, files / "both.jpg")
    page.get_by_text("Dein Bild wird geschickt").wait_for()
    held[0].continue_()
    shows_answer(page)
    assert "2 Gesichter gefunden" in page.title()
    page.unroute("**/*")
    send(page, files / "text.jpg")
    assert "kein Bild im Format JPEG" in page.get_by_role("alert").inner_text()
    page.route("**/*", lambda route: route.abort() if is_post(route) else route.continue_())
    send(page, files / "both.jpg")
    page.get_by_text("Die Maschine ist gerade nicht erreichbar").wait_for()


@pytest.mark.parametrize("script", [True, False])
def test_another_language_can_be_chosen(visit, files, script):
    page = visit(java_script_enabled=script, **SIZES["phone"])
    page.locator("summary", has_text="English").click()
    choice = page.locator(".languages ul")
    assert in_view(choice)
    if script:
        is_accessible(page)
    choice.get_by_text("Français").click()
    page.get_by_text("Choisir une image").wait_for()
    page.set_input_files("#pick", files / "both.jpg")
    if not script:
        page.get_by_role("button", name="Envoyer").click()
    shows_answer(page)
    assert page.locator("#outcome").inner_text() == "2 visages trouvés"


@pytest.mark.parametrize("width", [320, 360, 1280])
def test_from_right_to_left(visit, files, width):
    page = visit(locale="ar", viewport={"width": width, "height": 740})

    def starts_right(locator):
        box = locator.bounding_box()
        return box["x"] + box["width"] > width - 80

    is_accessible(page)
    assert starts_right(page.locator(".choice:visible").first)
    page.locator(".languages summary").click()
    assert in_view(page.locator(".languages ul"))
    page.locator(".languages summary").click()
    held = hold(page)
    send(page, files / "both.jpg")
    until(page, "document.getElementById('progress').textContent")
    is_accessible(page)
    held[0].continue_()
    shows_answer(page)
    assert starts_right(page.locator(".save" if width < 1000 else ".picture"))
    page.locator(".words summary").first.click()
    path = page.locator(".path li")
    first, second = path.nth(0).bounding_box(), path.nth(1).bounding_box()
    assert first["x"] < second["x"] or first["y"] < second["y"], "English runs to the right"
    is_accessible(page)
    page.unroute("**/*")
    send(page, files / "text.jpg")
    page.get_by_role("alert").wait_for()
    is_accessible(page)


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
