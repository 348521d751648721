"""A report as Prometheus reads it; docs/status.md lists all of it."""

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

from installation.display.metrics import BUCKET_EDGES_S, Histogram
from installation.web.status.health import Health
from installation.web.status.snapshot import StatusSnapshot


def expose(
    report: StatusSnapshot | None,
    health: Health,
    temperature: float | None,
    restarts: int | None,
    free: int | None,
) -> bytes:
    """Return all there is to say, in Prometheus' text format.

    Parameters
    ----------
    report
        The newest; None where there is none yet.
    health
        What was made of it.
    temperature
        Of the machine, degrees Celsius; None where it does not tell.
    restarts
        By the service manager; None where there is none.
    free
        Bytes on the record's file system; None where there is no record.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Collector(_metrics(report, health, temperature, restarts, free)))
    return bytes(generate_latest(registry))


class _Collector:
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"installation_{name}", about, value=value)


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"installation_{name}", about, value=value)


def _histogram(name: str, about: str, histogram: Histogram) -> Metric:
    below, buckets = 0, []
    for edge, count in zip((*BUCKET_EDGES_S, "+Inf"), histogram.counts, strict=True):
        below += count
        buckets.append((str(edge), below))
    return HistogramMetricFamily(f"installation_{name}", about, buckets, histogram.total)


def _metrics(
    report: StatusSnapshot | None,
    health: Health,
    temperature: float | None,
    restarts: int | None,
    free: int | None,
) -> Iterator[Metric]:
    yield _gauge("healthy", "Whether the wall works, as /healthz says.", not health.faults)
    yield _gauge("process_threads", "Threads.", len(os.listdir("/proc/self/task")))  # noqa: PTH208
    if temperature is not None:
        about = "The hottest of the machine's thermal zones."
        yield _gauge("temperature_celsius", about, temperature)
    if restarts is not None:
        about = "Starts by the service manager after the process had ended by itself."
        yield _counter("restarts_total", about, restarts)
    if free is not None:
        about = "Bytes that may still be written where the record is."
        yield _gauge("record_free_bytes", about, free)
    if report is None:
        return
    yield from _of_the_wall(report)
    yield from _of_the_stages(report)


def _of_the_wall(report: StatusSnapshot) -> Iterator[Metric]:
    metrics = report.metrics
    about = "From the capture of a frame until it is on the screen."
    yield _histogram("frame_age_seconds", about, metrics.frame_age)
    about = "From the capture of the frame that boxes were found in until they are on the screen."
    yield _histogram("overlay_age_seconds", about, metrics.overlay_age)
    yield _histogram("draw_seconds", "Drawing, until the screen has it.", metrics.draw)
    yield _counter("frames_presented_total", "Frames shown.", metrics.presented)
    yield _counter("frames_dropped_total", "Frames captured, but not shown.", metrics.dropped)
    yield _counter("labels_given_total", "Words that settled on a face.", metrics.labels_given)
    yield _gauge("faces", "Faces in the last frame.", report.faces)
    yield _gauge("picture", "Whether there is a picture on the wall.", not report.waiting)
    yield _gauge("screen_stuck", "Whether it stays while the camera's changes.", report.stuck)
    yield _gauge("open", "Whether it is open by its hours.", report.open)
    about = "When it opens, seconds since 1970: 0 while it is open, infinite if never."
    yield _gauge("opens_timestamp_seconds", about, report.opens_at)
    yield _counter("open_seconds_total", "For how long it has been open.", report.open_seconds)


def _of_the_stages(report: StatusSnapshot) -> Iterator[Metric]:
    silent = GaugeMetricFamily(
        "installation_stage_silent_seconds",
        "Since a stage last showed that it lives.",
        labels=["stage"],
    )
    for pulse in report.pulses:
        silent.add_metric([pulse.name], pulse.silent)
    yield silent
    yield _gauge("ready", "Whether the engines are open.", report.preparing is None)
    yield _gauge(
        "camera_lost", "Whether there are no frames to rely on.", report.trouble is not None
    )
    yield _counter("camera_losses_total", "How often that began.", report.losses)
    about = "Whether the CPU is used only because what was asked for cannot be had for now."
    yield _gauge("inference_fallback", about, report.fallback)
    if report.record is not None:
        about = "Whether recording pauses; the log says why."
        yield _gauge("recording_paused", about, report.pause is not None)
    info = GaugeMetricFamily(
        "installation_info", "Always 1.", labels=["version", "device", "classifier", "policy"]
    )
    info.add_metric([version("installation"), report.device, report.classifier, report.policy], 1)
    yield info
