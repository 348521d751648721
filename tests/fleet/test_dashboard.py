"""The dashboard, as far as it can be tried without Grafana, which no package index has."""

import itertools
import json
import re
import subprocess

import pytest
import yaml

from tests.fleet.names import DASHBOARD, queries

PANELS = DASHBOARD["panels"]


def test_grafana_knows_all_that_stands_in_it():
    """What its own library reads and writes again is what there was."""
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    read = Dashboard.from_json(DASHBOARD)
    written = json.loads(encoder.JSONEncoder().encode(read))
    assert list(lost(DASHBOARD, written)) == []


def lost(ours, theirs, path=""):
    """Yield what is not in theirs, or not the same; they may add defaults."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from lost(value, theirs.get(key), f"{path}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(*pair, f"{path}/{number}")
    elif ours != theirs:
        yield path


def test_prometheus_understands_each_query(promtool, tmp_path):
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries())]
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]})
    )
    ran = subprocess.run(
        [promtool, "check", "rules", str(tmp_path / "rules.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{len(rules)} rules found" in ran.stdout


def test_it_asks_whom_it_is_told_to():
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in PANELS:
        if panel["type"] != "row":
            asked = [panel, *panel["targets"]]
            assert all(each["datasource"] == chosen for each in asked), panel["title"]
    for name in ("wall", "web", "server"):
        assert variables[name]["datasource"] == chosen
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(PANELS)))
    assert used - {"__rate_interval"} == set(variables)


def test_panels_lie_side_by_side():
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    places = [(panel["title"], panel["gridPos"]) for panel in PANELS]
    for title, place in places:
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24, title
    for (one, a), (other, b) in itertools.combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below, (one, other)


# What is said of a wall, and what it tells; all that ever was, where it does not answer.
STATES = {
    "works": {"up": 1, "open": 1, "camera_lost": 0, "ready": 1, "healthy": 1, "fallback": 0},
    "works, on its CPU for now": {"up": 1, "open": 1, "ready": 1, "healthy": 1, "fallback": 1},
    "does not work": {"up": 1, "open": 1, "camera_lost": 0, "ready": 1, "healthy": 0},
    "preparing": {"up": 1, "open": 1, "camera_lost": 0, "ready": 0, "healthy": 0},
    "camera lost": {"up": 1, "open": 1, "camera_lost": 1, "ready": 0, "healthy": 0},
    "closed": {"up": 1, "open": 0, "camera_lost": 1, "ready": 1, "healthy": 1, "fallback": 1},
    "does not answer": {"up": 0, "opens_timestamp_seconds": 60},
}
# Its power was cut for the night.
CUT = {"up": 0, "opens_timestamp_seconds": 1_000_000}


def test_each_wall_has_one_state(promtool, tmp_path):
    (panel,) = (panel for panel in PANELS if panel["type"] == "state-timeline")
    query = panel["targets"][0]["expr"].replace("$wall", ".*")
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    numbers = {about["text"]: int(number) for number, about in mapping["options"].items()}
    assert set(numbers) == set(STATES)
    names = {"up": "up", "fallback": "installation_inference_fallback"}
    series = [
        {"series": f'{metric}{{job="wall", instance="{name}"}}', "values": f"{value}x5"}
        for name, facts in {**STATES, "cut": CUT}.items()
        for what, value in facts.items()
        for metric in [names.get(what, f"installation_{what}")]
    ]
    states = {**{name: name for name in STATES}, "cut": "closed"}
    expected = [
        {"labels": f'{{instance="{name}"}}', "value": numbers[state]}
        for name, state in states.items()
    ]
    asked = [{"expr": query, "eval_time": "2m", "exp_samples": expected}]
    test = {"interval": "1m", "input_series": series, "promql_expr_test": asked}
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"tests": [test]}))
    ran = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "tests.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
