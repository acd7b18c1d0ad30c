"""docs/howto-metrics.rst: the table of all figures, the alerts, and the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests import PROJECT
from tests.fleet.http.test_metrics import MeterCase
from thing.fleet.redis.presence import FOLLOWING, HEARING, WRITING

DOCS = PROJECT / "docs"
ALERTS = DOCS / "examples" / "alerts.yml"
DASHBOARD = DOCS / "examples" / "grafana.json"
STORIES = PROJECT / "tests" / "docs" / "alerts.yml"

TARGETS = {"job", "instance"}
"""The labels that Prometheus gives, by where a figure is from."""

VARIABLES = {"$instance": ".+", "$__rate_interval": "5m"}
"""What Grafana puts in place of its variables."""


RULE = re.compile(r"(\w+)\n +expr: (?:>-\n)?(.+?)\n(?: +for: \w+\n)?(?:\n.*)?", re.DOTALL)


def alerts() -> dict[str, str]:
    """The expressions of the alerts, by name, each in one line."""
    found = {}
    for rule in ALERTS.read_text().split("- alert: ")[1:]:
        match = RULE.fullmatch(rule)
        assert match is not None, rule
        found[match[1]] = " ".join(match[2].split())
    return found


def queries() -> list[str]:
    """The expressions of the dashboard's panels, as Grafana asks."""
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            found.append(expression)
    return found


class PageTests(MeterCase):
    """The table of all figures."""

    def names(self) -> dict[str, str]:
        """The figures of Thing's own, by the names of their samples, and what they are."""
        return {
            name + ("_total" if family.type == "counter" else ""): family.documentation
            for name, family in self.families().items()
            if name.startswith("thing_")
        }

    def test_table(self) -> None:
        """The table has every figure with the words of its help, and no other."""
        text = (DOCS / "howto-metrics.rst").read_text()
        rows = re.findall(
            r"   \* - ``(thing_\w+)``\n     - (\w+).*\n     - ([^*]+?)\n(?=   \*|\n)", text
        )
        told = {name: " ".join(words.split()) for name, _, words in rows}
        self.assertEqual(told, self.names())
        types = {name: kind for name, kind, _ in rows}
        for name, family in self.families().items():
            if name.startswith("thing_"):
                full = name + ("_total" if family.type == "counter" else "")
                self.assertEqual(types[full], family.type, full)

    def test_labels(self) -> None:
        """The table names the labels that the samples have."""
        for _ in range(2):
            self.connect(self.home, "lamp")
        self.advance(5)
        text = (DOCS / "howto-metrics.rst").read_text()
        for name, family in self.families().items():
            labels = {label for each in family.samples for label in each.labels} - {"le"}
            for label in labels if name.startswith("thing_") else ():
                row = re.search(rf"``{name}(?:_total)?``\n     - (.*)\n", text)
                assert row is not None, name
                self.assertIn(f"``{label}``", row[1])


class ExpressionTests(MeterCase):
    """What alerts and dashboard ask for is there, under the names, labels and values they say."""

    def setUp(self) -> None:
        super().setUp()
        self.share("connected", dict.fromkeys((WRITING, HEARING, FOLLOWING), ""))
        self.found: dict[str, list[dict[str, str]]] = {"up": [{}]}
        for family in self.families().values():
            for sample in family.samples:
                self.found.setdefault(sample.name, []).append(sample.labels)

    def asked(self, expression: str) -> set[str]:
        """The figures of an expression; all that is asked of them is checked."""
        selectors = re.findall(r"\b(up|(?:thing|process)_\w+)\b(?:\{([^}]*)\})?", expression)
        self.assertTrue(selectors, expression)
        labels = set(TARGETS)
        for name, matchers in selectors:
            self.assertIn(name, self.found, expression)
            labels.update(*self.found[name])
            for label, values in re.findall(r'(\w+)[!=]~?"([^"]*)"', matchers):
                if label in TARGETS:
                    continue
                known = {sample.get(label) for sample in self.found[name]}
                for value in values.split("|"):
                    self.assertIn(value, known, f"{label} in {expression}")
        for grouping in re.findall(r"\b(?:by|on|without|ignoring) \(([^)]*)\)", expression):
            for label in grouping.split(","):
                self.assertIn(label.strip(), labels, expression)
        return {name for name, _ in selectors}

    def test_alerts(self) -> None:
        """The alerts' figures."""
        for expression in alerts().values():
            self.asked(expression)

    def test_dashboard(self) -> None:
        """The dashboard's figures; what tells of sessions, registry and reaches is among them."""
        asked = set().union(*map(self.asked, queries()))
        for name in ("sessions", "registry_up", "registry_connection_up", "reaches_total"):
            self.assertIn(f"thing_{name}", asked)

    def test_names(self) -> None:
        """The page says of each alert what it means, and each rings in one of the stories."""
        page, stories = (DOCS / "howto-metrics.rst").read_text(), STORIES.read_text()
        terms = re.findall(r"(?m)^``Thing\w+``.*$", page)
        told = re.findall(r"``(Thing\w+)``", "".join(terms))
        self.assertEqual(sorted(told), sorted(alerts()))
        for name in alerts():
            self.assertIn(f'alertname="{name}"', stories)

    def test_layout(self) -> None:
        """The dashboard's panels have titles and places that do not overlap."""
        dashboard = json.loads(DASHBOARD.read_text())
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            self.assertTrue(panel["title"])
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells


class PromtoolTests(SynchronousTestCase):
    """What Prometheus itself says."""

    promtool: ClassVar[Any] = shutil.which("promtool")
    if promtool is None:
        skip = "there is no promtool, which comes with Prometheus"

    def run_(self, *words: str | Path) -> None:
        """Run promtool; it must be content."""
        done = subprocess.run(
            [self.promtool, *words], capture_output=True, text=True, timeout=120, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_stories(self) -> None:
        """What happens to a fleet rings those alerts that it should, and no others."""
        self.run_("test", "rules", STORIES)

    def test_syntax(self) -> None:
        """Rules and the dashboard's expressions are what Prometheus understands."""
        path = Path(self.mktemp())
        rules = [
            {"record": f"panel:{number}", "expr": expression}
            for number, expression in enumerate(queries())
        ]
        path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
        self.run_("check", "rules", ALERTS, path)
