"""What rules and dashboard ask for exists: whoever renames a metric hears of it here."""

from urllib.request import urlopen

import cv2

from engines.triton_export import export
from tests.fleet.names import OWN, asked_for, told, told_by_a_wall
from tests.triton_server import Triton, needs_triton
from tests.web.upload.serving import Serving, encoded

WEB, TRITON = "installation_web_", "nv_"


def asked_of(prefix):
    return {name for name in asked_for() if name.startswith(prefix)}


def test_walls_tell_it():
    asked = asked_for() - asked_of(WEB) - asked_of(TRITON)
    assert asked - told_by_a_wall() - OWN == set()


@needs_triton
def test_inference_servers_tell_it(built, tmp_path):
    export(built, ["person-semantic"], tmp_path / "models", "python")
    server = Triton(tmp_path / "models", tmp_path)
    try:
        address = f"http://127.0.0.1:{server.metrics_port}/metrics"
        with urlopen(address, timeout=600) as answer:
            text = answer.read().decode()
    finally:
        server.close()
    assert asked_of(TRITON) - told(text) == set()


def test_the_web_tells_it(built, tmp_path, hopper):
    with Serving(tmp_path, built, "rate: 0, seconds: 600") as site:
        assert site.send(encoded(cv2.resize(hopper, (256, 300)))).status == 200
        answer = site.ask(path="/metrics")
    assert answer.status == 200
    assert asked_of(WEB) - told(answer.text) == set()
    assert "installation_inference_fallback" in told(answer.text)
