"""What a worker counts, for Prometheus and for its line in systemd; nothing about anybody."""

from __future__ import annotations

from collections import Counter as Counts

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from installation.web.upload.image_service import ImageService

# Seconds: from a face on an idle machine to the most that a queue and a picture may take.
_EDGES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 40.0)


class WebMetrics:
    """Counts what becomes of requests.

    Parameters
    ----------
    studio
        Asked for how things are at the time of each look.
    """

    def __init__(self, studio: ImageService) -> None:
        # The time each began would be told beside it.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def gauge(name: str, about: str) -> Gauge:
            return Gauge(f"installation_{name}", about, registry=registry)

        def counter(name: str, about: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"installation_web_{name}", about, labels, registry=registry)

        self._requests = counter("requests", "Responses but those about health.", ("status",))
        self._answered = counter("pictures_answered", "Pictures that got their answer.")
        self._labels = counter("labels_given", "Words given to faces.")
        self._seconds = Histogram(
            "installation_web_answer_seconds",
            "From when a picture is here until its answer is.",
            buckets=_EDGES,
            registry=registry,
        )
        about = "Pictures that are being sent, wait or are in work."
        gauge("web_places_held", about).set_function(lambda: studio.queue.held)
        gauge("web_places", "How many may be.").set(studio.queue.places)
        about = "Whether pictures are taken, as /healthz says."
        gauge("web_healthy", about).set_function(lambda: studio.refusal is None)
        about = "Whether this machine stands in for an inference server that is gone."
        gauge("inference_fallback", about).set_function(lambda: studio.fallback)

    def responded(self, status: int) -> None:
        """Note a response."""
        self._requests.labels(str(status)).inc()

    def answered(self, faces: int, seconds: float) -> None:
        """Note that a picture got its answer: how many words, and after how long."""
        self._answered.inc()
        self._labels.inc(faces)
        self._seconds.observe(seconds)

    def as_text(self) -> str:
        """Say it in a line."""
        statuses = self._statuses()
        busy = statuses[429] + statuses[503]
        refused = sum(n for status, n in statuses.items() if 400 <= status < 500) - statuses[429]
        return (
            f"{self._value('web_pictures_answered_total')} pictures answered, "
            f"{self._value('web_places_held')} here now; "
            f"{busy} sent away as busy, {refused} requests refused, {statuses[500]} failed"
        )

    def expose(self) -> bytes:
        """Return all of it, in Prometheus' text format."""
        return bytes(prometheus_client.generate_latest(self._registry))

    def _value(self, name: str) -> int:
        return int(self._registry.get_sample_value(f"installation_{name}") or 0)

    def _statuses(self) -> Counts[int]:
        (metric,) = self._requests.collect()
        return Counts({int(each.labels["status"]): int(each.value) for each in metric.samples})
