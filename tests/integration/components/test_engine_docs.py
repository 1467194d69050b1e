"""The commands of `docs/operations.md`, block by block, on the real engine and a real API server."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import program
from tests.support.control_plane import ControlPlane, control_plane
from tests.support.project import JOB, KEPT, Project, named, run_as_argocd
from workbench.sandbox import chart

BLOCKS = re.findall(r"```sh\n(.*?)```", program.OPERATIONS, re.DOTALL)
INITIAL = "made-up-by-argocd"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("cluster")) as running:
        running.add_context("staging")
        running.offer_volumes("standard")
        yield running


def block(beginning: str) -> list[str]:
    """Return the commands of the one block that begins so."""
    (found,) = [each for each in BLOCKS if each.startswith(beginning)]
    return str(found).splitlines()


@pytest.fixture
def project(cluster: ControlPlane, tmp_path: Path) -> Project:
    """The documented stack, on the cluster and with the chart at hand."""
    settings = program.documented()
    settings["cluster"]["server"] = cluster.api.url
    settings["argocd"] = {"chart": str(chart.write(tmp_path / "chart"))}
    settings["models"][0] |= {"api_key": "gemma-key", "endpoint": "https://vllm.serving.svc.cluster.local:8000/v1"}
    project = Project(tmp_path, "staging", settings, cluster.kubeconfig)
    # The terminal's "yes", and on a machine without one no question.
    project.environment |= {"PULUMI_SKIP_CONFIRMATIONS": "true", "PULUMI_COLOR": "never"}
    (tmp_path / "config.json").write_text('{"auths": {"ghcr.io": {}}}')
    return project


def execute(project: Project, commands: list[str]) -> None:
    for command in commands:
        # What is typed is a secret, or the new passphrase, which here is the old one.
        project.run(["bash", "-ec", command], check=True, stdin=project.environment["PULUMI_CONFIG_PASSPHRASE"])


def test_every_block_does_what_the_text_says(project: Project, cluster: ControlPlane) -> None:
    execute(project, block("pulumi config set --secret"))
    execute(project, block("pulumi config set --path 'vllm-eval:evaluation.limit'"))
    execute(project, ["pulumi stack change-secrets-provider passphrase", "pulumi preview", "pulumi up"])
    assert cluster.api.get("/api/v1/namespaces/vllm-eval/secrets/vllm-eval-registry") is not None
    application = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/vllm-evalchemy-job"
    assert '"tag":"2026"' in str(cluster.api.get(application)["spec"]).replace("\\", "")

    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argocd-initial-admin-secret"}}
    path = "/api/v1/namespaces/argocd/secrets/argocd-initial-admin-secret"
    cluster.api.apply(path, {**secret, "stringData": {"password": INITIAL}})
    shown = project.run(["bash", "-ec", 'eval "$(pulumi stack output argocd_password_command)"'], check=True)
    assert shown.out == INITIAL

    run_as_argocd(cluster, project)
    execute(project, block("pulumi config set --path 'vllm-eval:evaluation.owner' none"))
    assert cluster.api.get(JOB)["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "pulumi"
    execute(project, ["pulumi refresh --expect-no-changes", "pulumi preview --expect-no-changes"])

    execute(project, block("pulumi state unprotect"))
    assert cluster.snapshot() >= KEPT
    assert cluster.api.items("/apis/argoproj.io/v1alpha1/applications") == []
    execute(project, block("pulumi config set --path 'vllm-eval:cluster.adopt'"))
    # The provider no longer takes over; nothing in the cluster differs.
    assert named(project.digest()) == {"provider"}
    execute(project, ["pulumi config set --path 'vllm-eval:evaluation.results.keep' false"])
    execute(project, ["pulumi up", "pulumi destroy"])
    assert not cluster.snapshot() & KEPT


# A cloud that does not answer: what is tested is that the CLI knows the address, and gets as far as asking.
CLOUDLESS = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_REGION": "eu-central-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_MAX_ATTEMPTS": "1",
    "HTTPS_PROXY": "http://127.0.0.1:1",
}


def fault(project: Project, *words: str) -> str:
    done = subprocess.run(
        ["pulumi", "--non-interactive", *words],
        cwd=project.folder,
        env={**project.environment, **CLOUDLESS},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0
    return done.stderr


def test_the_cli_knows_every_documented_backend_and_secrets_provider(tmp_path: Path) -> None:
    project = Project(tmp_path, "staging", {}, None)
    table = program.OPERATIONS.partition("## State and its secrets")[2].partition("A stack's provider")[0]
    schemes = set(re.findall(r"([a-z0-9]+)://", table)) - {"file"}
    backends = {"s3", "gs", "azblob"}
    assert schemes - backends == {"awskms", "gcpkms", "azurekeyvault", "hashivault"}
    assert "unknown backend" in fault(project, "login", "other://x")
    for scheme in backends & schemes:
        assert "unknown backend" not in fault(project, "login", f"{scheme}://bucket")
    assert "unknown secrets provider" in fault(project, "stack", "init", "x", "--secrets-provider=other://x")
    for scheme in schemes - backends:
        told = fault(project, "stack", "init", "x", f"--secrets-provider={scheme}://alias/key")
        assert "unknown secrets provider" not in told
