"""How long an inference server is waited for, and when it is asked again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerTiming:
    """Timeouts and retry delays of a `KserveEngine`, seconds.

    Attributes
    ----------
    live_deadline_s, batch_deadline_s
        Time for a response, the second attempt included: for live frames, and for callers that
        can wait.
    open_wait_s
        How long opening an engine waits for the first response.
    backoff_min_s, backoff_max_s
        Delay before a server that failed is probed: doubled with each attempt from min to max.
    backoff_reset_s
        Time without a failure after which the delay starts from the minimum again.
    max_overload_s
        How long a server may be overloaded before it counts as unavailable.
    """

    live_deadline_s: float = 0.6
    batch_deadline_s: float = 4.0
    open_wait_s: float = 1.0
    backoff_min_s: float = 0.5
    backoff_max_s: float = 5.0
    backoff_reset_s: float = 30.0
    max_overload_s: float = 10.0
