"""The metrics of a web worker, and who may read them."""

import re
from types import SimpleNamespace

from installation.web.upload.metrics import WebMetrics
from tests.web.upload.serving import Serving

TOKEN = "0123456789abcdef"


def test_metrics_count_images_and_identify_nobody(built, tmp_path, small, faceless):
    with Serving(tmp_path, built, "max_per_minute: 0, timeout_s: 600, max_in_flight: 7") as site:
        for source in ("127.0.0.71", "127.0.0.72"):
            assert site.send(small, source=source).status == 200
        assert site.send(b"x", source="127.0.0.73").status == 400
        assert site.ask(path="/healthz").status == 200
        site.wait_for_in_flight(0)
        metrics = site.metrics
        assert metrics["installation_web_images_classified_total"] == 2
        assert metrics["installation_web_labels_given_total"] == 2
        assert metrics['installation_web_requests_total{status="200"}'] == 2
        assert metrics['installation_web_requests_total{status="400"}'] == 1
        assert metrics["installation_web_request_duration_seconds_count"] == 2
        assert metrics["installation_web_request_duration_seconds_sum"] > 0
        assert metrics['installation_web_request_duration_seconds_bucket{le="+Inf"}'] == 2
        assert (
            metrics["installation_web_in_flight_limit"],
            metrics["installation_web_in_flight"],
        ) == (7, 0)
        assert metrics["installation_web_healthy"] == 1
        assert metrics["installation_inference_fallback"] == 0
        assert metrics["process_resident_memory_bytes"] > 0
        labels = {name for each in metrics for name in re.findall(r'(\w+)="', each)}
        assert labels <= {"status", "le"}
        assert "127.0.0.7" not in site.ask(path="/metrics").text


def test_the_status_line_counts_each_response_once():
    queue = SimpleNamespace(in_flight=3, max_in_flight=7)
    metrics = WebMetrics(SimpleNamespace(queue=queue, refusal=None, fallback=False))
    for status, times in ((200, 1), (404, 2), (415, 4), (429, 8), (500, 16), (503, 32)):
        for _ in range(times):
            metrics.count_response(status)
    line = "3 in flight; 40 turned away as busy, 6 requests rejected, 16 failed"
    assert metrics.as_text() == f"0 images classified, {line}"


def test_metrics_are_served_to_this_machine_only(built, tmp_path):
    with Serving(tmp_path, built, "proxies: [127.0.0.0/8]") as site:
        response = site.ask(path="/metrics")
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
            assert site.ask(path="/metrics", headers={header: "127.0.0.1"}).status == 404
        bearer = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "192.0.2.1"}
        assert site.ask(path="/metrics", headers=bearer).status == 404


def test_metrics_are_served_to_whoever_has_the_token(built, tmp_path):
    more = f'record: {{file: null}}\nstatus: {{token: "{TOKEN}"}}'
    with Serving(tmp_path, built, more=more) as site:
        far = {"X-Forwarded-For": "192.0.2.1"}
        assert site.ask(path="/metrics", headers=far).status == 404
        for token, status in ((TOKEN, 200), (f"{TOKEN}x", 404), ("", 404)):
            headers = {**far, "Authorization": f"Bearer {token}"}
            assert site.ask(path="/metrics", headers=headers).status == status
