"""The stack's patches do the same to the manifests in kustomize's hands as in Pulumi's."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components import patches
from tests.support import program, strategies
from workbench.paths import REPOSITORY

K8S = REPOSITORY / "k8s"
JOB = K8S / "evalchemy-job.yaml"


def kustomize(folder: Path, source: dict[str, Any]) -> list[dict[str, Any]]:
    """Build `k8s/` with what the Application says, as Argo CD's repository server does."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(REPOSITORY / "k8s", folder)
    file = folder / "kustomization.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **source}))
    built = subprocess.run(["kustomize", "build", folder], capture_output=True, text=True, check=False, timeout=60)
    assert built.returncode == 0, built.stderr
    return [each for each in yaml.safe_load_all(built.stdout) if each]


@given(drawn=strategies.stacks(), owner=st.sampled_from(["argocd", "pulumi", "none"]))
@settings(strategies.RUNS_THE_PROGRAM, max_examples=15)
def test_kustomize_and_pulumi_make_the_same_job(
    tmp_path: Path, drawn: tuple[strategies.Groups, dict[str, str]], owner: str
) -> None:
    groups, secrets = drawn
    groups = {**groups, "evaluation": {**groups["evaluation"], "owner": owner}}
    stack = program.run(groups, secrets)
    source = stack.one("Application").inputs["spec"]["source"]["kustomize"]
    # kustomize itself leaves out what is marked as local configuration.
    synced = {each["kind"]: each for each in kustomize(tmp_path / "k8s", source)}
    assert set(synced) == ({"Job", "CronJob"} if owner == "argocd" else {"CronJob"})

    ours = patches.apply(
        yaml.safe_load(JOB.read_text()), patches.of(stack.settings), stack.settings.evaluation.namespace
    )
    if owner == "argocd":
        assert synced["Job"] == ours
    assert synced["CronJob"]["spec"]["jobTemplate"]["spec"] == ours["spec"]
    assert synced["CronJob"]["metadata"]["namespace"] == stack.settings.evaluation.namespace

    if owner == "pulumi":
        declared = stack.one("Job").inputs
        assert declared["spec"] == ours["spec"]


def test_kustomize_refuses_a_patch_whose_object_was_renamed(tmp_path: Path) -> None:
    stack = program.run(program.stack_file("prod"))
    source = stack.one("Application").inputs["spec"]["source"]["kustomize"]
    folder = tmp_path / "k8s"
    kustomize(folder, {})
    manifest = folder / "evalchemy-job.yaml"
    manifest.write_text(manifest.read_text().replace("name: evalchemy\n", "name: other\n", 1))
    file = folder / "kustomization.yaml"
    text = yaml.safe_load(file.read_text())
    text["replacements"][0]["source"]["name"] = "other"
    file.write_text(yaml.safe_dump({**text, **source}))
    built = subprocess.run(["kustomize", "build", folder], capture_output=True, text=True, check=False, timeout=60)
    assert built.returncode != 0
    assert "no resource matches strategic merge patch" in built.stderr


def test_kustomize_gives_the_nightly_the_jobs_spec() -> None:
    built = subprocess.run(["kustomize", "build", K8S], capture_output=True, text=True, check=True, timeout=60)
    objects = {each["kind"]: each for each in yaml.safe_load_all(built.stdout)}
    assert objects["CronJob"]["spec"]["jobTemplate"]["spec"] == objects["Job"]["spec"]
    assert objects["Job"] == yaml.safe_load(JOB.read_text())
    assert set(objects) == {"Job", "CronJob"}
