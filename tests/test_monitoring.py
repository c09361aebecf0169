"""Dashboard and alert rules: in the form that Grafana and Prometheus document, in PromQL that parses, on metrics that there are."""

from __future__ import annotations

import json
import re
from typing import Any

import promql_parser
import pytest
import yaml

from sessions_app import metrics
from tests.processes import ROOT

FOLDER = ROOT / "docs" / "monitoring"
DURATION = re.compile(r"(\d+(ms|[smhdwy]))+")
#: What Prometheus makes itself.
GIVEN = {"up"}
#: What an alerting rule may hold.
RULE = {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    assert set(document) == {"groups"}
    assert all(set(group) <= {"name", "interval", "rules"} for group in document["groups"])
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return document


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def questions() -> list[str]:
    """Every PromQL text of both files."""
    asked = [rule["expr"] for rule in rules()]
    asked += [target["expr"] for panel in panels() for target in panel["targets"]]
    return asked + [each["expr"] for each in dashboard()["annotations"]["list"]]


def parts(question: str) -> list[Any]:
    """Every node of the parsed question; a text that is no PromQL raises."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(question), pre_visit=found.append)
    return found


def selectors(question: str) -> list[Any]:
    return [node for node in parts(question) if isinstance(node, promql_parser.VectorSelector)]


@pytest.mark.parametrize("question", questions())
def test_a_question_parses_and_asks_for_what_there_is(question: str) -> None:
    asked = selectors(question)

    assert asked
    for selector in asked:
        name = selector.name
        assert name in metrics.FAMILIES or name in GIVEN, name
        labels = set(metrics.FAMILIES[name][1]) if name in metrics.FAMILIES else set()
        assert {matcher.name for matcher in selector.matchers.matchers} <= labels | {"job", "instance"}


@pytest.mark.parametrize("question", questions())
def test_a_question_groups_by_labels_that_there_are(question: str) -> None:
    labels = {label for selector in selectors(question) for label in metrics.FAMILIES.get(selector.name, ("", ()))[1]}
    for node in parts(question):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            assert set(node.modifier.labels) <= labels


def test_what_is_wrong_is_noticed() -> None:
    with pytest.raises(ValueError):
        parts("max by (host (oxy_hosts)")
    assert [selector.name for selector in selectors("max(rate(oxy_gone_total[5m])) > 0")] == ["oxy_gone_total"]


# --- alert rules --------------------------------------------------------------------


def test_rules_have_the_form_that_prometheus_documents() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 10
    for rule in rules():
        assert set(rule) <= RULE
        assert re.fullmatch(r"[A-Za-z_]\w*", rule["alert"])
        assert DURATION.fullmatch(rule.get("for", "0s"))
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} == set(rule["annotations"])
        # A rule without a comparison would fire for ever.
        assert any(isinstance(node, promql_parser.BinaryExpr) for node in parts(rule["expr"]))


def test_sentences_fill_in_what_their_rule_gives() -> None:
    for rule in rules():
        for text in rule["annotations"].values():
            for filled in re.findall(r"\{\{(.*?)\}\}", text):
                name = re.fullmatch(r" \$(value|labels\.(\w+))(?: \| humanizeDuration)? ", filled)
                assert name, filled
                assert name[2] is None or f"by ({name[2]})" in rule["expr"]


# --- the dashboard ------------------------------------------------------------------


def test_the_dashboard_has_the_form_that_grafana_exports() -> None:
    document = dashboard()
    assert document["schemaVersion"] >= 36
    assert document["uid"]
    variables = {each["name"]: each for each in document["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["type"] in ("stat", "timeseries")
        assert panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_no_panel_lies_on_another_or_leaves_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells


def test_the_dashboard_shows_every_metric() -> None:
    shown = {selector.name for question in questions() for selector in selectors(question)}
    assert set(metrics.FAMILIES) - shown == set()
