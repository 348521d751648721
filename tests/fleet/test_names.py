"""Every metric that rules and dashboard use exists; renaming one fails here."""

from urllib.request import urlopen

import cv2

from engines.triton_export import export
from tests.fleet.names import OWN, exposed_names, names_of_a_wall, used_names
from tests.triton_server import Triton, needs_triton
from tests.web.upload.serving import Serving, encoded

WEB, TRITON = "installation_web_", "nv_"


def used_with(prefix):
    return {name for name in used_names() if name.startswith(prefix)}


def test_walls_expose_them():
    used = used_names() - used_with(WEB) - used_with(TRITON)
    assert used - names_of_a_wall() - OWN == set()


@needs_triton
def test_inference_servers_expose_them(built, tmp_path):
    export(built, ["person-semantic"], tmp_path / "models", "python")
    server = Triton(tmp_path / "models", tmp_path)
    try:
        address = f"http://127.0.0.1:{server.metrics_port}/metrics"
        with urlopen(address, timeout=600) as answer:
            text = answer.read().decode()
    finally:
        server.close()
    assert used_with(TRITON) - exposed_names(text) == set()


def test_web_workers_expose_them(built, tmp_path, hopper):
    with Serving(tmp_path, built, "max_per_minute: 0, timeout_s: 600") as site:
        assert site.send(encoded(cv2.resize(hopper, (256, 300)))).status == 200
        answer = site.ask(path="/metrics")
    assert answer.status == 200
    assert used_with(WEB) - exposed_names(answer.text) == set()
    assert "installation_inference_fallback" in exposed_names(answer.text)
