"""Rules on `k8s/`: what Argo CD syncs, and what people apply by hand."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import labels, patches
from tests.support.objects import assert_restricted
from vllm_eval import metrics
from vllm_eval.settings import INCREMENTAL_JOB, RunSettings
from workbench.paths import REPOSITORY

K8S = REPOSITORY / "k8s"


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((K8S / name).read_text())
    return found


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    return manifest("evalchemy-job.yaml")


@pytest.fixture(scope="module")
def nightly() -> dict[str, Any]:
    return manifest("evalchemy-nightly.yaml")


@pytest.fixture(scope="module")
def pod(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["template"]["spec"]
    return found


def test_kustomization_lists_every_manifest() -> None:
    listed = manifest("kustomization.yaml")["resources"]
    assert sorted(listed) == sorted(each.name for each in K8S.iterdir() if each.name != "kustomization.yaml")


def test_names_are_what_the_program_patches(job: dict[str, Any], nightly: dict[str, Any]) -> None:
    for each, kind, name in ((job, "Job", labels.EVALUATION), (nightly, "CronJob", labels.NIGHTLY)):
        assert (each["apiVersion"], each["kind"]) == ("batch/v1", kind)
        assert each["metadata"]["name"] == name
        assert each["metadata"]["namespace"] == labels.NAMESPACE
        assert each["metadata"]["labels"] == {labels.NAME: name, labels.PART_OF: labels.PROJECT}
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["name"] == labels.EVALUATION


def test_a_changed_job_is_re_created(job: dict[str, Any]) -> None:
    # Either alone fails: Replace meets the immutable template, Force meets server-side apply.
    assert job["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "Force=true,Replace=true"


@pytest.mark.parametrize("file", sorted(K8S.glob("*.yaml")), ids=lambda each: each.name)
def test_no_manifest_has_a_ttl_or_a_hook(file: Path) -> None:
    settings = [line.split("#")[0] for line in file.read_text().splitlines()]
    # With a TTL, self-heal would put the removed Job back, and so run it for ever.
    for word in ("ttlSecondsAfterFinished", "argocd.argoproj.io/hook", "sync-wave", "helm.sh/hook", "generateName"):
        assert not [line for line in settings if word in line], word


def test_one_broken_endpoint_hides_no_other_score(job: dict[str, Any]) -> None:
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["backoffLimitPerIndex"] >= 1
    # The Job's deadline and its total of failures would end the other indexes too.
    assert not spec.keys() & {"activeDeadlineSeconds", "backoffLimit", "maxFailedIndexes", "suspend"}
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    ignore, fail = spec["podFailurePolicy"]["rules"]
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    assert fail["action"] == "FailIndex"
    assert fail["onExitCodes"] == {"containerName": labels.EVALUATION, "operator": "In", "values": [2, 4, 5]}


def test_the_pod_outlives_the_runners_own_deadline(pod: dict[str, Any]) -> None:
    environment = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    deadline = int(environment["VLLM_EVAL_DEADLINE_SECONDS"])
    assert pod["activeDeadlineSeconds"] == deadline + patches.DEADLINE_MARGIN_SECONDS


def test_it_needs_nothing_that_only_pulumi_makes(job: dict[str, Any], pod: dict[str, Any]) -> None:
    assert "serviceAccountName" not in pod
    assert "imagePullSecrets" not in pod
    volumes = {each.pop("name"): each for each in yaml.safe_load(yaml.safe_dump(pod["volumes"]))}
    assert volumes["results"] == {"emptyDir": {}}
    assert volumes["tmp"] == {"emptyDir": {}}
    assert volumes["secrets"]["secret"] == {"secretName": labels.ENDPOINT_SECRET, "optional": True}
    assert job["spec"]["template"]["metadata"]["annotations"][labels.MODELS_ANNOTATION] == "[]"


def test_it_finds_models_commit_and_run_id_where_the_runner_looks(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts == {
        "pod": str(RunSettings.models_file.parent),
        "secrets": str(RunSettings.secrets),
        "results": RunSettings.results,
        "tmp": "/tmp",  # noqa: S108 (a path in the pod)
    }
    (volume,) = [each for each in pod["volumes"] if each["name"] == "pod"]
    files = {each["path"]: each["fieldRef"]["fieldPath"] for each in volume["downwardAPI"]["items"]}
    assert files == {
        RunSettings.models_file.name: f"metadata.annotations['{labels.MODELS_ANNOTATION}']",
        RunSettings.git_commit_file.name: f"metadata.annotations['{labels.COMMIT_ANNOTATION}']",
    }
    environment = {each["name"]: each for each in container["env"]}
    run_id = environment["VLLM_EVAL_RUN_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert run_id == "metadata.labels['batch.kubernetes.io/controller-uid']"
    job_name = environment["VLLM_EVAL_JOB_NAME"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert job_name == f"metadata.labels['{labels.JOB_NAME}']"
    assert environment["VLLM_EVAL_DEADLINE_SECONDS"]["value"] == f"{RunSettings.deadline:.0f}"
    assert environment["VLLM_EVAL_ANSWER_MAX_AGE_SECONDS"]["value"] == f"{RunSettings.answer_max_age:.0f}"
    assert pod["activeDeadlineSeconds"] == RunSettings.deadline + patches.DEADLINE_MARGIN_SECONDS
    assert labels.EVALUATION == INCREMENTAL_JOB
    assert environment["VLLM_EVAL_RESULTS"]["value"] == mounts["results"]
    assert environment["VLLM_EVAL_PUSHGATEWAY"]["value"] == f"http://{labels.PUSHGATEWAY}:{labels.PUSHGATEWAY_PORT}"
    # There is no default model.
    assert not environment.keys() & {"MODEL_ENDPOINT", "MODEL_NAME", "MODEL_TAG", "JOB_COMPLETION_INDEX"}
    assert metrics.PUSH_JOB == labels.PROJECT


def test_it_keeps_to_the_restricted_standard(pod: dict[str, Any]) -> None:
    assert_restricted(pod)
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (65532, 65532)
    (container,) = pod["containers"]
    assert all("ephemeral-storage" in container["resources"][each] for each in ("requests", "limits"))


def test_the_image_is_pulled_at_every_run_and_its_tag_stays_latest(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert container["imagePullPolicy"] == "Always"
    # The digest comes with the write-back: docs/adr/image-digest.md.
    assert re.fullmatch(r"[a-z0-9./-]+/vllm-eval-evalchemy:latest(@sha256:[0-9a-f]{64})?", container["image"])
    assert container["args"] == ["run"]


def test_the_nightly_has_no_copy_of_the_job(nightly: dict[str, Any]) -> None:
    assert nightly["spec"]["jobTemplate"]["spec"] == {}
    assert nightly["spec"]["concurrencyPolicy"] == "Forbid"
    assert nightly["spec"]["startingDeadlineSeconds"] >= 60
