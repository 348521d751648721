"""What an instance of the web extension measures, for Prometheus and systemd; nothing personal."""

from __future__ import annotations

from collections import Counter as Counts
from contextlib import AbstractContextManager

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from installation.web.upload.image_service import ImageService

# Seconds: from one face on an idle machine to the longest that queue and image may take.
_BUCKETS_S = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 40.0)


class WebMetrics:
    """Counts requests and their outcomes.

    Parameters
    ----------
    service
        Queried for its current state when the metrics are read.
    """

    def __init__(self, service: ImageService) -> None:
        # Without this every counter would get a second sample with its creation time.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def gauge(name: str, help_text: str) -> Gauge:
            return Gauge(f"installation_{name}", help_text, registry=registry)

        def counter(name: str, help_text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"installation_web_{name}", help_text, labels, registry=registry)

        self._requests = counter(
            "requests", "Number of responses, except to /healthz and /metrics.", ("status",)
        )
        self._images = counter("images_classified", "Number of images classified.")
        self._labels = counter("labels_given", "Number of labels given to faces.")
        self._duration = Histogram(
            "installation_web_request_duration_seconds",
            "Time from the receipt of an image until its response is ready.",
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self._receiving = gauge("web_receiving", "Number of images being received.")
        gauge("web_in_flight", "Number of images queued or being classified.").set_function(
            lambda: service.queue.in_flight
        )
        gauge("web_in_flight_limit", "Maximum number of images in flight.").set(
            service.queue.max_in_flight
        )
        gauge("web_healthy", "1 if images are accepted, as /healthz reports, else 0.").set_function(
            lambda: service.unavailable_reason is None
        )
        gauge(
            "inference_fallback",
            "1 if inference runs on the CPU because the inference server is unavailable, else 0.",
        ).set_function(lambda: service.fallback)

    def count_response(self, status: int) -> None:
        """Count a response by its HTTP status."""
        self._requests.labels(str(status)).inc()

    def receiving(self) -> AbstractContextManager[object]:
        """Count an image as being received, while the returned context lasts."""
        return self._receiving.track_inprogress()

    def count_image(self, faces: int, duration_s: float) -> None:
        """Count a classified image, its number of faces and how long it took, seconds."""
        self._images.inc()
        self._labels.inc(faces)
        self._duration.observe(duration_s)

    def as_text(self) -> str:
        """Return the status line for systemd."""
        statuses = self._statuses()
        busy = statuses[429] + statuses[503]
        rejected = sum(n for status, n in statuses.items() if 400 <= status < 500) - statuses[429]
        return (
            f"{self._value('web_images_classified_total')} images classified, "
            f"{self._value('web_in_flight')} in flight; "
            f"{busy} turned away as busy, {rejected} requests rejected, {statuses[500]} failed"
        )

    def expose(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return bytes(prometheus_client.generate_latest(self._registry))

    def _value(self, name: str) -> int:
        return int(self._registry.get_sample_value(f"installation_{name}") or 0)

    def _statuses(self) -> Counts[int]:
        (metric,) = self._requests.collect()
        return Counts({int(each.labels["status"]): int(each.value) for each in metric.samples})
