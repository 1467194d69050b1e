"""Stack values as kustomize patches of `k8s/`: the same for both owners of the Job.

Argo CD gets them as `source.kustomize.patches`; where Pulumi declares the Job,
:func:`apply` does to the parsed manifest what kustomize does. They are strategic
merge patches without a `target`: kustomize refuses such a patch when nothing
matches, where a target that matches nothing is passed over in silence.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from components import labels
from components.settings.model import Evaluation, Model, Settings

Manifest = dict[str, Any]

MANIFEST: Final = Path(__file__).resolve().parents[1] / "k8s" / "evalchemy-job.yaml"
LOCAL_CONFIG: Final = {"config.kubernetes.io/local-config": "true"}

# The pod lives longer than the runner's own deadline, so that the runner can say why it ends.
DEADLINE_MARGIN_SECONDS: Final = 900

# Lists whose entries kustomize merges by a key (Kubernetes' patchMergeKey); it replaces all others.
MERGE_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "ports": "containerPort",
}


def model_entry(model: Model) -> dict[str, Any]:
    """Return what the runner learns of a model; defaults are left out, and so is `network`."""
    return model.model_dump(mode="json", exclude={"network"}, exclude_defaults=True)


def models_json(models: Sequence[Model]) -> str:
    """Return the list of models as the runner reads it, compact and with sorted keys."""
    return json.dumps([model_entry(each) for each in models], sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def of(settings: Settings) -> tuple[Manifest, ...]:
    """Return the patches of a stack; see :func:`stack_patches`."""
    return stack_patches(
        stack=settings.stack,
        evaluation=settings.evaluation,
        models=settings.models,
        pushgateway=f"http://{labels.PUSHGATEWAY}:{labels.PUSHGATEWAY_PORT}" if settings.monitoring.enabled else "",
        huggingface=settings.secrets.huggingface_token is not None,
    )


def stack_patches(
    *, stack: str, evaluation: Evaluation, models: Sequence[Model], pushgateway: str, huggingface: bool
) -> tuple[Manifest, ...]:
    """Return what a stack sets on the Job and on the nightly.

    Parameters
    ----------
    stack
        Label ``stack`` of every series.
    evaluation
        The group of settings.
    models
        One pod each.
    pushgateway
        URL to publish to; empty: nothing is published.
    huggingface
        Whether the Secret with the Hugging Face token exists.
    """
    job = _manifest("Job", labels.EVALUATION)
    job["spec"] = {
        "completions": len(models),
        "parallelism": min(evaluation.parallelism, len(models)),
        "template": {
            "metadata": {"annotations": {labels.MODELS_ANNOTATION: models_json(models)}},
            "spec": _pod(stack, evaluation, pushgateway, huggingface=huggingface),
        },
    }
    nightly = _manifest("CronJob", labels.NIGHTLY)
    nightly["spec"] = {"timeZone": evaluation.time_zone, "suspend": evaluation.schedule is None}
    if evaluation.schedule is not None:
        nightly["spec"]["schedule"] = evaluation.schedule
    return job, nightly


def not_emitted() -> Manifest:
    """Return the patch that keeps Argo CD from declaring the Job, while the nightly still copies its spec."""
    patch = _manifest("Job", labels.EVALUATION)
    patch["metadata"]["annotations"] = dict(LOCAL_CONFIG)
    return patch


def kustomize_source(patches: Sequence[Manifest], namespace: str) -> Manifest:
    """Return `source.kustomize` of the Application."""
    moved = {"namespace": namespace} if namespace != labels.NAMESPACE else {}
    return {**moved, "patches": [{"patch": json.dumps(each, sort_keys=True, ensure_ascii=False)} for each in patches]}


def apply(manifest: Manifest, patches: Sequence[Manifest], namespace: str) -> Manifest:
    """Return a manifest with those patches applied that name it, moved to `namespace`.

    Raises
    ------
    ValueError
        If no patch names the manifest: its name or namespace was changed in `k8s/`.
    """
    matching = [each for each in patches if _identity(each) == _identity(manifest)]
    if not matching:
        raise ValueError(
            f"no patch of the stack is for {' '.join(map(str, _identity(manifest)))}; its kind, name or namespace was"
            f" changed: components/labels.py must say the same as k8s/"
        )
    for patch in matching:
        manifest = _merge(manifest, patch)
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def _manifest(kind: str, name: str) -> Manifest:
    return {"apiVersion": "batch/v1", "kind": kind, "metadata": {"name": name, "namespace": labels.NAMESPACE}}


def _identity(manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    metadata = manifest["metadata"]
    return manifest["apiVersion"], manifest["kind"], metadata.get("namespace"), metadata["name"]


def _pod(stack: str, evaluation: Evaluation, pushgateway: str, *, huggingface: bool) -> Manifest:
    results = evaluation.results
    container: Manifest = {
        "name": labels.EVALUATION,
        "env": _environment(stack, evaluation, pushgateway, huggingface=huggingface),
    }
    resources = evaluation.resources.model_dump(exclude_defaults=True)
    if resources:
        container["resources"] = resources
    pod: Manifest = {
        "serviceAccountName": labels.EVALUATION,
        "activeDeadlineSeconds": evaluation.deadline_seconds + DEADLINE_MARGIN_SECONDS,
        "containers": [container],
    }
    if results.url is None:
        claim = {"claimName": labels.RESULTS_CLAIM}
        # null takes the manifest's emptyDir away: a volume has one source.
        pod["volumes"] = [{"name": "results", "emptyDir": None, "persistentVolumeClaim": claim}]
    return pod


def _environment(stack: str, evaluation: Evaluation, pushgateway: str, *, huggingface: bool) -> list[Manifest]:
    values = {
        "VLLM_EVAL_STACK": stack,
        "VLLM_EVAL_PUSHGATEWAY": pushgateway,
        "VLLM_EVAL_DEADLINE_SECONDS": str(evaluation.deadline_seconds),
        "VLLM_EVAL_ENDPOINT_WAIT_SECONDS": str(evaluation.endpoint_wait_seconds),
        "VLLM_EVAL_ANSWER_MAX_AGE_SECONDS": str(evaluation.answer_max_age_seconds),
    }
    if evaluation.results.url is not None:
        values["VLLM_EVAL_RESULTS"] = evaluation.results.url
    if evaluation.limit is not None:
        values["VLLM_EVAL_LIMIT"] = str(evaluation.limit)
    entries: list[Manifest] = [{"name": name, "value": value} for name, value in values.items()]
    if huggingface:
        reference = {"name": labels.HUGGINGFACE_SECRET, "key": "token"}
        entries.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return entries


def _merge(base: Any, patch: Any) -> Any:  # noqa: ANN401 (JSON is any of its types)
    if not isinstance(base, dict) or not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = {key: copy.deepcopy(value) for key, value in base.items() if key not in patch}
    for key, value in patch.items():
        if value is None:
            continue
        if key in MERGE_KEYS and isinstance(base.get(key), list):
            merged[key] = _merge_list(base[key], value, MERGE_KEYS[key])
        else:
            merged[key] = _merge(base[key], value) if key in base else _without_null(value)
    return merged


def _merge_list(base: list[Manifest], patch: list[Manifest], key: str) -> list[Manifest]:
    """Merge by key; as in kustomize the patch's entries come first."""
    old = {entry[key]: entry for entry in base}
    named = [_merge(old[entry[key]], entry) if entry[key] in old else _without_null(entry) for entry in patch]
    return named + [copy.deepcopy(entry) for entry in base if entry[key] not in {each[key] for each in patch}]


def _without_null(value: Any) -> Any:  # noqa: ANN401 (JSON is any of its types)
    if isinstance(value, dict):
        return {key: _without_null(inner) for key, inner in value.items() if inner is not None}
    return [_without_null(each) for each in value] if isinstance(value, list) else value
