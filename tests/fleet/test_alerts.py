"""When alerts fire and what they say: the rules as promtool evaluates them."""

import re
import subprocess

import pytest
import yaml

from tests.fleet.names import ALERTS, FLEET, ROOT

TESTS = ROOT / "tests" / "fleet" / "alerts.yml"
RULES = FLEET / "prometheus" / "rules.yml"


def run(*command):
    return subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, check=False
    )


def test_prometheus_accepts_the_configuration(promtool, fleet):
    ran = run(promtool, "check", "config", fleet / "prometheus.yml")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(ALERTS)} rules found" in ran.stdout


def test_alerts_fire_when_they_should_and_not_otherwise(promtool):
    ran = run(promtool, "test", "rules", TESTS)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_tested():
    fired = {
        re.search(r'alertname="(\w+)"', sample["labels"])[1]
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for query in test["promql_expr_test"]
        for sample in query["exp_samples"]
    }
    assert fired == set(ALERTS)


def test_annotations_expand(promtool, tmp_path):
    """When promtool expects no alerts it prints those that fire."""
    suite = yaml.safe_load(TESTS.read_text())
    suite["rule_files"] = [str(RULES)]
    for test in suite["tests"]:
        times = {query["eval_time"] for query in test.pop("promql_expr_test")}
        test["alert_rule_test"] = [
            {"eval_time": time, "alertname": name, "exp_alerts": []}
            for time in sorted(times)
            for name in ALERTS
        ]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(suite))
    ran = run(promtool, "test", "rules", tmp_path / "tests.yml")
    # Some versions quote what they print.
    printed = (ran.stdout + ran.stderr).replace('\\"', '"')
    for name in ALERTS:
        assert f'alertname="{name}"' in printed
    for broken in ("error expanding", "<no value>", "%!", "NaN"):
        assert broken not in printed


@pytest.mark.parametrize("name", ALERTS)
def test_alerts_say_what_is_wrong_and_what_to_do(name):
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    annotations = rule["annotations"]
    assert set(annotations) == {"summary", "description", "runbook"}
    assert len(annotations["summary"]) < 80
    path, _, section = annotations["runbook"].partition("#")
    heading = f"\n### {section.replace('-', ' ').capitalize()}\n"
    text = (ROOT / path).read_text().partition(heading)[2]
    assert f"| `{name}` |" in text.partition("\n### ")[0]


def test_the_documentation_names_existing_files_and_alerts():
    page = (ROOT / "docs" / "fleet.md").read_text()
    named = set(re.findall(r"(?:systemd|tests)/fleet[\w./]*\w", page))
    assert len(named) >= 5
    for path in named:
        assert (ROOT / path).exists(), path
    for alert in re.findall(r"^\| `([A-Z]\w+)` \|", page, re.MULTILINE):
        assert alert in ALERTS
