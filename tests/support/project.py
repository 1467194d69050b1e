"""The real Pulumi engine on the program, with the sandbox's plugins, in a folder of its own."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support import objects
from tests.support.control_plane import ControlPlane, wait_for
from tests.support.engine import Done, Engine
from workbench.paths import REPOSITORY

# `pulumi stack init` writes into the folder's stack file: the project's own is only linked to.
LINKED: Final = ("__main__.py", "components", "monitoring", "eval", "k8s", "docker")
UNCHANGED: Final = ("same", "read")
# What outlives the stack, as a snapshot of the cluster names it.
KEPT: Final = {"namespaces /vllm-eval", "persistentvolumeclaims vllm-eval/vllm-eval-results"}
JOB: Final = "/apis/batch/v1/namespaces/vllm-eval/jobs/evalchemy"


@dataclass(frozen=True)
class Step:
    """What an update does, or would do, to one object."""

    op: str
    title: str


class Project(Engine):
    """One stack in a backend of its own."""

    def __init__(self, folder: Path, stack: str, groups: Mapping[str, Any], kubeconfig: Path | None) -> None:
        super().__init__(folder, kubeconfig, timeout=300)
        self.stack = stack
        for name in LINKED:
            (folder / name).symlink_to(REPOSITORY / name)
        described = yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text())
        del described["runtime"]["options"]  # the virtual environment is the one that the tests run in
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump(described))
        (folder / "state").mkdir()
        self.pulumi("stack", "init", stack)
        self.write(groups)

    @property
    def file(self) -> Path:
        return self.folder / f"Pulumi.{self.stack}.yaml"

    def write(self, groups: Mapping[str, Any]) -> None:
        """Set the groups; secrets that are set stay."""
        old = yaml.safe_load(self.file.read_text()) if self.file.exists() else {}
        kept = {key: value for key, value in old.get("config", {}).items() if "secure" in str(value)}
        config = {f"vllm-eval:{key}": value for key, value in groups.items()}
        self.file.write_text(yaml.safe_dump({**old, "config": {**config, **kept}}))

    def secret(self, key: str, value: str) -> None:
        self.run(["pulumi", "config", "set", "--secret", f"vllm-eval:{key}"], check=True, stdin=value)

    def pulumi(self, *words: str, check: bool = True) -> Done:
        return self.run(["pulumi", "--non-interactive", "--color=never", *words], check=check)

    def up(self, *words: str, check: bool = True) -> Done:
        return self.pulumi("up", "--yes", "--skip-preview", *words, check=check)

    def destroy(self) -> Done:
        return self.pulumi("destroy", "--yes", "--skip-preview")

    def digest(self, *words: str) -> dict[str, Any]:
        """Return a preview as JSON."""
        done = self.pulumi("preview", "--json", *words)
        found: dict[str, Any] = json.loads(done.out[done.out.index("{") :])
        return found

    def preview(self, *words: str) -> list[Step]:
        """Return what would change."""
        steps = self.digest(*words)["steps"]
        return [Step(each["op"], _title(each["urn"])) for each in steps if each["op"] not in UNCHANGED]

    def state(self) -> str:
        """Return the state file's text."""
        return self.text_of("state")


def named(digest: Mapping[str, Any]) -> set[str]:
    """Return the titles of what a preview names, by :func:`objects.title`; components are nothing of their own."""
    found = set()
    for step in digest["steps"]:
        if step["op"] in UNCHANGED:
            continue
        # Both, since what is replaced may get another name.
        for state in filter(None, (step.get("oldState"), step.get("newState"))):
            if state["type"] == "pulumi:providers:kubernetes":
                found.add("provider")
            elif state["custom"]:
                found.add(objects.title(state["type"].rsplit(":", 1)[-1], state["inputs"]))
    return found


def run_as_argocd(cluster: ControlPlane, project: Project) -> None:
    """Replace the Job with what the Application says, as Force=true,Replace=true does."""
    path = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/vllm-evalchemy-job"
    source = cluster.api.get(path)["spec"]["source"]["kustomize"]
    folder = project.folder / "synced"
    folder.mkdir(exist_ok=True)
    for file in (REPOSITORY / "k8s").iterdir():
        (folder / file.name).write_text(file.read_text())
    kustomization = folder / "kustomization.yaml"
    kustomization.write_text(yaml.safe_dump({**yaml.safe_load(kustomization.read_text()), **source}))
    built = subprocess.run(["kustomize", "build", folder], capture_output=True, text=True, check=True, timeout=60)
    manifests = {each["kind"]: each for each in yaml.safe_load_all(built.stdout)}
    if cluster.api.get(JOB) is not None:
        cluster.api.request("DELETE", JOB, {"propagationPolicy": "Foreground"})
        wait_for("the Job's deletion", lambda: cluster.api.get(JOB) is None)
    cluster.api.apply(JOB, manifests["Job"])
    cluster.api.apply("/apis/batch/v1/namespaces/vllm-eval/cronjobs/evalchemy-nightly", manifests["CronJob"])
    pods = "/api/v1/namespaces/vllm-eval/pods?labelSelector=batch.kubernetes.io/job-name%3Devalchemy"
    # The namespace refuses pods below the restricted standard.
    wait_for("the Job's pod", lambda: len(cluster.api.items(pods)) == 1)


def _title(urn: str) -> str:
    """Return kind and logical name: ``Application application``."""
    qualified, name = urn.split("::")[2:4]
    return f"{qualified.split('$')[-1].rsplit(':', 1)[-1]} {name}"
