"""What rules and dashboard ask for exists: whoever renames a metric hears of it here."""

import cv2
from fleet.names import OWN, TRITON, asked_for, told, told_by_a_wall

from tests.web.upload.serving import Serving, encoded


def of_the_web(name):
    return name.startswith("installation_web_")


def test_walls_and_servers_tell_it():
    asked = {name for name in asked_for() if not of_the_web(name)}
    assert asked - told_by_a_wall() - TRITON - OWN == set()


def test_the_web_tells_it(built, tmp_path, hopper):
    with Serving(tmp_path, built, "rate: 0, seconds: 100") as site:
        assert site.send(encoded(cv2.resize(hopper, (256, 300)))).status == 200
        answer = site.ask(path="/metrics")
    assert answer.status == 200
    assert set(filter(of_the_web, asked_for())) - told(answer.text) == set()
    assert "installation_inference_fallback" in told(answer.text)
