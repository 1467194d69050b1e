"""What a stack declares: over random valid settings, and for the three committed stacks."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import labels, patches, versions
from components.job import load as load_job
from components.settings import problems
from tests.components import objects, program, strategies
from tests.components.program import Stack
from tests.components.test_settings import EVERY_FIELD

STACKS = ("dev", "prod", "local")
STANDARD = {labels.NAME, labels.PART_OF, labels.INSTANCE, labels.MANAGED_BY}

Drawn = tuple[strategies.Groups, dict[str, str]]
OWNER = st.sampled_from(["argocd", "pulumi", "none"])
IMAGE = strategies.images()


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest) -> Stack:
    return program.run(program.stack_file(request.param), stack=request.param)


def with_owner(drawn: Drawn, owner: str, image: strategies.Groups | None = None) -> Stack:
    groups, secrets = drawn
    chosen = image if owner == "pulumi" and image else {}
    return program.run({**groups, "image": chosen, "evaluation": {**groups["evaluation"], "owner": owner}}, secrets)


def the_job(found: Stack) -> dict[str, Any]:
    """Return the Job as either owner makes it."""
    return load_job(patches.of(found.settings), found.settings.evaluation.namespace, found.settings.stack)


def test_random_settings_reach_every_setting() -> None:
    seen: set[str] = set()

    @given(drawn=strategies.stacks(), image=IMAGE)
    @settings(max_examples=300, derandomize=True, database=None)
    def draw(drawn: Drawn, image: strategies.Groups) -> None:
        seen.update(keys({**drawn[0], "image": image}))

    draw()
    every = {problems.full_key(path).removeprefix("vllm-eval:") for path in EVERY_FIELD}
    # The tests choose the owner themselves.
    assert every - {re.sub(r"\[\d+\]", "[0]", key) for key in seen} == {"evaluation.owner"}


def keys(value: object, path: str = "") -> Iterator[str]:
    """Yield the path of everything that is set."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from keys(inner, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from keys(inner, f"{path}[{index}]")


@given(drawn=strategies.stacks(), owner=OWNER, image=IMAGE)
@settings(strategies.RUNS_THE_PROGRAM, max_examples=30)
def test_every_object_has_one_owner(drawn: Drawn, owner: str, image: strategies.Groups) -> None:
    found = with_owner(drawn, owner, image)
    identities = [each.identity for each in found.kubernetes()]
    assert len(identities) == len(set(identities))
    # What Argo CD syncs: everything in k8s/, less what the stack's patches mark as local configuration.
    source = str(found.one("Application").inputs["spec"]["source"]["kustomize"])
    given_up = next(iter(patches.LOCAL_CONFIG)) in source
    argocds = {
        (kind, found.settings.evaluation.namespace, manifest["metadata"]["name"])
        for kind, manifest in objects.synced().items()
        if not (kind == "Job" and given_up)
    }
    assert argocds & set(identities) == set()
    job = ("Job", found.settings.evaluation.namespace, labels.EVALUATION)
    assert (job in argocds, job in identities) == {
        "argocd": (True, False),
        "pulumi": (False, True),
        "none": (False, False),
    }[owner]


@given(drawn=strategies.stacks())
@settings(strategies.RUNS_THE_PROGRAM, max_examples=20)
def test_both_owners_run_the_same_pod(drawn: Drawn) -> None:
    by_pulumi = with_owner(drawn, "pulumi")
    by_argocd = with_owner(drawn, "argocd")
    sent = by_argocd.one("Application").inputs["spec"]["source"]["kustomize"]["patches"]
    also = by_pulumi.one("Application").inputs["spec"]["source"]["kustomize"]["patches"]
    assert also[: len(sent)] == sent
    assert len(also) == len(sent) + 1  # what keeps Argo CD from the Job
    assert by_pulumi.one("Job").inputs["spec"] == the_job(by_argocd)["spec"]


@given(drawn=strategies.stacks(), owner=OWNER)
@settings(strategies.RUNS_THE_PROGRAM, max_examples=30)
def test_every_reference_resolves(drawn: Drawn, owner: str) -> None:
    found = with_owner(drawn, owner)
    identities = {each.identity for each in found.kubernetes()}
    namespace = found.settings.evaluation.namespace
    synced = the_job(found)["spec"]["template"]
    every = [(each.metadata["namespace"], pod) for each, pod in objects.pods(found)] + [(namespace, synced)]
    for where, pod in every:
        for kind, name in objects.references(pod["spec"]):
            assert (kind, where, name) in identities, f"{kind} {where}/{name}"
    for each in found.one("ServiceAccount").inputs.get("imagePullSecrets", []):
        assert ("Secret", namespace, each["name"]) in identities
    # The namespace of an Argo CD that others install is documented as outside of the stack.
    outside = set() if found.settings.argocd.install else {found.settings.argocd.namespace}
    namespaces = {each.metadata["name"] for each in found.kubernetes() if each.kind == "Namespace"} | outside
    assert {each.metadata["namespace"] for each in found.kubernetes() if "namespace" in each.metadata} <= namespaces
    assert found.one("Application").inputs["spec"]["project"] == found.one("AppProject").metadata["name"]


