"""The pages and the API as their users see them."""

import base64
import io
import json
import re
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from installation.labels.synsets import load_synsets
from installation.vision.boxes import iou
from installation.web.upload.schemas import ClassifyResponse
from tests import odd_pictures
from tests.portraits import COLLINS_FACE, HOPPER_FACE
from tests.web.upload.serving import Serving, encoded, form

SAFE = {synset.wnid for synset in load_synsets() if synset.safety == "safe"}
GREEN = (0x39, 0xFF, 0x14)


def picture_in(uri):
    kind, _, data = uri.partition(";base64,")
    assert kind == "data:image/jpeg"
    return base64.b64decode(data)


def pixels(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), np.int16)


def greenness(picture):
    """Return the share of pixels in the colour of boxes and words."""
    return (np.abs(picture - GREEN).max(2) < 60).mean()


class TestApi:
    def test_faces_are_boxed_and_named_from_left_to_right(self, site, both):
        response = site.send(encoded(both))
        assert response.status == 200
        answer = ClassifyResponse.model_validate(response.json)
        assert (answer.width, answer.height, answer.policy) == (1024, 512, "safe")
        boxes = np.float32([face.box for face in answer.faces])
        x0, y0, x1, y1 = HOPPER_FACE
        truth = np.float32([COLLINS_FACE, (x0 + 512, y0, x1 + 512, y1)])
        assert (iou(boxes, truth).diagonal() > 0.5).all()
        for face in answer.faces:
            assert {word.wnid for word in face.words} <= SAFE
            assert all(word.gloss and word.paths for word in face.words)
            assert face.words[0].paths[0][-1].words.startswith("person")
        assert answer.scene == [] and answer.picture is None

    def test_the_image_has_boxes_and_words_and_no_metadata(self, site, hopper):
        exif = Image.Exif()
        exif[0x010E], exif[0x0110] = "a secret", "a telephone"
        file = io.BytesIO()
        Image.fromarray(hopper[..., ::-1]).save(file, "JPEG", exif=exif, comment=b"a secret")
        answer = site.send(file.getvalue(), path="/api/classify?picture=true").json
        drawn = picture_in(answer["picture"])
        assert b"secret" not in drawn and b"Exif" not in drawn
        assert Image.open(io.BytesIO(drawn)).size == (512, 600)
        assert greenness(pixels(drawn)) > 0.005 > greenness(pixels(encoded(hopper)))

    def test_without_a_face_the_whole_image_gets_words(self, site, faceless):
        answer = site.send(encoded(faceless["coffee"])).json
        assert answer["faces"] == []
        assert answer["scene"][0]["wnid"] in SAFE

    @pytest.mark.parametrize(
        ("suffix", "kind"),
        [(".jpg", "image/jpeg"), (".png", "image/png"), (".webp", "image/webp")],
    )
    def test_file_formats(self, site, hopper, suffix, kind):
        response = site.send(encoded(hopper, suffix), kind)
        assert len(response.json["faces"]) == 1
        assert len(site.submit(encoded(hopper, suffix), path="/api/classify").json["faces"]) == 1

    def test_exif_orientation_is_applied(self, site, hopper):
        exif = Image.Exif()
        exif[0x0112] = 6
        file = io.BytesIO()
        Image.fromarray(np.rot90(hopper)[..., ::-1]).save(file, "JPEG", exif=exif)
        answer = site.send(file.getvalue()).json
        assert (answer["width"], answer["height"], len(answer["faces"])) == (512, 600, 1)

    def test_large_images_are_shrunk(self, site, hopper):
        answer = site.send(encoded(cv2.resize(hopper, (2048, 2400)))).json
        assert (answer["height"], len(answer["faces"])) == (1600, 1)

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
    @pytest.mark.parametrize("size", [(64, 64), (3000, 300)])
    def test_pixel_formats(self, site, mode, size):
        grey = Image.linear_gradient("L").resize(size)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(grey, np.uint16) * 257)
        else:
            image = grey.convert("RGB").convert(mode)
        file = io.BytesIO()
        image.save(file, "JPEG" if mode == "CMYK" else "PNG")
        assert site.send(file.getvalue(), "application/octet-stream").status == 200

    @pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (17, 5)])
    def test_unusual_sizes(self, site, size):
        response = site.send(encoded(np.full((*size[::-1], 3), 90, np.uint8), ".png"))
        assert response.status == 200, response.text

    def test_openapi_describes_the_responses(self, site, portrait):
        document = site.ask(path="/openapi.json").json
        assert document["openapi"].startswith("3.1")
        post = document["paths"]["/api/classify"]["post"]
        assert "12 megabytes" in post["responses"]["413"]["description"]
        schemas = document["components"]["schemas"]

        def check(value, schema):
            if "$ref" in schema:
                schema = schemas[schema["$ref"].removeprefix("#/components/schemas/")]
            if schema.get("type") == "object":
                assert set(schema.get("required", ())) <= set(value) <= set(schema["properties"])
                for key, each in value.items():
                    check(each, schema["properties"][key])
            elif schema.get("type") == "array":
                for each in value:
                    check(each, schema.get("items", {}))
            elif "type" in schema:
                types = {"string": str, "integer": int, "number": (int, float)}
                assert isinstance(value, types[schema["type"]])

        check(site.send(portrait).json, {"$ref": "#/components/schemas/ClassifyResponse"})
        check(site.send(b"x").json, {"$ref": "#/components/schemas/ErrorResponse"})
        page = site.ask(path="/api").text
        assert all(name in page for name in schemas)


