"""A connection to an inference server, over KServe's Open Inference Protocol, version 2 (gRPC)."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.manifest import Manifest
from engines.triton_export import CHECKSUM, PIXELS, version_of
from installation.config.model import Inference
from installation.inference.engine import InferenceError, OverloadedError

# gRPC prints a screenful to standard error for each broken connection.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException

_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # gRPC uses the second value as TCP_USER_TIMEOUT, too, which detects a server that lost power.
    # No call is long enough for the first to matter.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
]


class ServerError(InferenceError):
    """The server sent no usable response; the message says why."""


class ServerUnavailableError(ServerError):
    """The server sent no response at all."""


class KserveClient:
    """A connection to a server, shared by any number of engines; thread-safe.

    Parameters
    ----------
    settings
        Address, encryption and token. The token is sent as a bearer token and in the header that
        Triton's restricted protocols expect.

    Attributes
    ----------
    address
        ``HOST:PORT`` of the server.
    failed_at
        When a request last got no response, monotonic seconds.

    Raises
    ------
    InferenceError
        The file with the CA certificate cannot be read.
    """

    def __init__(self, settings: Inference) -> None:
        self.address = settings.server_address
        self.failed_at = -math.inf
        ca_file, credentials = settings.ca_file, None
        if settings.encrypted:
            try:
                trusted = None if ca_file is None else ca_file.read_bytes()
            except OSError as error:
                reason = f"inference.ca_file {ca_file}: {error.strerror}"
                raise InferenceError(reason) from error
            credentials = grpc.ssl_channel_credentials(trusted)
        self._client: Any = triton.InferenceServerClient(
            settings.server_address, creds=credentials, channel_args=_CHANNEL
        )
        self._headers: dict[str, str] = {}
        if settings.token is not None:
            token = settings.token.get_secret_value()
            self._headers = {
                "authorization": f"Bearer {token}",
                "triton-grpc-protocol-token": token,
            }

    def infer(
        self, name: str, manifest: Manifest, batch: NDArray[np.uint8], deadline_s: float
    ) -> dict[str, Any]:
        """Request an engine's outputs and the checksum.

        Parameters
        ----------
        name, manifest
            The engine.
        batch
            uint8 (N, height, width, 3), N at most `engines.triton_export.MAX_BATCH`.
        deadline_s
            Time for the response, seconds.

        Returns
        -------
        dict
            Unchecked outputs by name; None for an output that is missing in the response.

        Raises
        ------
        OverloadedError
            The server is overloaded.
        ServerError
            There is no usable response.
        """
        pixels = triton.InferInput(PIXELS, list(batch.shape), "UINT8")
        pixels.set_data_from_numpy(batch)
        names = (*manifest.outputs, CHECKSUM)
        try:
            response = self._client.infer(
                name,
                [pixels],
                model_version=str(version_of(manifest)),
                outputs=[triton.InferRequestedOutput(each) for each in names],
                client_timeout=deadline_s,
                # Lets the server drop a request that nobody waits for any more.
                timeout=round(deadline_s * 1e6),
                headers=self._headers,
            )
            return {each: response.as_numpy(each) for each in names}
        except InferenceServerException as error:
            raise _to_server_error(error) from None
        except grpc.RpcError as error:
            raise ServerUnavailableError("the connection failed") from error
        except Exception as error:
            # tritonclient documents no exceptions for malformed responses.
            raise ServerError("its response cannot be read") from error

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _to_server_error(error: InferenceServerException) -> InferenceError:
    message = " ".join(str(error.message()).split())
    status = str(error.status()).rpartition(".")[2]
    # Triton's messages for a full queue, and for a request that waited in the queue for too long.
    if "queue size" in message or "timeout expired" in message or status == "RESOURCE_EXHAUSTED":
        return OverloadedError("the inference server is overloaded")
    if status == "DEADLINE_EXCEEDED":
        return ServerUnavailableError("no response in time")
    known = {
        "UNAUTHENTICATED": "it does not accept inference.token",
        "PERMISSION_DENIED": "it does not accept inference.token",
    }
    if status in known:
        return ServerError(known[status])
    if "restricted" in message:
        return ServerError("it requires a token, or another one; set inference.token")
    if "unknown model" in message or "version" in message:
        return ServerError(
            f"it does not have this engine ({message[:120]}); "
            "run `installation engines export` there"
        )
    kind = ServerUnavailableError if status == "UNAVAILABLE" else ServerError
    return kind(message[:160] or status)
