"""Images made to take the server's time or memory, sent to a real one."""

import io
import itertools
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from tests import hostile_images
from tests.odd_pictures import encoded
from tests.web.upload.serving import LONG, Serving, form


@pytest.fixture(scope="module")
def portrait(hopper):
    return Image.fromarray(hopper[..., ::-1])


@pytest.fixture(scope="module")
def server(built, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with Serving(folder, built, "max_per_minute: 0, timeout_s: 600") as site:
        yield site


def state(pid):
    """Return the state of a process: Z for one that nobody has waited for, X for none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def test_what_would_take_too_much_is_refused_before_it_is_decoded(server):
    before = server.decoders
    for name, data in hostile_images.refused():
        response = server.send(data)
        assert response.status in (413, 422), name
        assert response.json["error"].startswith("This image "), name
        assert server.decoders == before, name


@pytest.mark.endurance
def test_the_largest_images_stay_within_the_documented_memory(server):
    for name, data in hostile_images.heavy():
        assert server.send(data).status == 200, name
    # Without images in flight: 20 bytes per pixel for each decoder, half a gigabyte (docs/web.md).
    assert server.memory_at_most < 2 * 20 * 40 + 500


def test_sound_images_are_answered(server, portrait):
    for name, data in hostile_images.sound(portrait):
        response = server.send(data)
        assert response.status == 200 and len(response.json["faces"]) == 1, name


def test_colours_are_converted_to_srgb(server, portrait):
    plain = server.send(encoded(portrait, "PNG")).json
    assert server.send(hostile_images.swapped_profile(portrait)).json == plain
    colours = portrait.quantize(256)
    plain = server.send(encoded(colours, "PNG")).json
    assert server.send(hostile_images.swapped_profile(colours)).json["faces"] == plain["faces"]


def test_a_profile_that_may_take_minutes_is_ignored(server, portrait):
    red, green, blue = portrait.split()
    swapped = server.send(encoded(Image.merge("RGB", (blue, green, red)), "PNG")).json
    assert server.send(hostile_images.swapped_profile(portrait, costly=True)).json == swapped


def test_the_charset_of_a_form_is_not_looked_up(server, small):
    body, kind = form({"picture": ("x", small)})
    for charset in ("undefined", "punycode", "x" * 9000):
        headers = {"Content-Type": f"{kind}; charset={charset}"}
        assert server.ask("POST", "/api/classify", body, headers).status == 200


def test_who_costs_a_decoder_waits_for_a_minute(built, tmp_path, small):
    with Serving(tmp_path, built, "workers: 1, timeout_s: 5") as site:
        os.kill(*site.decoders, signal.SIGSTOP)
        assert site.send(small, source="127.0.0.2").status == 422
        response = site.send(small, source="127.0.0.2")
        assert response.status == 429 and int(response.headers["Retry-After"]) > 5


def test_more_workers_than_decoders_wait_their_turn_and_no_longer(built, tmp_path, small):
    with Serving(tmp_path, built, "workers: 16, timeout_s: 5, max_per_minute: 0") as site:
        for pid in site.decoders:
            os.kill(pid, signal.SIGSTOP)
        with ThreadPoolExecutor(16) as crowd:
            statuses = set(
                crowd.map(lambda n: site.send(small, source=f"127.0.1.{n}").status, range(16))
            )
        assert statuses <= {200, 422, 503} and 422 in statuses
        assert site.process.poll() is None


def test_heic_is_answered(server, portrait):
    file = io.BytesIO()
    pillow_heif.from_pillow(portrait).save(file, quality=80)
    response = server.send(file.getvalue(), "application/octet-stream")
    assert response.status == 200 and len(response.json["faces"]) == 1


def test_a_decoder_that_hangs_is_replaced(built, tmp_path, small):
    with Serving(tmp_path, built, "workers: 1, timeout_s: 5") as site:
        assert site.send(small).status == 200
        (hung,) = site.decoders
        os.kill(hung, signal.SIGSTOP)
        response = site.send(small)
        assert response.status == 422 and "too long" in response.json["error"]
        assert hung not in site.decoders
        deadline = time.monotonic() + LONG
        while site.send(small, source="127.0.0.2").status != 200:
            assert time.monotonic() < deadline
        assert "replacing a process that decodes images: it took too long" in "".join(site.lines)
        assert site.end() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_decoder_that_has_ended_is_replaced_unnoticed(built, tmp_path, small, number):
    with Serving(tmp_path, built, "workers: 1, timeout_s: 600") as site:
        (ended,) = site.decoders
        os.kill(ended, number)
        # The server has yet to notice it.
        deadline = time.monotonic() + LONG
        while state(ended) != "Z":
            assert time.monotonic() < deadline
        assert site.send(small).status == 200
        assert ended not in site.decoders


def test_decoders_can_open_nothing_and_end_with_the_server(server, small):
    assert server.send(small).status == 200
    for pid in server.decoders:
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        values = {line[:26].strip(): line[26:].split()[0] for line in limits}
        assert values["Max open files"] == values["Max file size"] == "0"
        assert values["Max core file size"] == "0"
        assert int(values["Max address space"]) < 2_000_000_000
        # Standard streams to nowhere, and the connection to the server.
        opened = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]  # noqa: PTH115
        assert sorted(each.partition(":")[0] for each in opened) == ["/dev/null"] * 3 + ["socket"]
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert {each.partition(b"=")[0] for each in environment} <= {
            *(b"", b"PYTHONPATH", b"OPENBLAS_NUM_THREADS", b"LC_CTYPE")
        }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_decoders_end_with_the_server(built, tmp_path, number):
    with Serving(tmp_path, built) as site:
        before = site.decoders
        assert before
        site.end(number)
        deadline = time.monotonic() + LONG
        while any(state(pid) not in "ZX" for pid in before):
            assert time.monotonic() < deadline


@pytest.mark.endurance
def test_a_visitor_is_answered_while_hostile_images_keep_all_decoders_busy(built, tmp_path, small):
    heavy = [data for _, data in hostile_images.heavy()]
    with Serving(tmp_path, built, "workers: 2, max_per_minute: 0") as site:
        over = time.monotonic() + 30

        def attack(number):
            images = itertools.cycle(heavy[number:] + heavy[:number])
            statuses = set()
            while time.monotonic() < over:
                statuses.add(site.send(next(images), source=f"127.0.1.{number + 1}").status)
            return statuses

        with ThreadPoolExecutor(2) as attackers:
            attacks = [attackers.submit(attack, number) for number in range(2)]
            answered = []
            while time.monotonic() < over:
                answered.append(site.send(small, source="127.0.2.1").status)
            assert answered and set(answered) == {200}
            for each in attacks:
                assert each.result() <= {200, 422, 503}
        assert site.ask(path="/healthz").status == 200
