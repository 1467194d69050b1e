"""Rules that are wrong in one place: the alerts' cases must notice each of them."""

from pathlib import Path

import pytest
import yaml

from tests.support.monitoring import promtool

RULES = Path(__file__).parents[2] / "monitoring" / "alert-rules.yaml"
CASES = Path(__file__).parents[2] / "tests/integration/monitoring/alerts"
MUTATIONS = [
    (alert, right, wrong)
    for alert, slips in yaml.safe_load(
        Path(__file__).with_name("rule_mutations.yaml").read_text(encoding="utf-8")
    ).items()
    for right, wrong in slips
]


@pytest.mark.bench
@pytest.mark.parametrize(("alert", "right", "wrong"), MUTATIONS)
def test_the_cases_notice(tmp_path: Path, alert: str, right: str, wrong: str) -> None:
    rules = RULES.read_text(encoding="utf-8")
    assert right in rules, "the rules no longer say this: adapt the mutation"
    mutated = tmp_path / "rules.yaml"
    mutated.write_text(_within(rules, alert, right, wrong), encoding="utf-8")
    assert promtool.run("check", "rules", mutated).status == 0, "a mutation must be a valid rule"
    cases = (CASES / f"{alert}.yaml").read_text(encoding="utf-8")
    (tmp_path / "cases.yaml").write_text(
        cases.replace("../../../monitoring/alert-rules.yaml", str(mutated)), encoding="utf-8"
    )
    said = promtool.run("test", "rules", tmp_path / "cases.yaml")
    assert said.status != 0, f"no case of {alert} notices {wrong!r} in place of {right!r}"
    assert "FAILED" in said.output


def _within(rules: str, alert: str, right: str, wrong: str) -> str:
    """Replace in the alert's own rule if it says it there, else everywhere."""
    start = rules.index(f"- alert: {alert}\n")
    end = rules.find("- alert: ", start + 1)
    own = rules[start:end]
    return rules[:start] + own.replace(right, wrong) + rules[end:] if right in own else rules.replace(right, wrong)