class TestPage:
    def test_the_result_page_shows_words_and_boxes(self, site, both):
        page = site.submit(encoded(both)).text
        named = re.findall(r'<h2 lang="en" dir="ltr">(.+)</h2>', page)
        assert len(named) == 2
        alt = re.search(r'alt="(Your image[^"]+)"', page)[1]
        assert "2 faces" in alt and all(words in alt for words in named)
        source = re.search(r'<figure class="picture">\s*<img src="([^"]+)"', page)[1]
        assert greenness(pixels(picture_in(source))) > 0.003

    def test_without_a_face_the_page_says_so(self, site, faceless):
        page = site.submit(encoded(faceless["coffee"])).text
        assert "No face found" in page and '<h2 lang="en"' in page

    def test_of_two_fields_the_filled_one_counts(self, site, portrait):
        mark = "x" * 20
        part = f'--{mark}\r\nContent-Disposition: form-data; name="picture"; filename='
        body = f'{part}""\r\n\r\n\r\n{part}"b.jpg"\r\n\r\n'.encode() + portrait
        body += f"\r\n--{mark}--\r\n".encode()
        kind = f"multipart/form-data; boundary={mark}"
        response = site.ask("POST", "/", body, {"Content-Type": kind})
        assert "One face found" in response.text

    def test_a_link_to_the_page_has_a_preview_and_an_icon(self, site):
        page = site.ask(headers={"Host": "evil.example"}).text
        assert '<meta property="og:title" content="What does the machine call you?">' in page
        assert "evil" not in page
        name = re.search('rel="apple-touch-icon" href="(.+)"', page)[1]
        response = site.ask(path=name)
        assert response.headers["Content-Type"] == "image/png"
        icon = pixels(response.body)
        assert icon.shape == (192, 192, 3) and greenness(icon) > 0.2

    def test_many_faces_are_not_all_read_aloud(self, site, both):
        crowd = np.vstack([np.hstack([both] * 3)] * 2)
        alt = re.search(r'alt="(Your image[^"]+)"', site.submit(encoded(crowd)).text)[1]
        assert "around 12 faces" in alt
        words = re.search("“(.+)”", alt)[1].split("; ")
        assert len(words) == 9 and words[-1] == "…"

    def test_equal_words_share_a_heading(self, site, both):
        page = site.submit(encoded(np.vstack([both, both]))).text
        words = re.findall(r'<h2 lang="en" dir="ltr">(.+)</h2>', page)
        assert len(words) == len(set(words)) < 4
        assert page.count('<li id="face-') == page.count("<circle") == 4

    def test_nothing_is_loaded_from_elsewhere_or_inline(self, site, portrait):
        pages = [site.ask(path=path).text for path in ("/", "/api")]
        for page in [*pages, site.submit(portrait).text]:
            assert "http" not in re.sub(r'"data:[^"]+"|http-equiv|https://…', "", page)
            assert " style=" not in page and not re.search(r" on\w+=", page)
            assert all("src=" in script for script in re.findall(r"<script[^>]*>", page))

    def test_a_hostile_file_name_is_not_repeated(self, site):
        page = site.submit(b"nothing", name="<script>stolen()</script>").text
        assert "stolen" not in page

    def test_pages_and_assets_are_served(self, site):
        for path in ("/", "/api", "/style.css", "/script.js", "/icon.svg", "/healthz"):
            response = site.ask(path=path)
            assert response.status == 200 and response.body
            head = site.ask("HEAD", path)
            assert head.status == 200 and head.body == b""


class TestEveryResponse:
    @pytest.fixture(params=["page", "answer", "data", "asset", "error", "unknown", "method"])
    def response(self, request, site, small):
        return {
            "page": lambda: site.ask(),
            "answer": lambda: site.submit(small),
            "data": lambda: site.send(small),
            "asset": lambda: site.ask(path="/script.js"),
            "error": lambda: site.send(b"no picture"),
            "unknown": lambda: site.ask(path="/etc/passwd"),
            "method": lambda: site.ask("DELETE"),
        }[request.param]()

    def test_has_the_privacy_and_security_headers(self, response):
        headers = response.headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "microphone=()" in headers["Permissions-Policy"]
        assert headers["Set-Cookie"] is None
        assert headers["Server"] is None
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy and "*" not in policy and "http" not in policy


