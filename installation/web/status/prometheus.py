"""A snapshot in Prometheus' text format; docs/status.md lists the metrics."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from installation.display.metrics import EDGES, Histogram
from installation.web.status.health import Health
from installation.web.status.snapshot import StatusSnapshot


def expose(
    snapshot: StatusSnapshot | None,
    health: Health,
    temperature: float | None,
    restarts: int | None,
    free_bytes: int | None,
) -> bytes:
    """Return all metrics in Prometheus' text format.

    Parameters
    ----------
    snapshot
        The latest; None if there is none yet.
    health
        Its evaluation.
    temperature
        Of the machine, degrees Celsius; None if unknown.
    restarts
        By the service manager; None without one.
    free_bytes
        On the record's file system; None without a record.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Collector(_metrics(snapshot, health, temperature, restarts, free_bytes)))
    return bytes(generate_latest(registry))


class _Collector:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"installation_{name}", help_text, value=value)


def _counter(name: str, help_text: str, value: float) -> Metric:
    return CounterMetricFamily(f"installation_{name}", help_text, value=value)


def _histogram(name: str, help_text: str, histogram: Histogram) -> Metric:
    cumulative, buckets = 0, []
    for edge, count in zip((*EDGES, "+Inf"), histogram.counts, strict=True):
        cumulative += count
        buckets.append((str(edge), cumulative))
    return HistogramMetricFamily(f"installation_{name}", help_text, buckets, histogram.total)


def _metrics(
    snapshot: StatusSnapshot | None,
    health: Health,
    temperature: float | None,
    restarts: int | None,
    free_bytes: int | None,
) -> Iterator[Metric]:
    yield _gauge("healthy", "1 if /healthz reports no fault, else 0.", not health.faults)
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    yield _gauge("process_threads", "Number of threads of the process.", threads)
    if temperature is not None:
        yield _gauge("temperature_celsius", "Temperature of the hottest thermal zone.", temperature)
    if restarts is not None:
        yield _counter(
            "restarts_total",
            "Number of times the service manager restarted the process after it had exited.",
            restarts,
        )
    if free_bytes is not None:
        yield _gauge(
            "record_free_bytes", "Free space on the file system of the record.", free_bytes
        )
    if snapshot is None:
        return
    yield from _display_metrics(snapshot)
    yield from _input_metrics(snapshot)


def _display_metrics(snapshot: StatusSnapshot) -> Iterator[Metric]:
    metrics = snapshot.metrics
    yield _histogram(
        "frame_age_seconds",
        "Time from the capture of a frame until it is on the screen.",
        metrics.frame_age,
    )
    yield _histogram(
        "overlay_age_seconds",
        "Time from the capture of the frame in which the boxes were found until the boxes are on "
        "the screen.",
        metrics.overlay_age,
    )
    yield _histogram(
        "draw_duration_seconds", "Time to draw a frame on the screen.", metrics.draw_duration
    )
    yield _counter("frames_presented_total", "Number of frames shown.", metrics.presented)
    yield _counter(
        "frames_dropped_total", "Number of frames captured but not shown.", metrics.dropped
    )
    yield _counter(
        "labels_given_total", "Number of labels that settled on a face.", metrics.labels_given
    )
    yield _gauge("faces", "Number of faces in the latest frame.", snapshot.faces)
    yield _gauge(
        "picture_visible",
        "1 if the screen shows a camera frame, else 0.",
        snapshot.picture_visible,
    )
    yield _gauge(
        "screen_stuck",
        "1 if the screen does not change although the camera's frames do, else 0.",
        snapshot.screen_stuck,
    )
    yield _gauge("open", "1 if the wall is open by its opening hours, else 0.", snapshot.open)
    yield _gauge(
        "opens_timestamp_seconds",
        "Unix time at which the wall opens: 0 while it is open, infinite if it never opens.",
        snapshot.opens_at,
    )
    yield _counter(
        "open_seconds_total",
        "Time the wall has been open since the process started.",
        snapshot.open_seconds,
    )


def _input_metrics(snapshot: StatusSnapshot) -> Iterator[Metric]:
    heartbeat_age = GaugeMetricFamily(
        "installation_worker_heartbeat_age_seconds",
        "Time since the last heartbeat of a worker thread.",
        labels=["worker"],
    )
    for worker in snapshot.workers:
        heartbeat_age.add_metric([worker.name], worker.heartbeat_age_s)
    yield heartbeat_age
    yield _gauge("ready", "1 if the engines are open, else 0.", snapshot.preparing is None)
    yield _gauge(
        "camera_up", "1 if the camera delivers frames, else 0.", snapshot.camera_error is None
    )
    yield _counter(
        "camera_disconnects_total",
        "Number of times the camera stopped delivering frames.",
        snapshot.camera_disconnects,
    )
    yield _gauge(
        "inference_fallback",
        "1 if inference runs on the CPU because the configured device or server is unavailable, "
        "else 0.",
        snapshot.fallback,
    )
    if snapshot.record is not None:
        yield _gauge(
            "recording_paused",
            "1 if nothing is being recorded because of an error, else 0.",
            snapshot.recording_error is not None,
        )
    info = GaugeMetricFamily(
        "installation_info",
        "Version and configuration, as labels; the value is always 1.",
        labels=["version", "device", "classifier", "policy"],
    )
    info.add_metric(
        [version("installation"), snapshot.device, snapshot.classifier, snapshot.policy], 1
    )
    yield info
