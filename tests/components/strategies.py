"""Random valid settings, as a stack file and its secrets hold them."""

from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

Groups = dict[str, Any]

# Each example runs the program: shrinking would take minutes, and a failing stack is readable as it is.
RUNS_THE_PROGRAM = settings(
    deadline=None,
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
def networks(draw: st.DrawFn) -> Groups:
    if draw(st.booleans()):
        return {"cidr": draw(CIDR), "port": draw(PORT)}
    pods: Groups = {"namespace": draw(WORD), "port": draw(PORT)}
    if draw(st.booleans()):
        pods["labels"] = {"app.kubernetes.io/name": draw(WORD)}
    return pods


@st.composite
def models(draw: st.DrawFn, index: int) -> tuple[Groups, dict[str, str]]:
    secrets: dict[str, str] = {}
    secure = draw(st.booleans())
    model: Groups = {
        "name": f"{draw(ODD_TEXT)}-{index}",
        "tag": f"{draw(ODD_TEXT)}-{index}",
        "endpoint": f"http{'s' if secure else ''}://{draw(WORD)}.{draw(WORD)}.svc:{draw(PORT)}/v1",
        "network": draw(networks()),
    }
    optional: Groups = {
        "served_name": ODD_TEXT,
        "api": st.sampled_from(["completions", "chat"]),
        "concurrency": st.integers(1, 64),
        "baseline": st.builds(lambda run: {"run": run}, WORD),
    }
    for key, values in optional.items():
        if draw(st.booleans()):
            model[key] = draw(values)
    if draw(st.booleans()):
        model["api_key"] = f"key-{index}"
        secrets[f"endpoint-key-{index}"] = "canary-key"
    if secure and draw(st.booleans()):
        model["ca"] = f"ca-{index}"
        secrets[f"endpoint-ca-{index}"] = "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----"
    return model, secrets


@st.composite
def evaluations(draw: st.DrawFn) -> Groups:
    results: Groups = draw(
        st.sampled_from(
            [{}, {"access_mode": "ReadWriteMany", "size": "5Gi", "storage_class": "nfs"}, {"url": "s3://bucket/folder"}]
        )
    )
    results = {**results, "keep": draw(st.booleans())}
    shared = "url" in results or results.get("access_mode") == "ReadWriteMany"
    group: Groups = {"results": results, "parallelism": draw(st.integers(1, 8)) if shared else 1}
    optional: Groups = {
        "namespace": st.sampled_from(["vllm-eval", "evaluations"]),
        "schedule": st.sampled_from(["0 3 * * *", "@daily", None]),
        "time_zone": st.sampled_from(["Etc/UTC", "Asia/Seoul"]),
        "limit": st.integers(1, 500),
        "deadline_seconds": st.integers(60, 100_000),
        "endpoint_wait_seconds": st.integers(0, 3600),
        "answer_max_age_seconds": st.integers(0, 100_000),
        "resources": st.sampled_from(
            [{"requests": {"cpu": "100m", "memory": "512Mi"}}, {"limits": {"cpu": "2", "nvidia.com/gpu": "1"}}]
        ),
        "egress": st.lists(st.builds(lambda cidr, port: {"cidr": cidr, "port": port}, CIDR, PORT), max_size=2),
    }
    for key, values in optional.items():
        if draw(st.booleans()):
            group[key] = draw(values)
    return group


@st.composite
def stacks(draw: st.DrawFn) -> tuple[Groups, dict[str, str]]:
    """Draw the groups and the secrets of a stack; `evaluation.owner` is left to the test."""
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
    install = draw(st.booleans())
    groups: Groups = {
        "cluster": {"context": draw(WORD)},
        "git": {"repository": git, "revision": draw(st.sampled_from(["main", "v1.2", "release/x"]))},
        "argocd": {"install": install, **({"values": {"server": {"replicas": 2}}} if install else {})},
        "evaluation": draw(evaluations()),
        "monitoring": draw(st.sampled_from([{}, {"enabled": False}, {"release": "prom", "day": "1h"}])),
        "models": [model for model, _ in drawn],
    }
    return groups, secrets
