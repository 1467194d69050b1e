"""The alerts outlive Prometheus: a real one, stopped, killed and started again on its data."""

import time
from pathlib import Path

from monitoring.promql import own_stack
from monitoring.recording import REFERENCE, SCORE
from monitoring.rules import make_groups
from monitoring.thresholds import Windows
from tests.support.monitoring import promtool
from tests.support.monitoring.contract import Run
from tests.support.monitoring.prometheus import Gateway, Prometheus, gateway, serve, wait_for, write_history

DAY = 24  # each start of Prometheus must take less
WINDOWS = Windows(day=DAY, interval=1, lookback=12, hold=2, stale=36, grace=12, unsettled=36, usual=7 * DAY)
LABELS = promtool.labels(stack="prod", task="t", model="m")


def _show(page: Gateway, score: float, tag: str) -> None:
    run = Run("m", tag, "t", score, time.time() - 3600, baseline=None, verdict="no_baseline")
    page.text = "".join(f"{name} {value!r}\n" for name, value in run.series())


def _firing(server: Prometheus, alert: str) -> bool:
    found = server.alerts().get(alert)
    return found is not None and found["state"] == "firing"


def _wait_until_both_fire(server: Prometheus) -> None:
    for alert in ("CustomTaskRegression", "EvaluationStale"):
        wait_for(f"{alert} to fire", lambda alert=alert: _firing(server, alert))  # type: ignore[misc]


def test_a_drop_and_a_stop_outlive_a_restart_and_a_crash(tmp_path: Path) -> None:
    now = time.time()
    # The rules' own memory of a score of 0.8, up to now; from now on the gateway shows 0.6.
    write_history(tmp_path, [(SCORE.name + LABELS, 0.8, now - ago) for ago in range(60, 0, -1)])
    rules = promtool.write_rules(tmp_path / "rules.json", make_groups(own_stack("prod"), WINDOWS))
    with gateway() as page:
        _show(page, 0.6, "v1")
        with serve(tmp_path, rules=[rules], targets=[page.address]) as server:
            _wait_until_both_fire(server)
            dropped = time.time()

        _show(page, 0.6, "v2")
        with serve(tmp_path, rules=[rules], targets=[page.address], crash=True) as server:
            wait_for("a day to pass", lambda: time.time() > dropped + DAY + WINDOWS.lookback, seconds=120)
            assert _firing(server, "CustomTaskRegression"), "the drop became its own day before"
            assert server.value(REFERENCE.name) == 0.8
            assert _firing(server, "EvaluationStale")

        with serve(tmp_path, rules=[rules], targets=[page.address]) as server:
            _wait_until_both_fire(server)
            assert server.value(REFERENCE.name) == 0.8
            texts = server.alerts()["CustomTaskRegression"]["annotations"]
            assert "exact match is 60% with tag v2, down from 80%" in texts["description"]
            _show(page, 0.79, "v3")
            wait_for("the alert to end", lambda: "CustomTaskRegression" not in server.alerts())
