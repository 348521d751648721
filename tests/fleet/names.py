"""What rules and dashboard ask for, and what there is to be had."""

import json
import re
import time

import yaml

from installation.web.status.health import evaluate
from installation.web.status.prometheus import expose
from tests.paths import ROOT
from tests.web.test_status import a_report

FLEET = ROOT / "systemd" / "fleet"
GROUPS = yaml.safe_load((FLEET / "prometheus" / "rules.yml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
DASHBOARD = json.loads((FLEET / "grafana" / "dashboard.json").read_text())

# Prometheus' own.
OWN = {"up", "ALERTS"}


def queries():
    """All of the dashboard's, as Prometheus gets them when everything is chosen."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", "1m")
            yield re.sub(r"\$\w+", ".*", query)


def asked_for():
    """The names of all metrics in rules and dashboard."""
    text = "\n".join([*(rule["expr"] for rule in ALERTS.values()), *queries()])
    return set(re.findall(r"\b(?:installation|nv|process)_\w+|\bup\b|\bALERTS\b", text))


def told(text):
    """The names of all samples in an exposition."""
    # As it stands there: Python's parser gives counters another name.
    return set(re.findall(r"^[a-z]\w*", text, re.MULTILINE))


def told_by_a_wall():
    """The names of all that a wall ever tells."""
    report = a_report()
    return told(expose(report, evaluate(report, time.monotonic()), 50.0, 0, 10**9).decode())
