"""What a stack declares of monitoring: rules, dashboard, and the gateway with its ServiceMonitor."""

from components import patches, versions
from tests.support import program


def test_nothing_of_monitoring_without_the_operator() -> None:
    found = program.run({**program.stack_file("prod"), "monitoring": {"enabled": False}})
    kinds = {each.kind for each in found.kubernetes()}
    assert not kinds & {"PrometheusRule", "ServiceMonitor", "Deployment", "Service", "ConfigMap"}
    job, _ = patches.of(found.settings)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert {"name": "VLLM_EVAL_PUSHGATEWAY", "value": ""} in container["env"]
    assert "headline_query" not in found.outputs


def test_monitoring_is_found_by_the_configured_label() -> None:
    found = program.run({**program.stack_file("prod"), "monitoring": {"release": "prom", "day": "12h"}})
    for kind in ("PrometheusRule", "ServiceMonitor"):
        assert found.one(kind).metadata["labels"]["release"] == "prom"
    (endpoint,) = found.one("ServiceMonitor").inputs["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True
    expected = [
        rule["labels"]["model"]
        for group in found.one("PrometheusRule").inputs["spec"]["groups"]
        for rule in group["rules"]
        if rule.get("record") == "vllm_eval_expected"
    ]
    assert expected == [model.name for model in found.settings.models]
    dashboard = found.one("ConfigMap")
    assert dashboard.metadata["labels"]["grafana_dashboard"] == "1"
    assert dashboard.metadata["annotations"] == {"grafana_folder": "vLLM"}


def test_labels_that_select_are_added_and_take_none_of_ours() -> None:
    other = {"role": "alert-rules", "release": "theirs", "app.kubernetes.io/part-of": "theirs"}
    groups = {"labels": other, "dashboard_labels": {**other, "dashboards": "yes"}, "folder": "Evaluation"}
    found = program.run({**program.stack_file("prod"), "monitoring": groups})
    for kind in ("PrometheusRule", "ServiceMonitor"):
        have = found.one(kind).metadata["labels"]
        assert have["role"] == "alert-rules"
        assert (have["release"], have["app.kubernetes.io/part-of"]) == ("kube-prometheus-stack", "vllm-eval")
    dashboard = found.one("ConfigMap").metadata
    assert "grafana_dashboard" not in dashboard["labels"]
    assert (dashboard["labels"]["dashboards"], dashboard["labels"]["app.kubernetes.io/part-of"]) == ("yes", "vllm-eval")
    assert dashboard["annotations"] == {"grafana_folder": "Evaluation"}


def test_short_days_still_span_the_scrapes_of_the_gateway() -> None:
    drill = {**program.stack_file("prod"), "monitoring": {"day": "5m", "scrape_interval_seconds": 60}}
    groups = program.run(drill).one("PrometheusRule").inputs["spec"]["groups"]
    (failed,) = [each for group in groups for each in group["rules"] if each.get("alert") == "EvaluationFailed"]
    assert "[3m])" in failed["expr"]


def test_pushgateway_survives_a_restart() -> None:
    found = program.run(program.stack_file("prod"))
    (container,) = found.one("Deployment").inputs["spec"]["template"]["spec"]["containers"]
    assert container["image"] == versions.PUSHGATEWAY_IMAGE
    (mount,) = container["volumeMounts"]
    (file,) = [each.removeprefix("--persistence.file=") for each in container["args"] if "persistence.file" in each]
    assert file.startswith(f"{mount['mountPath']}/")
    assert found.one("Deployment").inputs["spec"]["strategy"] == {"type": "Recreate"}


def test_resources_of_the_gateway_are_laid_over_its_own() -> None:
    group = {"pushgateway": {"resources": {"requests": {"cpu": "20m"}}}}
    deployment = program.run({**program.stack_file("prod"), "monitoring": group}).one("Deployment")
    (container,) = deployment.inputs["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}
