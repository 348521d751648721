"""Engines on a server that speaks KServe's open inference protocol, version 2, over gRPC.

Regions are cut out here and sent as they are; see `engines.triton_export` for what the server does
with them. While the server is gone, or what it says cannot be right, this machine's CPU does its
work, and it is asked again and again until it is back.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Manifest
from engines.triton_export import CHECKSUM, MOST, PIXELS, version_of
from installation.config.model import Inference
from installation.inference.crop import crop_batch
from installation.inference.engine import Engine, InferenceError, OverloadedError
from installation.scene import Frame

# gRPC writes what it thinks of broken connections to standard error, a screenful each.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

log = logging.getLogger(__name__)

# Seconds for an answer, of those who show a live picture and of those who would rather wait; and
# the part of it after which it is asked for again.
_LIVE_DEADLINE_S = 0.6
_BATCH_DEADLINE_S = 4.0
_FIRST_ATTEMPT_SHARE = 2 / 3
# Seconds to begin with until a server that failed is asked again, and at the most; after so many in
# which it was well, what was before is forgotten.
_FIRST_WAIT = 0.5
_LAST_WAIT = 5.0
_BACKOFF_RESET_S = 30.0
# Seconds that opening waits for the first word.
_OPENING = 1.0
# A server's numbers may differ by so much of how far apart an answer's own are: a GPU rounds.
_REL_TOLERANCE = 0.05
# Seconds that a server may be busy for those who would rather wait, before it counts as hung.
_BUSY = 10.0
# What log-probabilities may be off in all.
_PROBABILITY_SUM_TOLERANCE = 0.01
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # For the sake of the second, by which TCP gives up a connection whose other end lost its power;
    # calls that would be long enough for the first there are none.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
]


class ServerError(InferenceError):
    """The server gave no answer, or none that can be used; the text says why."""


class ServerUnavailableError(ServerError):
    """There was no answer at all."""


class KserveClient:
    """A connection to a server, by which any number of engines speak to it, from any thread.

    Parameters
    ----------
    settings
        Where it is, and how to speak to it. Their token is sent as a bearer token, and as Triton's
        restricted protocols want it.

    Attributes
    ----------
    address
        The server's.
    lost_at
        When it last left an engine without an answer, monotonic seconds.

    Raises
    ------
    InferenceError
        The file of the authority cannot be read.
    """

    def __init__(self, settings: Inference) -> None:
        self.address = settings.server
        self.lost_at = -math.inf
        authority, credentials = settings.authority, None
        if settings.encrypted:
            try:
                trusted = None if authority is None else authority.read_bytes()
            except OSError as error:
                reason = f"inference.authority {authority}: {error.strerror}"
                raise InferenceError(reason) from error
            credentials = grpc.ssl_channel_credentials(trusted)
        self._client: Any = triton.InferenceServerClient(
            settings.server, creds=credentials, channel_args=_CHANNEL
        )
        self._headers: dict[str, str] = {}
        if settings.token is not None:
            token = settings.token.get_secret_value()
            self._headers = {
                "authorization": f"Bearer {token}",
                "triton-grpc-protocol-token": token,
            }

    def infer(
        self, name: str, manifest: Manifest, batch: NDArray[np.uint8], deadline: float
    ) -> dict[str, Any]:
        """Ask for the outputs of an engine, and the checksum.

        Parameters
        ----------
        name, manifest
            Of the engine.
        batch
            uint8 (N, height, width, 3), N at most `engines.triton_export.MOST`.
        deadline
            Seconds for the answer.

        Returns
        -------
        dict
            By name: what came as it came, or None for what did not.

        Raises
        ------
        OverloadedError
            The server has too much to do.
        ServerError
            There is no answer.
        """
        asked = triton.InferInput(PIXELS, list(batch.shape), "UINT8")
        asked.set_data_from_numpy(batch)
        names = (*manifest.outputs, CHECKSUM)
        try:
            answer = self._client.infer(
                name,
                [asked],
                model_version=str(version_of(manifest)),
                outputs=[triton.InferRequestedOutput(each) for each in names],
                client_timeout=deadline,
                # For the server not to begin what nobody waits for any more.
                timeout=round(deadline * 1e6),
                headers=self._headers,
            )
            return {each: answer.as_numpy(each) for each in names}
        except InferenceServerException as error:
            raise _to_server_error(error) from None
        except grpc.RpcError as error:
            raise ServerUnavailableError("the connection failed") from error
        except Exception as error:
            # Whatever tritonclient makes of bytes that are no answer.
            raise ServerError("its answer cannot be read") from error

    def close(self) -> None:
        """End it."""
        self._client.close()


def _to_server_error(error: InferenceServerException) -> InferenceError:
    said = " ".join(str(error.message()).split())
    status = str(error.status()).rpartition(".")[2]
    # Triton's words for a queue that is full, and for a request that waited in it for too long.
    if "queue size" in said or "timeout expired" in said or status == "RESOURCE_EXHAUSTED":
        return OverloadedError("the inference server has too much to do")
    if status == "DEADLINE_EXCEEDED":
        return ServerUnavailableError("no answer in time")
    known = {
        "UNAUTHENTICATED": "it does not accept inference.token",
        "PERMISSION_DENIED": "it does not accept inference.token",
    }
    if status in known:
        return ServerError(known[status])
    if "restricted" in said:
        return ServerError("it wants a token, or another: see inference.token")
    if "unknown model" in said or "version" in said:
        return ServerError(
            f"it does not have this engine ({said[:120]}); there, run `installation engines export`"
        )
    kind = ServerUnavailableError if status == "UNAVAILABLE" else ServerError
    return kind(said[:160] or status)


def _check(
    outputs: dict[str, Any],
    batch: NDArray[np.uint8],
    manifest: Manifest,
    like: dict[str, NDArray[np.float32]],
) -> None:
    """Raise `ServerError` unless outputs can be what the engine says of these regions."""
    checksum = outputs.pop(CHECKSUM)
    sent = batch.sum((1, 3), dtype=np.int32)
    if checksum is None or not np.array_equal(checksum, sent):
        raise ServerError("its answer is not about what it was sent")
    for name, value in outputs.items():
        shape = (len(batch), *like[name].shape[1:])
        if value is None or value.dtype != np.float32 or value.shape != shape:
            raise ServerError(f"its answer's {name} has another form")
        if not np.isfinite(value).all():
            raise ServerError(f"its answer's {name} is not of numbers")
        if manifest.decoder == "log-probabilities" and (
            np.abs(np.exp(value).sum(1) - 1).max() > _PROBABILITY_SUM_TOLERANCE
        ):
            raise ServerError(f"its answer's {name} are no log-probabilities")


class KserveEngine:
    """An engine on a server, or on this machine's CPU as long as that is gone.

    Not to be shared between threads.

    Parameters
    ----------
    connection
        To the server; closed by others.
    name
        Of the engine, here and there.
    local
        The same engine on this machine's CPU; closed with this.
    waits
        Whether a busy server is to be waited for: `OverloadedError` is raised then, where otherwise
        the CPU helps out.

    Attributes
    ----------
    trouble
        Why the server is not used now; empty while it is.
    """

    def __init__(self, connection: KserveClient, name: str, local: Engine, waits: bool) -> None:
        self.manifest = local.manifest
        self._connection = connection
        self._name = name
        self._local = local
        self._waits = waits
        self._deadline = _BATCH_DEADLINE_S if waits else _LIVE_DEADLINE_S
        self._sample, self._expected = _reference_sample(local)
        self.trouble = "it has not answered yet"
        self._well_since = -math.inf
        self._wait = _FIRST_WAIT
        self._busy_since: float | None = None
        self._told = threading.Event()
        self._closed = threading.Event()
        self._prober = self._start_probe("")
        self._told.wait(_OPENING)

    @property
    def device(self) -> str:
        """See `Engine`."""
        server = f"server {self._connection.address}"
        return f"{self._local.device} ({server} is gone)" if self.trouble else server

    @property
    def fallback(self) -> bool:
        """See `Engine`."""
        return bool(self.trouble)

    def run(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """See `Engine.run`; raises `OverloadedError` where that is to be waited for."""
        if not self.trouble and self._connection.lost_at > self._well_since:
            self._fall_back("it gave another engine no answer")
        if not self.trouble:
            try:
                answer = self._ask(crop_batch(frame.bgr, regions, self.manifest.input))
            except OverloadedError as error:
                if self._waits and not self._busy_for_long():
                    raise
                self._fall_back(str(error))
            except ServerError as error:
                if isinstance(error, ServerUnavailableError):
                    self._connection.lost_at = time.monotonic()
                self._fall_back(str(error))
            else:
                self._busy_since = None
                return answer
        return self._local.run(frame, regions)

    def _busy_for_long(self) -> bool:
        now = time.monotonic()
        self._busy_since = self._busy_since or now
        return now - self._busy_since > _BUSY

    def timed(self, frame: Frame, regions: NDArray[np.float32]) -> dict[str, float]:
        """See `Engine.timed`."""
        if self.trouble:
            return self._local.timed(frame, regions)
        began = time.perf_counter()
        batch = crop_batch(frame.bgr, regions, self.manifest.input)
        prepared = time.perf_counter()
        self._ask(batch)
        return {"preprocess": prepared - began, "infer": time.perf_counter() - prepared}

    def close(self) -> None:
        """See `Engine.close`."""
        self._closed.set()
        self._prober.join(2 * self._deadline)
        self._local.close()

    def _ask(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        parts = [self._infer_with_retry(batch[at : at + MOST]) for at in range(0, len(batch), MOST)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _infer_with_retry(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        began = time.monotonic()
        try:
            return self._ask_once(batch, _FIRST_ATTEMPT_SHARE * self._deadline)
        except ServerError:
            return self._ask_once(batch, began + self._deadline - time.monotonic())

    def _ask_once(
        self, batch: NDArray[np.uint8], deadline: float
    ) -> dict[str, NDArray[np.float32]]:
        outputs = self._connection.infer(self._name, self.manifest, batch, deadline)
        _check(outputs, batch, self.manifest, self._expected)
        return outputs

    def _fall_back(self, why: str) -> None:
        """Do without the server until it is back."""
        if time.monotonic() - self._well_since > _BACKOFF_RESET_S:
            self._wait = _FIRST_WAIT
        self._busy_since = None
        self._report_unavailable(why)
        self._prober = self._start_probe(why)

    def _report_unavailable(self, why: str) -> None:
        self.trouble = why
        address = self._connection.address
        log.warning("%s: server %s: %s; on the CPU until it is well", self._name, address, why)

    # --- the thread that asks after a server that is gone

    def _start_probe(self, said: str) -> threading.Thread:
        thread = threading.Thread(
            target=self._probe, args=(said,), name=f"{self._name} probe", daemon=True
        )
        thread.start()
        return thread

    def _probe(self, said: str) -> None:
        while not self._closed.is_set():
            # Also before the first time: what is well for one region may be too slow for many.
            if said:
                self._closed.wait(self._wait)
                self._wait = min(2 * self._wait, _LAST_WAIT)
            try:
                _compare(self._ask_once(self._sample, self._deadline), self._expected)
            except InferenceError as error:
                # Without a connection the reasons vary, and tell no more than the first.
                if not said:
                    self._report_unavailable(str(error))
                self.trouble = said = str(error)
                self._told.set()
            else:
                log.info("%s: on the server %s", self._name, self._connection.address)
                self._well_since = time.monotonic()
                self.trouble = ""
                self._told.set()
                return


def _reference_sample(local: Engine) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.float32]]]:
    """Return a region of noise, and what the engine makes of it here."""
    spec = local.manifest.input
    shape = (spec.height, spec.width, 3)
    frame = Frame.from_image(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    region = np.array([[0, 0, spec.width, spec.height]], np.float32)
    return crop_batch(frame.bgr, region, spec), local.run(frame, region)


def _compare(answer: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        if np.abs(answer[name] - value).max() > _REL_TOLERANCE * max(float(np.ptp(value)), 1e-3):
            raise ServerError("it has another network under this name; export the engine anew")