def png_header(width, height):
    """Return a PNG whose header claims a size that its data does not have."""

    def chunk(kind, data):
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size + b"\x08\x02\x00\x00\x00")
        + chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
        + chunk(b"IEND", b"")
    )


class TestErrors:
    @pytest.mark.parametrize(
        ("data", "status", "message"),
        [
            (b"", 400, "No image"),
            (b"hello", 400, "not a JPEG, PNG, WebP or HEIC image"),
            (b"%PDF-1.7", 400, "not a JPEG"),
            (b"GIF89a" + bytes(100), 415, "image format is not supported"),
            (b"\0\0\0\x18ftypheic" + bytes(100), 400, "not a JPEG"),
            (b"\0\0\0\x18ftypavif" + bytes(100), 415, "image format is not supported"),
            (b"II*\0" + bytes(100), 415, "image format is not supported"),
            (png_header(60_000, 60_000), 413, "40 megapixels"),
            (png_header(100, 100)[:60], 422, "damaged"),
        ],
    )
    def test_unusable_data_gets_a_plain_message(self, site, data, status, message):
        response = site.send(data)
        assert response.status == status
        assert message in response.json["error"] and response.json["error"].endswith(".")
        page = site.submit(data)
        assert page.status == status
        assert message in re.search(r'role="alert">([^<]+)<', page.text)[1]

    def test_a_truncated_image_is_rejected(self, site, portrait):
        assert site.send(portrait[: len(portrait) // 2]).status == 422

    def test_no_image_causes_an_internal_error(self, site, tmp_path):
        found = set()
        for path in odd_pictures.make(tmp_path):
            response = site.send(path.read_bytes())
            found.add(response.status)
            assert response.status in (200, 400, 413, 415, 422), (path, response.text)
        assert {200, 400, 415, 422} <= found

    def test_too_many_bytes(self, site):
        assert site.send(bytes(13_000_000)).status == 413
        response = site.submit(bytes(12_000_001))
        assert response.status == 413 and "12 megabytes" in response.text
        assert site.submit(bytes(11_999_999)).status == 400

    def test_too_many_bytes_without_a_content_length(self, site):
        def endless():
            for _ in range(300):
                yield bytes(65536)

        response = site.ask("POST", "/api/classify", endless(), {"Content-Type": "image/jpeg"})
        assert response.status == 413

    @pytest.mark.parametrize(
        "kind", ["image/jpg", "image/pjpeg", "image/*", "image/heic", "text/plain", "", "\u00fc"]
    )
    def test_an_image_is_judged_by_its_content(self, site, portrait, kind):
        response = site.send(portrait, kind)
        assert response.status == 200 and len(response.json["faces"]) == 1

    @pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=y"])
    def test_a_form_that_is_none_is_rejected(self, site, portrait, kind):
        response = site.send(portrait, kind)
        assert response.status == 400 and response.json["error"]

    def test_the_page_accepts_only_forms(self, site, portrait):
        assert site.send(portrait, path="/").status == 415

    def test_a_form_with_too_many_parts_is_rejected(self, site):
        body, kind = form({f"picture{index}": ("", b"") for index in range(2000)})
        assert site.ask("POST", "/", body, {"Content-Type": kind}).status == 400

    def test_unknown_paths_and_methods_are_rejected(self, site):
        assert site.ask(path="/wp-login.php").status == 404
        assert site.ask("GET", "/api/classify").status == 405
        assert site.ask("PUT").status == 405
        assert "error" in json.loads(site.ask(path="/api/nothing").body)


def test_the_curators_colour_and_words_apply(built, tmp_path, hopper, small):
    more = 'theme: {colour: "#ff0066"}\nlabels: {policy: full}\nrecord: {file: null}'
    with Serving(tmp_path, built, more=more) as site:
        assert "#ff0066" in site.ask(path="/style.css").text
        assert "slurs and insults" in site.ask().text
        answer = site.send(encoded(hopper), path="/api/classify?picture=true").json
        assert answer["policy"] == "full"
        red = np.abs(pixels(picture_in(answer["picture"])) - (0xFF, 0x00, 0x66)).max(2) < 60
        assert red.mean() > 0.005
        # A valid change takes effect at once; an invalid one is reported and changes nothing.
        site.write('theme: {colour: "#00aaff"}\nrecord: {file: null}')
        site.process.send_signal(1)
        site.wait_to_log("configuration reloaded: ")
        assert "#00aaff" in site.ask(path="/style.css").text
        assert site.send(small).json["policy"] == "safe"
        site.write("labels: {policy: everything}")
        site.process.send_signal(1)
        assert "config.yaml:3: labels.policy" in site.wait_to_log(
            "keeping the previous configuration"
        )
        assert site.send(small).status == 200
        assert site.end() == 0
