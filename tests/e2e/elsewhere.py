"""A cluster of somebody's own: what its engineer types, what Argo CD and Git hold for them, and all that is there."""

import base64
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.e2e import gitops
from tests.e2e.endpoints import Endpoint
from workbench.cluster import evaluation, report, requests
from workbench.cluster.kubectl import kubectl, query
from workbench.cluster.requests import DeployRequest
from workbench.cluster.stack import laid_over
from workbench.cluster.stack import plugins as plugins_of
from workbench.paths import Paths
from workbench.sandbox import ci, git
from workbench.sandbox.cluster import apply
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import Runner, WorkbenchError, run, wait_for

STACK: Final = "elsewhere"
LIMIT: Final = 100  # with fewer, even a large drop can be honestly inconclusive
HUB: Final = "hub"
ACCOUNT: Final = "argocd-manager"
# Other tests push evaluation code to the sandbox's own stack meanwhile.
PUSHED: Final = frozenset({"Job vllm-eval/evalchemy", "CronJob vllm-eval/evalchemy-nightly"})
# The sandbox's one API server under another name: Argo CD takes it for a cluster that is not its own.
OTHER_NAME: Final = "https://kubernetes.default"
# All that a stack, Argo CD, the operator or a test makes, but pods and what follows them.
KINDS: Final = (
    *("namespaces", "configmaps", "secrets", "serviceaccounts", "services", "persistentvolumeclaims"),
    *("deployments.apps", "statefulsets.apps", "jobs.batch", "cronjobs.batch", "networkpolicies.networking.k8s.io"),
    *("roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io"),
    *("clusterroles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io"),
    *("customresourcedefinitions.apiextensions.k8s.io", "applications.argoproj.io", "appprojects.argoproj.io"),
    *("prometheusrules.monitoring.coreos.com", "servicemonitors.monitoring.coreos.com"),
    *("alertmanagerconfigs.monitoring.coreos.com", "prometheuses.monitoring.coreos.com"),
    "alertmanagers.monitoring.coreos.com",
)
Contents = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Elsewhere:
    """A cluster, a clone of the project with a stack file for it, and a Pulumi backend of its own.

    `beside` tells that the cluster is the sandbox's, where another stack and others' Argo CD are.
    """

    runner: Runner
    context: str
    clone: Path
    env: Mapping[str, str]
    namespace: str
    endpoint: Endpoint
    beside: bool

    @property
    def file(self) -> Path:
        """The stack file."""
        return self.clone / f"Pulumi.{STACK}.yaml"

    def run(self, *words: str | Path, stdin: str | None = None) -> str:
        """Run a command in the clone, where the cluster can be reached."""
        return self.runner.run(["env", "-C", self.clone, *words], env=self.env, stdin=stdin, timeout=1200)

    def make(self, command: str, **options: str) -> str:
        """Run what `make COMMAND CONTEXT=… STACK=…` runs."""
        asked = {"context": self.context, "stack": STACK, **options}
        if self.beside:  # a cluster that can be lost
            asked["standins"] = "1"
        words = (f"--{name.replace('_', '-')}={value}" for name, value in asked.items())
        return self.run(sys.executable, "-m", "workbench", command, *words)

    def up(self, **options: str) -> str:
        """Run what `make up` runs, for the endpoint."""
        return self.make(
            "up", **{"model_endpoint": self.endpoint.url, "model": self.endpoint.name, "limit": str(LIMIT), **options}
        )

    def keep(self) -> None:
        """Write into the stack file what `up` took from its options."""
        asked = DeployRequest(endpoint=self.endpoint.url, model=self.endpoint.name, limit=str(LIMIT))
        self.file.write_text(laid_over(self.file.read_text(), requests.settings(asked)))

    def pulumi(self, *words: str) -> str:
        """Run pulumi on the stack, with the plugins that `make up` takes."""
        path = self.run("sh", "-c", "echo $PATH").strip()
        plugins = [f"{key}={value}" for key, value in plugins_of(Paths.of_this_clone(), path).items()]
        return self.run("env", *plugins, "pulumi", "--non-interactive", *words, "--stack", STACK)

    def run_again(self, name: str) -> None:
        """Evaluate as the nightly would, in a Job of this name, and wait for its end."""
        where = ("-n", self.namespace)
        kubectl(self.runner, *where, "create", "job", name, "--from=cronjob/evalchemy-nightly")
        kubectl(self.runner, *where, "wait", "--for=condition=Complete", f"job/{name}", "--timeout=240s", timeout=300)

    def firing(self, alert: str) -> list[dict[str, str]]:
        """Return the labels of an alert that fires in the cluster's Prometheus, for each task."""
        series = query(self.runner, f'ALERTS{{alertname="{alert}",alertstate="firing",stack="{STACK}"}}')
        return [labels for labels, _ in series]

    def scores(self) -> list[tuple[str, float, int]]:
        """Return task, score and number of items; the number that was to be asked is also a failed run's."""
        return [(each.task, each.exact_match, each.samples) for each in report.scores(self.runner, STACK)]

    def job(self) -> evaluation.JobState:
        """Return the Job, which must exist."""
        found = evaluation.job(self.runner, self.namespace)
        assert found is not None
        return found

    def rendered(self) -> list[dict[str, Any]]:
        """Return what `make render` writes, of a hub's stack as if Argo CD were in the stack's own cluster."""
        file = yaml.safe_load(self.file.read_text())
        file["config"].get("vllm-eval:argocd", {}).pop("context", None)
        folder, changed = self.clone / "rendered", self.clone / "without-hub.yaml"
        changed.write_text(yaml.safe_dump(file))
        self.run(
            *(sys.executable, "-m", "components.render"), f"--stack={STACK}", f"--file={changed}", f"--folder={folder}"
        )
        names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        return [yaml.safe_load((folder / name).read_text()) for name in names]


