"""Random valid settings, as a stack file and its secrets hold them."""

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

Groups = dict[str, Any]

# Each example runs the program: shrinking would take minutes, and a failing stack is readable as it is.
RUNS_THE_PROGRAM = settings(
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

WORD = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
ODD_TEXT = st.sampled_from(
    ["google/gemma-3-270m", "한국어 모델", "a b", 'quote"d', "$(HOME)", "{{x}}", "Ünïcode", "null", "1"]
)
CIDR = st.sampled_from(["10.0.0.7/32", "192.168.0.0/16", "fd00::/8", "0.0.0.0/0"])
PORT = st.integers(1, 65535)


@st.composite
def some(draw: st.DrawFn, /, **optional: st.SearchStrategy[Any]) -> Groups:
    """Draw any of the keys; the others keep their defaults."""
    return {key: draw(values) for key, values in optional.items() if draw(st.booleans())}


@st.composite
def networks(draw: st.DrawFn, namespace: str, port: int) -> Groups:
    if draw(st.booleans()):
        return {"cidr": draw(CIDR), "port": port}
    pods: Groups = {"namespace": namespace, "port": draw(PORT)}
    if draw(st.booleans()):
        pods["labels"] = {"app.kubernetes.io/name": draw(WORD)}
    return pods


@st.composite
def models(draw: st.DrawFn, index: int) -> tuple[Groups, dict[str, str]]:
    secrets: dict[str, str] = {}
    secure = draw(st.booleans())
    namespace, port = draw(WORD), draw(PORT)
    model: Groups = {
        "name": f"{draw(ODD_TEXT)}-{index}",
        "tag": f"{draw(ODD_TEXT)}-{index}",
        "endpoint": f"http{'s' if secure else ''}://{draw(WORD)}.{namespace}.svc:{port}/v1",
        "network": draw(networks(namespace, port)),
    }
    model |= draw(
        some(
            served_name=ODD_TEXT,
            api=st.sampled_from(["completions", "chat"]),
            concurrency=st.integers(1, 64),
            baseline=st.builds(lambda run: {"run": run}, WORD),
            generation=st.sampled_from([{"temperature": 0.6, "max_tokens": 900}, {"extra_body": {"knob": [1, None]}}]),
            stream=st.booleans(),
        )
    )
    # A thought needs an end only where there may be one.
    model |= draw(st.sampled_from([{}, {"reasoning": "off"}, {"reasoning": "any", "think_end_token": "</think>"}]))
    if draw(st.integers(0, 2)) == 0:
        model["api_key"] = {"secret": "of-others", "key": "token.txt"}
    elif draw(st.booleans()):
        model["api_key"] = f"key-{index}"
        secrets[f"endpoint-key-{index}"] = "canary-key"
    if secure and draw(st.booleans()):
        model["ca"] = f"ca-{index}"
        secrets[f"endpoint-ca-{index}"] = "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----"
    return model, secrets


RESOURCES = st.sampled_from(
    [{"requests": {"cpu": "100m"}}, {"requests": {"memory": "64Mi"}}, {"limits": {"cpu": "2", "nvidia.com/gpu": "1"}}]
)
POD: Groups = {
    "labels": {"team": "evaluations"},
    "annotations": {"sidecar.istio.io/inject": "false"},
    "nodeSelector": {"pool": "cpu"},
    "tolerations": [{"key": "pool", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
    "priorityClassName": "low",
    "runtimeClassName": "gvisor",
    "imagePullSecrets": [{"name": "registry"}],
    "env": [{"name": "A", "value": ""}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
}
OTHERS = {
    ("ConfigMap", "ca"),
    *(("Secret", name) for name in ("s", "registry", "of-others")),
    ("PersistentVolumeClaim", "of-others"),
}
"""What a drawn pod refers to and the stack does not make."""
PODS = st.sets(st.sampled_from(sorted(POD))).map(lambda keys: {key: POD[key] for key in keys})
USERS = st.sampled_from(
    [
        {},
        {"securityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}},
        {"securityContext": {"fsGroup": 7}},
    ]
)
HUB: Groups = {
    "endpoint": "https://hub.example.com", "network": {"cidr": "0.0.0.0/0", "port": 443},
    "ca": {"secret": "of-others", "key": "ca.crt"},
}  # fmt: skip
DATA = st.sampled_from(
    [
        {"hub": HUB},
        {"hub": {"network": {"namespace": "mirror", "labels": {"app": "mirror"}, "port": 8080}}, "cache": "of-others"},
        {"bundle": {"claim": "of-others"}},
        {"bundle": {"image": "registry.example.com/benchmarks:v1"}},
        {"bundle": {"url": "s3://b/c", "network": {"namespace": "minio", "labels": {"app": "minio"}, "port": 9000}}},
        {"bundle": {"url": "s3://bucket/benchmarks", "network": {"cidr": "10.0.0.9/32", "port": 9000}}},
    ]
)
RESULTS = st.sampled_from(
    [{}, {"access_mode": "ReadWriteMany", "size": "5Gi", "storage_class": "nfs"}, {"url": "s3://bucket/folder"}]
)

REPORTS = some(
    image=st.just("registry.example/runner:v1"),
    readers=st.just([{"namespace": "ingress", "labels": {"app": "nginx"}}]),
    resources=RESOURCES,
)


# Configurations of this checkout, and what they enable.
CONFIGS = {"eval_config": ["custom_task_1", "custom_task_2"], "suites/korean": ["kmmlu_direct", "hrm8k", "kormedmcqa"]}


@st.composite
def evaluations(draw: st.DrawFn) -> Groups:
    results: Groups = {**draw(RESULTS), "keep": draw(st.booleans())}
    shared = "url" in results or results.get("access_mode") == "ReadWriteMany"
    optional = some(
        namespace=st.sampled_from(["vllm-eval", "evaluations"]),
        schedule=st.sampled_from(["0 3 * * *", "@daily", None]),
        time_zone=st.sampled_from(["Etc/UTC", "Asia/Seoul"]),
        limit=st.integers(1, 500),
        deadline_seconds=st.integers(60, 100_000),
        endpoint_wait_seconds=st.integers(0, 3600),
        answer_max_age_seconds=st.integers(0, 100_000),
        resources=RESOURCES,
        egress=st.lists(
            st.one_of(
                st.builds(lambda cidr, port: {"cidr": cidr, "port": port}, CIDR, PORT),
                st.builds(lambda namespace, port: {"namespace": namespace, "port": port}, WORD, PORT),
            ),
            max_size=2,
        ),
        pod=st.builds(lambda pod, users: {**pod, **users}, PODS, USERS),
        queue=WORD,
        language=st.sampled_from(["en", "ko"]),
        huggingface_token=st.just({"secret": "of-others", "key": "token"}),
        config=st.sampled_from(list(CONFIGS)),
        data=DATA,
        account_annotations=st.just({"iam.example/role": "evaluations"}),
    )
    drawn = draw(optional)
    if shared and draw(st.booleans()):
        drawn["report"] = {"service": True, **draw(REPORTS)}
    if "url" in results:
        drawn["egress"] = [*drawn.get("egress", []), {"cidr": "0.0.0.0/0", "port": 443}]
    if "hub" not in drawn.get("data", {}):
        drawn.pop("huggingface_token", None)
    return {"results": results, "parallelism": draw(st.integers(1, 8)) if shared else 1, **drawn}


@st.composite
def argocds(draw: st.DrawFn) -> Groups:
    install = draw(st.booleans())
    ours: Groups = draw(
        some(
            chart=st.just("oci://registry.example/charts/argo-cd"),
            repository=st.just("https://mirror.example/helm"),
            version=st.just("9.9.9"),
            values=st.just({"server": {"replicas": 2}}),
            timeout_seconds=st.integers(30, 3600),
            reconciliation_seconds=st.integers(5, 86400),
            admin=st.booleans(),
            url=st.just("https://argocd.example.com"),
        )
    )
    namespace = draw(
        some(
            namespace=st.sampled_from(["argocd", "gitops"]),
            application=WORD,
            project=WORD,
            own_project=st.booleans(),
            destination=st.just("https://k8s.example.com:6443"),
        )
    )
    if not install and "destination" in namespace and draw(st.booleans()):
        namespace["context"] = "hub"
    return {"install": install, **namespace, **(ours if install else {})}


def monitorings() -> st.SearchStrategy[Groups]:
    gateway = some(
        size=st.just("2Gi"),
        storage_class=st.just("ssd"),
        digest=st.just(f"sha256:{'d' * 64}"),
        resources=RESOURCES,
        image=st.just("registry.example/prom/pushgateway:v1.5.1"),
        pod=PODS,
    )
    inside = st.just({"namespace": "monitoring", "labels": {"app": "pushgateway"}, "port": 9091})
    theirs = st.builds(
        lambda network: {"url": "http://gateway.example.com/push", "network": network},
        st.one_of(inside, st.just({"cidr": "10.0.0.0/24", "port": 9091})),
    )
    return some(
        enabled=st.booleans(),
        release=WORD,
        labels=st.just({"team": "evaluations"}),
        dashboard_labels=st.just({"grafana_dashboard": "yes"}),
        scrape_interval_seconds=st.integers(1, 120),
        day=st.sampled_from(["1h", "24h"]),
        stale=st.sampled_from(["25h", "10d"]),
        folder=ODD_TEXT,
        dashboard_url=st.just("https://grafana.example.com/d/vllm-eval"),
        report_url=st.just("https://reports.example.com/"),
        runbook_url=st.just("https://wiki.example.com/runbook"),
        pushgateway=st.one_of(gateway, gateway, theirs),
        dashboard=st.booleans(),
        prometheus=some(namespace=WORD, labels=st.just({"app": "prometheus"})),
    )


def images() -> st.SearchStrategy[Groups]:
    """Draw the group `image`, which only `evaluation.owner: pulumi` takes."""
    named = some(tag=st.sampled_from(["v1", "2026.11"]))
    way = st.sampled_from([{}, {"digest": f"sha256:{'c' * 64}"}, {"lookup": True}, {"build": True}])
    chosen = st.builds(lambda tag, how: {"repository": "r.example:5000/team/x", **tag, **how}, named, way)
    return st.one_of(st.just({}), chosen)


@st.composite
def stacks(draw: st.DrawFn) -> tuple[Groups, dict[str, str]]:
    """Draw the groups and the secrets of a stack; `evaluation.owner` and `image` are left to the test."""
    drawn = [draw(models(index)) for index in range(draw(st.integers(1, 4)))]
    secrets = {key: value for _, found in drawn for key, value in found.items()}
    private = draw(st.sampled_from(["", "git-password", "git-ssh-key"]))
    if private:
        secrets[private] = "-----BEGIN OPENSSH PRIVATE KEY-----canary" if private == "git-ssh-key" else "canary"
    if draw(st.booleans()):
        secrets["huggingface-token"] = "canary-hf"
    if draw(st.booleans()):
        secrets["registry-credentials"] = '{"auths": {"ghcr.io": {"auth": "canary"}}}'
    git = "ssh://git@git.example.com/x.git" if private == "git-ssh-key" else "https://git.example.com/x.git"
    pinned = some(server=st.just("https://k8s.example.com:6443"))
    outside = st.builds(lambda context, server: {"context": context, **server}, WORD, pinned)
    cluster = st.one_of(outside, st.just({"in_cluster": True}))
    evaluation, monitoring = draw(evaluations()), draw(monitorings())
    tasks = st.lists(st.sampled_from(CONFIGS[evaluation.get("config", "eval_config")]), min_size=1, unique=True)
    for model, _ in drawn:
        model.update(draw(some(tasks=tasks)))
    if "huggingface_token" in evaluation or "hub" not in evaluation.get("data", {}):
        secrets.pop("huggingface-token", None)
    if evaluation.get("schedule", "") is None:
        monitoring["stale"] = "30d"
    argocd, chosen = draw(argocds()), draw(cluster)
    if "in_cluster" in chosen:
        argocd.pop("context", None)
    groups: Groups = {
        "cluster": {**chosen, **draw(some(adopt=st.booleans()))},
        "git": {
            "repository": git,
            **draw(some(revision=st.sampled_from(["main", "v1.2", "release/x"]), username=WORD)),
        },
        "argocd": argocd,
        "evaluation": evaluation,
        "monitoring": monitoring,
        "models": [model for model, _ in drawn],
    }
    return groups, secrets
