"""Engines on an inference server, over KServe's Open Inference Protocol, version 2 (gRPC).

Regions are cropped here and sent as uint8; `engines.triton_export` defines what the server does
with them. While the server is unavailable or sends implausible responses, the local CPU takes over
and the server is probed until it is back.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Manifest
from engines.triton_export import CHECKSUM, MAX_BATCH
from installation.inference.crop import crop_batch
from installation.inference.engine import Engine, InferenceError, OverloadedError
from installation.inference.kserve_client import (
    KserveClient,
    ServerError,
    ServerUnavailableError,
)
from installation.inference.server_timing import ServerTiming
from installation.scene import Frame

log = logging.getLogger(__name__)

# Share of the deadline after which a request is sent a second time.
_FIRST_ATTEMPT_SHARE = 2 / 3
# Tolerated difference between a server's outputs and the CPU's, as a share of their range: GPUs
# round differently.
_REL_TOLERANCE = 0.05
# Tolerated deviation from 1 of the sum of an output's probabilities.
_PROBABILITY_SUM_TOLERANCE = 0.01


def _check(
    outputs: dict[str, Any],
    batch: NDArray[np.uint8],
    manifest: Manifest,
    reference: dict[str, NDArray[np.float32]],
) -> None:
    """Raise `ServerError` unless the outputs are plausible for this batch."""
    checksum = outputs.pop(CHECKSUM)
    sent = batch.sum((1, 3), dtype=np.int32)
    if checksum is None or not np.array_equal(checksum, sent):
        raise ServerError("its response does not belong to the request")
    for name, value in outputs.items():
        shape = (len(batch), *reference[name].shape[1:])
        if value is None or value.dtype != np.float32 or value.shape != shape:
            raise ServerError(f"output {name} has an unexpected shape or type")
        if not np.isfinite(value).all():
            raise ServerError(f"output {name} contains NaN or Inf")
        if manifest.decoder == "log-probabilities" and (
            np.abs(np.exp(value).sum(1) - 1).max() > _PROBABILITY_SUM_TOLERANCE
        ):
            raise ServerError(f"output {name} does not hold log-probabilities")


class KserveEngine:
    """An engine on a server, or on the local CPU while the server is unavailable.

    Not thread-safe.

    Parameters
    ----------
    client
        Connection to the server; not closed with this engine.
    name
        The engine's name, here and on the server.
    local
        The same engine on the local CPU; closed with this engine.
    raise_overload
        Whether to raise `OverloadedError` when the server is overloaded, instead of using the CPU.
    timing
        Timeouts and retry delays.

    Attributes
    ----------
    unavailable_reason
        Why the server is not used now; empty while it is used.
    """

    def __init__(
        self,
        client: KserveClient,
        name: str,
        local: Engine,
        raise_overload: bool,
        timing: ServerTiming,
    ) -> None:
        self.manifest = local.manifest
        self._client = client
        self._name = name
        self._local = local
        self._raise_overload = raise_overload
        self._timing = timing
        self._sample, self._reference = _reference_sample(local)
        self.unavailable_reason = "no response yet"
        self._available_since = -math.inf
        self._backoff_s = timing.backoff_min_s
        self._overloaded_since: float | None = None
        self._probed = threading.Event()
        self._closed = threading.Event()
        self._prober = self._start_probe("")
        self._probed.wait(timing.open_wait_s)

    @property
    def _deadline_s(self) -> float:
        timing = self._timing
        return timing.batch_deadline_s if self._raise_overload else timing.live_deadline_s

    @property
    def device(self) -> str:
        """See `Engine`."""
        server = f"server {self._client.address}"
        return (
            f"{self._local.device} ({server} is unavailable)" if self.unavailable_reason else server
        )

    @property
    def fallback(self) -> bool:
        """See `Engine`."""
        return bool(self.unavailable_reason)

    def run(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`; may raise `OverloadedError`."""
        if not self.unavailable_reason and self._client.failed_at > self._available_since:
            self._fall_back("it did not respond to another engine")
        if not self.unavailable_reason:
            try:
                outputs = self._infer(crop_batch(frame.bgr, regions, self.manifest.input))
            except OverloadedError as error:
                if self._raise_overload and not self._overloaded_too_long():
                    raise
                self._fall_back(str(error))
            except ServerError as error:
                if isinstance(error, ServerUnavailableError):
                    self._client.failed_at = time.monotonic()
                self._fall_back(str(error))
            else:
                self._overloaded_since = None
                return outputs
        return self._local.run(frame, regions)

    def _overloaded_too_long(self) -> bool:
        now = time.monotonic()
        self._overloaded_since = self._overloaded_since or now
        return now - self._overloaded_since > self._timing.max_overload_s

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, float]:
        """See `Engine.timed`."""
        if self.unavailable_reason:
            return self._local.timed(frame, regions)
        began = time.perf_counter()
        batch = crop_batch(frame.bgr, regions, self.manifest.input)
        prepared = time.perf_counter()
        self._infer(batch)
        return {"preprocess": prepared - began, "infer": time.perf_counter() - prepared}

    def close(self) -> None:
        """See `Engine.close`."""
        self._closed.set()
        self._prober.join(2 * self._deadline_s)
        self._local.close()

    def _infer(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        parts = [
            self._infer_with_retry(batch[start : start + MAX_BATCH])
            for start in range(0, len(batch), MAX_BATCH)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _infer_with_retry(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        began = time.monotonic()
        try:
            return self._infer_once(batch, _FIRST_ATTEMPT_SHARE * self._deadline_s)
        except ServerError:
            return self._infer_once(batch, began + self._deadline_s - time.monotonic())

    def _infer_once(
        self, batch: NDArray[np.uint8], deadline_s: float
    ) -> dict[str, NDArray[np.float32]]:
        outputs = self._client.infer(self._name, self.manifest, batch, deadline_s)
        _check(outputs, batch, self.manifest, self._reference)
        return outputs

    def _fall_back(self, reason: str) -> None:
        """Use the CPU until the server responds to a probe."""
        if time.monotonic() - self._available_since > self._timing.backoff_reset_s:
            self._backoff_s = self._timing.backoff_min_s
        self._overloaded_since = None
        self._report_unavailable(reason)
        self._prober = self._start_probe(reason)

    def _report_unavailable(self, reason: str) -> None:
        self.unavailable_reason = reason
        log.warning(
            "%s: inference server %s: %s; using CPU fallback until the server responds",
            *(self._name, self._client.address, reason),
        )

    # --- the thread that probes an unavailable server

    def _start_probe(self, reason: str) -> threading.Thread:
        thread = threading.Thread(
            target=self._probe, args=(reason,), name=f"{self._name} probe", daemon=True
        )
        thread.start()
        return thread

    def _probe(self, reason: str) -> None:
        while not self._closed.is_set():
            # Also before the first probe: a server may answer one region in time, but not many.
            if reason:
                self._closed.wait(self._backoff_s)
                self._backoff_s = min(2 * self._backoff_s, self._timing.backoff_max_s)
            try:
                _compare(self._infer_once(self._sample, self._deadline_s), self._reference)
            except InferenceError as error:
                # Log the first error only: later ones vary in wording and add nothing.
                if not reason:
                    self._report_unavailable(str(error))
                self.unavailable_reason = reason = str(error)
                self._probed.set()
            else:
                log.info("%s: using inference server %s", self._name, self._client.address)
                self._available_since = time.monotonic()
                self.unavailable_reason = ""
                self._probed.set()
                return


def _reference_sample(local: Engine) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float32]]]:
    """Return a region of noise, and the engine's outputs for it on this machine."""
    spec = local.manifest.input
    shape = (spec.height, spec.width, 3)
    frame = Frame.from_image(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    region = np.array([[0, 0, spec.width, spec.height]], np.float32)
    return crop_batch(frame.bgr, region, spec), local.run(frame, region)


def _compare(outputs: dict[str, Any], reference: dict[str, Any]) -> None:
    for name, value in reference.items():
        if np.abs(outputs[name] - value).max() > _REL_TOLERANCE * max(float(np.ptp(value)), 1e-3):
            raise ServerError("it serves another network under this name; export the engine again")