@contextmanager
def hub(sandbox: Sandbox, folder: Path) -> Iterator[Path]:
    """Make the sandbox's Argo CD a hub that knows the same cluster as another one, by its name `elsewhere`.

    Yields
    ------
    Path
        A kubeconfig in which the hub has a context of its own.
    """
    account = {"name": ACCOUNT, "namespace": "kube-system"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    objects: list[dict[str, object]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ACCOUNT},
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
    ]
    apply(sandbox, objects)
    token = kubectl(sandbox, "-n", "kube-system", "create", "token", ACCOUNT, "--duration=4h").strip()
    trusted = ("-n", "argocd", "get", "configmap", "kube-root-ca.crt", "-o", r"jsonpath={.data.ca\.crt}")
    authority = base64.b64encode(kubectl(sandbox, *trusted).encode()).decode()
    login = {"bearerToken": token, "tlsClientConfig": {"caData": authority}}
    secret: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "cluster-elsewhere",
            "namespace": "argocd",
            "labels": {"argocd.argoproj.io/secret-type": "cluster"},
        },
        "stringData": {"name": STACK, "server": OTHER_NAME, "config": json.dumps(login)},
    }
    apply(sandbox, [secret])
    config = yaml.safe_load(sandbox.kubeconfig.read_text())
    config["contexts"].append({**config["contexts"][0], "name": HUB})
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    try:
        yield kubeconfig
    finally:
        for words in (
            ("-n", "argocd", "delete", "secret", "cluster-elsewhere"),
            ("delete", "clusterrolebinding", ACCOUNT),
            ("-n", "kube-system", "delete", "serviceaccount", ACCOUNT),
        ):
            kubectl(sandbox, *words, "--ignore-not-found")


class Fork:
    """A fork on the sandbox's git server, whose releases are tags."""

    URL: Final = "http://git.sandbox:3000/fork.git"

    def __init__(self, sandbox: Sandbox, version: str) -> None:
        self._sandbox = sandbox
        self._bare = git.repository(sandbox).with_name("fork.git")
        shutil.rmtree(self._bare, ignore_errors=True)
        git.git(sandbox, "clone", "--quiet", "--bare", git.repository(sandbox), self._bare)
        git.git(sandbox, f"--git-dir={self._bare}", "tag", version, "main")

    def release(self, version: str, folder: Path) -> str:
        """Merge a runner that differs, as CI would: with its image, and both in the manifest; return its commit."""
        run(["git", "clone", "--quiet", self._bare, folder])
        with (folder / gitops.EDIT).open("a") as file:
            file.write(f"# {version}\n")
        environment = {**self._sandbox.env(), **git.IDENTITY}
        run(["git", "-C", folder, "commit", "--quiet", "--all", "--message", version], env=environment)
        run(["git", "-C", folder, "push", "--quiet", "origin", "main"])
        commit = run(["git", "-C", folder, "rev-parse", "HEAD"]).strip()
        ci.release_image(self._sandbox, commit, folder, tag=version, repository=self._bare)
        git.git(self._sandbox, f"--git-dir={self._bare}", "tag", version, "main")
        return commit


def contents(runner: Runner) -> Contents:
    """Return every object of a cluster by kind, namespace and name, without its status and what counts its writes.

    What a controller has made of another object has no identity either: it may make it anew.
    """
    found: Contents = {}
    for each in json.loads(kubectl(runner, "get", ",".join(KINDS), "-A", "-o", "json"))["items"]:
        made = ("uid", "creationTimestamp") if "ownerReferences" in each["metadata"] else ()
        # Argo CD's kinds count what is written into their status, too.
        for key in ("resourceVersion", "managedFields", "generation", *made):
            each["metadata"].pop(key, None)
        each.pop("status", None)
        found[title(each)] = each
    return found


def title(each: Mapping[str, Any]) -> str:
    """Return kind, namespace and name of an object."""
    metadata = each["metadata"]
    return f"{each['kind']} {metadata.get('namespace', '')}/{metadata['name']}".replace(" /", " ")


def changes(before: Contents, after: Contents) -> set[str]:
    """Return what was made, changed, replaced (which is another UID) or removed."""
    return {each for each in before.keys() | after.keys() if before.get(each) != after.get(each)}


def recorded(export: str) -> set[str]:
    """Return the objects in what `pulumi stack export` prints, by their titles."""
    listed = json.loads(export)["deployment"].get("resources", [])
    objects = [each["outputs"] for each in listed if each["type"].startswith("kubernetes:")]
    return {title(each) for each in objects if "kind" in each}


def wait_until_as_before(runner: Runner, before: Contents) -> None:
    """Wait until controllers have followed and all is as it was but what a push changes."""

    def same() -> bool:
        if found := changes(before, contents(runner)) - PUSHED:
            raise WorkbenchError(f"made, changed or removed: {', '.join(sorted(found))}")
        return True

    wait_for("the cluster as it was", same, seconds=60)
