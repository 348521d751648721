"""Periods and timeouts of the web extension."""

from __future__ import annotations

from dataclasses import dataclass, field

from installation.config.watch import WatchTiming
from installation.record.writer import WriterTiming


@dataclass(frozen=True, slots=True)
class WebTiming:
    """Periods and timeouts, all in seconds.

    Attributes
    ----------
    start_poll_s
        Between two checks whether the engines are open.
    watchdog_period_s
        Between two checks of workers and connections; the status line is sent as often.
    proxy_notice_s
        Time for a proxy to notice, by ``/healthz``, that this instance is about to end.
    drain_timeout_s
        Time for uploads in flight to be answered at the end.
    shutdown_timeout_s
        Time for threads to end.
    forced_end_s
        From a request to end until the process is ended by force.
    health_poll_s
        A proxy that has asked for ``/healthz`` within this time is expected to ask again.
    upload_grace_s
        How far an upload may fall behind the minimum rate that is required of its sender.
    wrong_token_s
        Until a wrong token is answered; see `TokenCheck`.
    writer, watch
        Those of the record and of the watched config.
    """

    start_poll_s: float = 0.1
    watchdog_period_s: float = 1.0
    proxy_notice_s: float = 3.0
    drain_timeout_s: float = 10.0
    shutdown_timeout_s: float = 0.5
    forced_end_s: float = 20.0
    health_poll_s: float = 15.0
    upload_grace_s: float = 10.0
    wrong_token_s: float = 1.0
    writer: WriterTiming = field(default_factory=WriterTiming)
    watch: WatchTiming = field(default_factory=WatchTiming)
