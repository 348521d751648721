"""Metric names that rules and dashboard use, and those that are exposed."""

import json
import re
import time

import yaml

from installation.web.status.health import evaluate
from installation.web.status.prometheus import expose
from tests.paths import ROOT
from tests.web.test_status import a_snapshot

FLEET = ROOT / "systemd" / "fleet"
GROUPS = yaml.safe_load((FLEET / "prometheus" / "rules.yml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
DASHBOARD = json.loads((FLEET / "grafana" / "dashboard.json").read_text())

# Prometheus' own metrics.
OWN = {"up", "ALERTS"}


def queries():
    """Yield the dashboard's queries as Prometheus gets them with every variable set to All."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", "1m")
            yield re.sub(r"\$\w+", ".*", query)


def used_names():
    """Return the names of all metrics that rules and dashboard use."""
    text = "\n".join([*(rule["expr"] for rule in ALERTS.values()), *queries()])
    return set(re.findall(r"\b(?:installation|nv|process)_\w+|\bup\b|\bALERTS\b", text))


def exposed_names(text):
    """Return the names of all samples in a text exposition."""
    # Not with the Python parser: it renames counters.
    return set(re.findall(r"^[a-z]\w*", text, re.MULTILINE))


def names_of_a_wall():
    """Return the names of all samples that a wall can expose."""
    snapshot = a_snapshot()
    return exposed_names(
        expose(snapshot, evaluate(snapshot, time.monotonic()), 50.0, 0, 10**9).decode()
    )
