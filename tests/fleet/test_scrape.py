"""A real Prometheus scrapes real walls, and notices when one is gone."""

import json
import re
import subprocess
import time
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from installation.config.model import Status
from installation.web.status.server import StatusServer
from tests.fleet.names import queries
from tests.ports import free_port
from tests.web.test_status import LONG, a_snapshot


class Monitor:
    """Prometheus with the fleet's configuration and short intervals."""

    def __init__(self, prometheus, fleet, walls):
        (fleet / "targets" / "walls.yml").write_text(json.dumps([{"targets": walls}]))
        for name, *changes in (
            # An interval is also a timeout: a wrong token is answered after a second.
            ("prometheus.yml", (r"_interval: \w+", "_interval: 3s")),
            ("rules.yml", (r"for: \w+", "for: 1s")),
        ):
            text = (fleet / name).read_text()
            for pattern, replacement in changes:
                text = re.sub(pattern, replacement, text)
            (fleet / name).write_text(text)
        self._at = f"127.0.0.1:{free_port()}"
        self._log = (fleet / "log").open("w")
        self._process = subprocess.Popen(
            [
                prometheus,
                f"--config.file={fleet / 'prometheus.yml'}",
                f"--storage.tsdb.path={fleet / 'data'}",
                f"--web.listen-address={self._at}",
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def close(self):
        self._process.kill()
        self._process.wait()
        self._log.close()

    def ask(self, path, **query):
        with urlopen(f"http://{self._at}/api/v1/{path}?{urlencode(query)}", timeout=LONG) as answer:
            return json.load(answer)["data"]

    def wait_for(self, condition):
        """Wait until a condition is true; return its value."""
        deadline = time.monotonic() + LONG
        while True:
            try:
                if found := condition():
                    return found
            except OSError:
                pass  # Not listening yet.
            assert time.monotonic() < deadline
            assert self._process.poll() is None
            time.sleep(0.2)

    def firing(self):
        alerts = self.ask("alerts")["alerts"]
        return {
            (each["labels"]["alertname"], each["labels"].get("instance")): each["annotations"]
            for each in alerts
            if each["state"] == "firing"
        }


@pytest.fixture
def monitor_of(prometheus, fleet):
    started = []

    def begin(*walls):
        started.append(Monitor(prometheus, fleet, list(walls)))
        return started[-1]

    yield begin
    for monitor in started:
        monitor.close()


@pytest.fixture
def start_wall(fleet):
    """Serve the status of a wall with the fleet's token or another; return it and its address."""
    servers = []

    def begin(token=None):
        token = token or (fleet / "token").read_text().strip()
        port = free_port()
        servers.append(StatusServer(Status(port=port, token=token)))
        servers[-1].publish(a_snapshot())
        return servers[-1], f"127.0.0.1:{port}"

    yield begin
    for server in servers:
        server.stop()
        server.join(LONG)


def test_a_wall_is_monitored_and_missed(monitor_of, start_wall):
    wall, address = start_wall()
    monitor = monitor_of(address)

    def value(query):
        found = monitor.ask("query", query=query)["result"]
        return [float(each["value"][1]) for each in found]

    assert monitor.wait_for(lambda: value(f'installation_faces{{instance="{address}"}}')) == [2]
    assert value(f'up{{job="wall", instance="{address}"}}') == [1]
    assert ("WallUnreachable", address) not in monitor.firing()
    wall.stop()
    annotations = monitor.wait_for(lambda: monitor.firing().get(("WallUnreachable", address)))
    assert annotations["summary"] == f"{address} does not answer"


# Not exposed by this wall on every machine, or exposed by others.
ELSEWHERE = ("temperature", "restarts", "ALERTS", "_web_", 'job="web"', "nv_")


def test_the_dashboard_has_something_to_show(monitor_of, start_wall):
    monitor = monitor_of(start_wall()[1])
    expected = {query for query in queries() if not any(each in query for each in ELSEWHERE)}
    assert len(expected) > 20

    def empty():
        return {query for query in expected if not monitor.ask("query", query=query)["result"]}

    monitor.wait_for(lambda: not empty())


def test_a_wall_with_another_token_is_unreachable(monitor_of, start_wall):
    _, address = start_wall("another token of its own")
    monitor = monitor_of(address)
    assert monitor.wait_for(lambda: monitor.firing().get(("WallUnreachable", address)))
    (target,) = monitor.ask("targets")["activeTargets"]
    assert "401" in target["lastError"]


def test_targets_need_no_port(monitor_of):
    monitor = monitor_of("127.0.0.9", "127.0.0.9:8090", "127.0.0.9:8091", "[::1]", "[::1]:8091")
    targets = monitor.wait_for(lambda: monitor.ask("targets")["activeTargets"])
    assert sorted((each["labels"]["instance"], each["scrapeUrl"]) for each in targets) == [
        ("127.0.0.9", "http://127.0.0.9:8090/metrics"),
        ("127.0.0.9:8091", "http://127.0.0.9:8091/metrics"),
        ("[::1]", "http://[::1]:8090/metrics"),
        ("[::1]:8091", "http://[::1]:8091/metrics"),
    ]
