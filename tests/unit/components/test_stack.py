"""What a stack declares: over random valid settings, and for the three committed stacks."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import labels, patches
from components.job import load as load_job
from tests.support import objects, program, strategies
from tests.support.program import Stack

STANDARD = {labels.NAME, labels.PART_OF, labels.INSTANCE, labels.MANAGED_BY}

Drawn = tuple[strategies.Groups, dict[str, str]]
OWNER = st.sampled_from(["argocd", "pulumi", "none"])
IMAGE = strategies.images()


def with_owner(drawn: Drawn, owner: str, image: strategies.Groups | None = None) -> Stack:
    groups, secrets = drawn
    chosen = image if owner == "pulumi" and image else {}
    return program.run({**groups, "image": chosen, "evaluation": {**groups["evaluation"], "owner": owner}}, secrets)


def the_job(found: Stack) -> dict[str, Any]:
    """Return the Job as either owner makes it."""
    return load_job(patches.of(found.settings), found.settings.evaluation.namespace, found.settings.stack)


@given(drawn=strategies.stacks(), owner=OWNER, image=IMAGE)
@settings(strategies.RUNS_THE_PROGRAM, max_examples=40)
def test_any_stack_is_sound(drawn: Drawn, owner: str, image: strategies.Groups) -> None:
    found = with_owner(drawn, owner, image)
    assert_one_owner(found, owner)
    assert_references(found)
    assert_selectors(found)
    assert_egress(found)
    assert_secrets(found, drawn[1])
    assert_policies(found)


def assert_one_owner(found: Stack, owner: str) -> None:
    """Every object has one owner."""
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
@settings(strategies.RUNS_THE_PROGRAM, max_examples=10)
def test_both_owners_run_the_same_pod(drawn: Drawn) -> None:
    by_pulumi = with_owner(drawn, "pulumi")
    by_argocd = with_owner(drawn, "argocd")
    sent = by_argocd.one("Application").inputs["spec"]["source"]["kustomize"]["patches"]
    also = by_pulumi.one("Application").inputs["spec"]["source"]["kustomize"]["patches"]
    assert also[: len(sent)] == sent
    assert len(also) == len(sent) + 1  # what keeps Argo CD from the Job
    assert by_pulumi.one("Job").inputs["spec"] == the_job(by_argocd)["spec"]


def assert_references(found: Stack) -> None:
    """Every name in a pod or an Application is that of an object."""
    identities = {each.identity for each in found.kubernetes()}
    namespace = found.settings.evaluation.namespace
    synced = the_job(found)["spec"]["template"]
    every = [(each.metadata["namespace"], pod) for each, pod in objects.pods(found)] + [(namespace, synced)]
    for where, pod in every:
        for kind, name in objects.references(pod["spec"]):
            if (kind, name) in strategies.OTHERS:
                continue
            assert (kind, where, name) in identities, f"{kind} {where}/{name}"
    for each in found.one("ServiceAccount").inputs.get("imagePullSecrets", []):
        assert ("Secret", namespace, each["name"]) in identities
    # The namespace of an Argo CD that others install is documented as outside of the stack.
    outside = set() if found.settings.argocd.install else {found.settings.argocd.namespace}
    namespaces = {each.metadata["name"] for each in found.kubernetes() if each.kind == "Namespace"} | outside
    assert {each.metadata["namespace"] for each in found.kubernetes() if "namespace" in each.metadata} <= namespaces
    if found.settings.argocd.own_project:
        assert found.one("Application").inputs["spec"]["project"] == found.one("AppProject").metadata["name"]


def assert_selectors(found: Stack) -> None:
    """Every selector finds its pods."""
    running = [pod["metadata"]["labels"] for _, pod in objects.pods(found)]
    running.append(the_job(found)["spec"]["template"]["metadata"]["labels"])
    for policy in (each for each in found.kubernetes() if each.kind == "NetworkPolicy"):
        spec = policy.inputs["spec"]
        assert any(objects.selects(spec["podSelector"], each) for each in running), policy.identity
    for service in (each for each in found.kubernetes() if each.kind == "Service"):
        selector = {"matchLabels": service.inputs["spec"]["selector"]}
        assert sum(objects.selects(selector, each) for each in running) == 1, service.identity
    if found.has("ServiceMonitor"):
        service = found.one("Service", labels.PUSHGATEWAY)
        assert objects.selects(found.one("ServiceMonitor").inputs["spec"]["selector"], service.metadata["labels"])
        ports = {each["name"] for each in service.inputs["spec"]["ports"]}
        assert {each["port"] for each in found.one("ServiceMonitor").inputs["spec"]["endpoints"]} <= ports


def assert_egress(found: Stack) -> None:
    """An evaluation pod may reach models, gateway and DNS, and nothing else."""
    egress = found.one("NetworkPolicy", labels.EVALUATION).inputs["spec"]["egress"]
    ports = [{each["port"] for each in rule["ports"]} for rule in egress]
    wanted = {model.network.port for model in found.settings.models}
    wanted |= {each.port for each in found.settings.evaluation.egress}
    if (data := found.settings.evaluation.data) is not None:
        wanted |= {each.network.port for each in (data.hub, data.bundle) if each is not None and each.network}
    wanted |= {9091} if found.settings.monitoring.enabled else set()  # a gateway of others has that port, too
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


def assert_secrets(found: Stack, secrets: dict[str, str]) -> None:
    """Secrets are marked, and nowhere else."""
    for each in found.resources.values():
        text = str(each.inputs)
        if each.kind == "Secret":
            assert each.secrets, each.identity
            assert all(path.startswith(".stringData") for path in each.secrets)
        elif each.kind != "Release":
            assert "canary" not in text, each.urn
    assert "canary" not in str(found.outputs)
    held = {key for each in found.kubernetes() if each.kind == "Secret" for key in each.inputs["stringData"]}
    assert {key.removeprefix("endpoint-") for key in secrets if key.startswith("endpoint-")} <= held


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


def test_committed_stacks_keep_to_the_policies(stack: Stack) -> None:
    assert_policies(stack)


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
