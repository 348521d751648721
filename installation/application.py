"""The shell of every long-running program: workers, periodic tasks, reloading, shutdown."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from types import TracebackType

from installation.config.model import Config
from installation.config.reload import ConfigFile, apply_changes, changes
from installation.config.watch import ConfigWatch, WatchTiming
from installation.runtime.heartbeat import Heartbeat
from installation.runtime.periodic import PeriodicTasks
from installation.runtime.signals import Signals, set_forced_end
from installation.runtime.worker import Worker
from installation.supervision.systemd_notify import Notifier

log = logging.getLogger(__name__)

# Called after a reload with the new config and the names of the sections that changed.
Subscriber = Callable[[Config, Collection[str]], None]


class Application:
    """What the wall and the web extension have in common. A context manager for the main thread.

    Parameters
    ----------
    config
        The config to start with.
    file
        Where the config is reloaded from when it changes; None: it never changes.
    interrupt_startup
        Whether SIGTERM and SIGINT raise `Stop` until ``signals.interrupt`` is set to False. For
        programs whose start-up takes long and does not look at ``signals.end``.
    forced_end_s
        Seconds after a request to end at which the process is ended by force.

    Attributes
    ----------
    config
        The config in force. Keys that take a restart keep the value they had at the start.
    signals
        Requests to end or to reload.
    notifier
        The connection to systemd.
    workers
        The threads that were started, in order.
    tasks
        What `run_due` calls every so often.
    """

    def __init__(
        self,
        config: Config,
        file: ConfigFile | None = None,
        *,
        interrupt_startup: bool = False,
        forced_end_s: float,
    ) -> None:
        set_forced_end(forced_end_s)
        self.config = config
        self.signals = Signals(interrupt=interrupt_startup)
        self.notifier = Notifier.from_environment()
        self.workers: list[Worker] = []
        self.tasks = PeriodicTasks()
        self._file = file
        self._watch: ConfigWatch | None = None
        self._subscribers: list[Subscriber] = []
        self._reopening: Callable[[], Collection[str]] = tuple
        self._warn_about_policy()

    def __enter__(self) -> Application:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop_reloading()
        self.notifier.close()
        self.signals.restore()

    @property
    def config_error(self) -> str | None:
        """What is wrong with the config files now, in one line; None: nothing."""
        return None if self._file is None else self._file.error

    def start_worker(self, heartbeat: Heartbeat, run: Callable[[], None]) -> Worker:
        """Run a function on a thread of its own; see `Worker`."""
        worker = Worker(heartbeat, run)
        self.workers.append(worker)
        return worker

    def check_workers(self, _elapsed_s: float = 0.0) -> None:
        """Raise what a worker raised, or `WorkerHungError` if one hangs; else feed the watchdog."""
        for worker in self.workers:
            worker.check()
        self.notifier.watchdog()

    def raise_worker_error(self) -> None:
        """Raise what a worker raised, if any did."""
        for worker in self.workers:
            if worker.error is not None:
                raise worker.error

    def join_workers(self, timeout_s: float) -> None:
        """Wait at most ``timeout_s`` seconds for all workers to end, the last started first."""
        deadline = time.monotonic() + timeout_s
        for worker in reversed(self.workers):
            worker.join(deadline - time.monotonic())

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have a function called after every reload, after those that subscribed before it."""
        self._subscribers.append(subscriber)

    def start_reloading(
        self, timing: WatchTiming, reopening: Callable[[], Collection[str]] = tuple
    ) -> None:
        """Watch the config files from now on, if there are any.

        Parameters
        ----------
        timing
            See `WatchTiming`.
        reopening
            Returns the sections whose keys take effect although they take a restart otherwise,
            because what they are about is not open.
        """
        self._reopening = reopening
        if self._file is not None:
            self._watch = ConfigWatch(self._file, timing)

    def stop_reloading(self) -> None:
        """Stop watching the config files."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def run_due(self) -> None:
        """Apply a changed config and run the tasks that are due; call it often. Never waits."""
        if self._watch is not None:
            self._watch.poll(self.signals, self.notifier, self._apply)
        self.tasks.run_due()

    def _apply(self, new: Config) -> None:
        now, later = changes(self.config, new)
        reopening = self._reopening()
        now += [key for key in later if _section(key) in reopening]
        for key in later:
            if key not in now:
                log.warning("%s: takes effect at the next start; restart to apply it now", key)
        log.info("configuration reloaded: %s", ", ".join(now) or "nothing has changed")
        sections = {name: getattr(new, name) for name in reopening}
        self.config = apply_changes(self.config, new).model_copy(update=sections)
        changed = {_section(key) for key in now}
        if "labels" in changed:
            self._warn_about_policy()
        for subscriber in self._subscribers:
            subscriber(self.config, changed)

    def _warn_about_policy(self) -> None:
        if warning := self.config.labels.choice.warning:
            log.warning("%s", warning)


def _section(key: str) -> str:
    return key.partition(".")[0]