@given(drawn=strategies.stacks(), owner=OWNER)
@settings(strategies.RUNS_THE_PROGRAM, max_examples=20)
def test_every_selector_finds_its_pods(drawn: Drawn, owner: str) -> None:
    found = with_owner(drawn, owner)
    running = [pod["metadata"]["labels"] for _, pod in objects.pods(found)]
    running.append(the_job(found)["spec"]["template"]["metadata"]["labels"])
    for policy in (each for each in found.kubernetes() if each.kind == "NetworkPolicy"):
        spec = policy.inputs["spec"]
        assert any(objects.selects(spec["podSelector"], each) for each in running), policy.identity
    if found.settings.monitoring.enabled:
        service = found.one("Service")
        assert objects.selects({"matchLabels": service.inputs["spec"]["selector"]}, running[0])
        assert objects.selects(found.one("ServiceMonitor").inputs["spec"]["selector"], service.metadata["labels"])
        ports = {each["name"] for each in service.inputs["spec"]["ports"]}
        assert {each["port"] for each in found.one("ServiceMonitor").inputs["spec"]["endpoints"]} <= ports


@given(drawn=strategies.stacks(), owner=OWNER)
@settings(strategies.RUNS_THE_PROGRAM, max_examples=20)
def test_an_evaluation_pod_may_reach_models_gateway_and_dns_and_nothing_else(drawn: Drawn, owner: str) -> None:
    found = with_owner(drawn, owner)
    egress = found.one("NetworkPolicy", labels.EVALUATION).inputs["spec"]["egress"]
    ports = [{each["port"] for each in rule["ports"]} for rule in egress]
    wanted = {model.network.port for model in found.settings.models}
    wanted |= {each.port for each in found.settings.evaluation.egress}
    wanted |= {9091} if found.settings.monitoring.enabled else set()
    assert set().union(*ports) == wanted | {53}
    assert all("to" in rule for rule in egress[1:])
    assert egress == [rule for index, rule in enumerate(egress) if rule not in egress[:index]]
    deny = found.one("NetworkPolicy", "default-deny").inputs["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@pytest.mark.parametrize(
    ("scraper", "namespaces", "pods"),
    [
        ({}, {}, {"app.kubernetes.io/name": "prometheus"}),
        (
            {"namespace": "watch", "labels": {"app": "prom"}},
            {"matchLabels": {"kubernetes.io/metadata.name": "watch"}},
            {"app": "prom"},
        ),
    ],
    ids=["default", "set"],
)
def test_the_gateway_is_open_to_evaluations_and_prometheus_alone(
    scraper: dict[str, Any], namespaces: dict[str, Any], pods: dict[str, str]
) -> None:
    found = program.run({**program.stack_file("prod"), "monitoring": {"prometheus": scraper}})
    spec = found.one("NetworkPolicy", labels.PUSHGATEWAY).inputs["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 9091}]
    assert rule["from"] == [
        {"podSelector": {"matchLabels": labels.selector(labels.EVALUATION)}},
        {"namespaceSelector": namespaces, "podSelector": {"matchLabels": pods}},
    ]


@given(drawn=strategies.stacks(), owner=OWNER)
@settings(strategies.RUNS_THE_PROGRAM, max_examples=30)
def test_secrets_are_marked_and_nowhere_else(drawn: Drawn, owner: str) -> None:
    found = with_owner(drawn, owner)
    for each in found.resources.values():
        text = str(each.inputs)
        if each.kind == "Secret":
            assert each.secrets, each.identity
            assert all(path.startswith(".stringData") for path in each.secrets)
        elif each.kind != "Release":
            assert "canary" not in text, each.urn
    assert "canary" not in str(found.outputs)
    held = {key for each in found.kubernetes() if each.kind == "Secret" for key in each.inputs["stringData"]}
    assert {key.removeprefix("endpoint-") for key in drawn[1] if key.startswith("endpoint-")} <= held


def test_the_admin_hash_reaches_the_release_as_a_secret() -> None:
    hashed = "$2a$10$" + "c" * 53
    found = program.run(program.stack_file("prod"), {"argocd-admin-hash": hashed})
    release = found.one("Release")
    assert release.inputs["values"]["configs"]["secret"]["argocdServerAdminPassword"] == hashed
    assert release.secrets == (".values.configs.secret.argocdServerAdminPassword",)
    assert "argocd_password_command" not in found.outputs


def assert_policies(found: Stack) -> None:
    """Labels and namespaces everywhere, requests, limits and the restricted standard in every pod."""
    for each in found.kubernetes():
        if each.kind != "Release":
            assert each.metadata["labels"].keys() >= STANDARD, each.identity
            assert each.metadata["labels"][labels.PART_OF] == "vllm-eval"
            assert each.metadata["labels"][labels.INSTANCE] == found.settings.stack
        if each.kind != "Namespace":
            assert each.metadata["namespace"] in {
                found.settings.evaluation.namespace,
                found.settings.argocd.namespace,
            }, each.identity
        assert each.metadata.get("namespace") != "default", each.identity
    assert found.one("Application").inputs["spec"]["project"] != "default"
    namespace = found.one("Namespace", found.settings.evaluation.namespace).metadata["labels"]
    assert {namespace[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}
    synced = the_job(found)["spec"]["template"]
    for pod in [pod for _, pod in objects.pods(found)] + [synced]:
        assert pod["metadata"]["labels"].keys() >= {labels.NAME, labels.PART_OF}
        objects.assert_restricted(pod["spec"])


@given(drawn=strategies.stacks(), owner=OWNER, image=IMAGE)
@settings(strategies.RUNS_THE_PROGRAM, max_examples=30)
def test_random_settings_keep_to_the_policies(drawn: Drawn, owner: str, image: strategies.Groups) -> None:
    assert_policies(with_owner(drawn, owner, image))


def test_committed_stacks_keep_to_the_policies(stack: Stack) -> None:
    assert_policies(stack)


def test_everything_of_argocd_that_runs_has_requests_and_a_memory_limit() -> None:
    values = program.run(program.stack_file("prod")).one("Release").inputs["values"]
    off = {"dex", "notifications"}
    assert all(values[name]["enabled"] is False for name in off)
    assert values["applicationSet"]["replicas"] == 0
    for name in ("controller", "repoServer", "server", "redis", "redisSecretInit"):
        assert values[name]["resources"]["requests"].keys() == {"cpu", "memory"}, name
        assert values[name]["resources"]["limits"].keys() == {"memory"}, name


def test_resources_of_the_gateway_are_laid_over_its_own() -> None:
    group = {"pushgateway": {"resources": {"requests": {"cpu": "20m"}}}}
    deployment = program.run({**program.stack_file("prod"), "monitoring": group}).one("Deployment")
    (container,) = deployment.inputs["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}


def test_argocd_may_sync_this_repository_into_one_namespace(stack: Stack) -> None:
    project, application = stack.one("AppProject").inputs["spec"], stack.one("Application").inputs["spec"]
    assert application["project"] == "vllm-eval"
    assert project["sourceRepos"] == [application["source"]["repoURL"]]
    destination = {"server": "https://kubernetes.default.svc", "namespace": "vllm-eval"}
    assert project["destinations"] == [destination]
    assert application["destination"] == destination
    assert project["clusterResourceWhitelist"] == [{"group": "", "kind": "Namespace", "name": "vllm-eval"}]
    allowed = {(each["group"], each["kind"]) for each in project["namespaceResourceWhitelist"]}
    synced = {(each["apiVersion"].split("/")[0], kind) for kind, each in objects.synced().items()}
    assert allowed == synced
    assert "*" not in str(project)


def test_the_application_syncs_what_changed_and_nothing_else(stack: Stack) -> None:
    application = stack.one("Application")
    assert application.metadata["name"] == "vllm-evalchemy-job"
    assert application.metadata["namespace"] == "argocd"
    assert application.metadata["finalizers"] == ["resources-finalizer.argocd.argoproj.io"]
    assert application.metadata["annotations"]["argocd.argoproj.io/compare-options"] == "ServerSideDiff=false"
    spec = application.inputs["spec"]
    assert spec["source"]["path"] == "k8s"
    policy = spec["syncPolicy"]
    assert policy["automated"] == {"prune": True, "selfHeal": True}
    # Neither Replace nor ServerSideApply for all: the Job's own annotation says what it needs.
    assert policy["syncOptions"] == ["CreateNamespace=true", "ApplyOutOfSyncOnly=true"]
    assert policy["retry"]["limit"] > 0


def test_the_release_is_named_and_pinned(stack: Stack) -> None:
    release = stack.one("Release")
    assert release.inputs["name"] == "argocd"
    assert release.inputs["namespace"] == "argocd"
    assert release.inputs["version"] == versions.ARGOCD_CHART
    assert re.fullmatch(r"\d+\.\d+\.\d+", release.inputs["version"])
    assert release.inputs["repositoryOpts"] == {"repo": "https://argoproj.github.io/argo-helm"}
    assert release.inputs["timeout"] == 600
    values = release.inputs["values"]
    assert values["global"]["image"] == {"repository": "quay.io/argoproj/argocd", "tag": "v3.6.1"}
    assert values["crds"]["keep"] is True


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ({"chart": "oci://registry.example/charts/argo-cd", "version": "9.9.9"}, {"version": "9.9.9"}),
        ({"repository": "https://mirror.example/helm"}, {"repositoryOpts": {"repo": "https://mirror.example/helm"}}),
        ({"timeout_seconds": 60}, {"timeout": 60}),
    ],
)
def test_the_chart_may_come_from_elsewhere(group: dict[str, Any], expected: dict[str, Any]) -> None:
    inputs = program.run({**program.stack_file("prod"), "argocd": group}).one("Release").inputs
    assert {key: inputs[key] for key in expected} == expected
    assert ("repositoryOpts" in inputs) == (not str(group.get("chart", "")).startswith("oci:"))


def test_a_local_chart_has_neither_repository_nor_version(tmp_path: Any) -> None:  # noqa: ANN401
    (tmp_path / "Chart.yaml").write_text("name: argo-cd\n")
    inputs = program.run({**program.stack_file("prod"), "argocd": {"chart": str(tmp_path)}}).one("Release").inputs
    assert inputs["chart"] == str(tmp_path)
    assert not inputs.keys() & {"version", "repositoryOpts"}


def test_values_are_laid_over_ours() -> None:
    over = {"server": {"replicas": 3}, "configs": {"cm": {"exec.enabled": "true"}}, "dex": {"enabled": True}}
    group = {"values": over, "reconciliation_seconds": 20, "url": "https://argocd.example.com"}
    values = program.run({**program.stack_file("prod"), "argocd": group}).one("Release").inputs["values"]
    assert values["server"]["replicas"] == 3
    assert values["server"]["resources"]["requests"] == {"cpu": "50m", "memory": "128Mi"}
    assert values["dex"]["enabled"] is True
    assert values["configs"]["cm"] == {
        "exec.enabled": "true",
        "timeout.reconciliation": "20s",
        "timeout.reconciliation.jitter": "10s",
        "admin.enabled": True,
        "url": "https://argocd.example.com",
    }


def test_an_argocd_of_others_is_left_alone() -> None:
    groups = {**program.stack_file("prod"), "argocd": {"install": False, "namespace": "gitops"}}
    found = program.run(groups)
    assert not found.has("Release")
    assert [each.metadata["name"] for each in found.kubernetes() if each.kind == "Namespace"] == ["vllm-eval"]
    assert found.one("Application").metadata["namespace"] == "gitops"
    assert "argocd_password_command" not in found.outputs


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


def test_a_weekly_schedule_is_not_called_stale_all_week() -> None:
    def stale(groups: dict[str, Any]) -> str:
        rules = program.run(groups).one("PrometheusRule").inputs["spec"]["groups"]
        (rule,) = [each for group in rules for each in group["rules"] if each.get("alert") == "EvaluationStale"]
        return str(rule["expr"])

    assert "> 129600)" in stale(program.stack_file("prod"))
    weekly = stale({**program.stack_file("prod"), "monitoring": {"stale": "252h"}})
    assert "> 907200)" in weekly
    assert "> 129600)" not in weekly


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


@pytest.mark.parametrize("keep", [True, False])
def test_results_outlive_the_stack_only_if_the_settings_say_so(keep: bool) -> None:
    groups = program.stack_file("prod")
    found = program.run({**groups, "evaluation": {"results": {"keep": keep}}})
    kept = {each.identity for each in found.kubernetes() if each.retain or each.protect}
    wanted = {("Namespace", "", "vllm-eval"), ("PersistentVolumeClaim", "vllm-eval", "vllm-eval-results")}
    assert kept == (wanted if keep else set())
    assert all(each.retain == each.protect for each in found.kubernetes())


def test_outputs_are_what_people_paste(stack: Stack) -> None:
    context = stack.settings.cluster.context
    assert stack.outputs == {
        "argocd_password_command": f"kubectl --context {context} -n argocd get secret argocd-initial-admin-secret"
        " -o jsonpath='{.data.password}' | base64 -d",
        "argocd_port_forward_command": f"kubectl --context {context} port-forward svc/argocd-server -n argocd 8080:443",
        "application_url": "https://localhost:8080/applications/argocd/vllm-evalchemy-job",
        "evaluation_owner": stack.settings.evaluation.owner.value,
        "dashboard_uid": "vllm-eval",
        "headline_query": "avg(vllm_eval_exact_match{task='custom_task_1'}) by (model_tag)",
    }


def test_the_commands_to_paste_survive_an_odd_context() -> None:
    found = program.run({**program.stack_file("prod"), "cluster": {"context": "team a; rm x"}})
    for name in ("argocd_password_command", "argocd_port_forward_command"):
        assert str(found.outputs[name]).startswith("kubectl --context 'team a; rm x' ")
