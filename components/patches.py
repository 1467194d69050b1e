"""Stack values as kustomize patches of `k8s/`: the same for both owners of the Job.

Argo CD gets them as `source.kustomize.patches`; where Pulumi declares the Job,
:func:`apply` does to the parsed manifest what kustomize does. They are strategic
merge patches without a `target`: kustomize refuses such a patch when nothing
matches, but ignores a patch whose target matches nothing.
"""

import copy
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from components import labels
from components.settings.data import Data
from components.settings.model import EvaluationSettings, Language, Model, Settings
from components.settings.monitored import Monitoring
from components.settings.pod import template_patch
from components.settings.secret_key import SecretKey
from vllm_eval.settings import RunSettings

Manifest = dict[str, Any]

MANIFEST: Final = Path(__file__).resolve().parents[1] / labels.JOB_MANIFEST
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

HUGGINGFACE: Final = SecretKey(secret=labels.HUGGINGFACE_SECRET, key="token")
# Variables that a stack may set on the container in addition to those of the manifest.
VARIABLES: Final = frozenset(
    (
        "VLLM_EVAL_CONFIG", "VLLM_EVAL_LIMIT", "VLLM_EVAL_ENDPOINT_WAIT_SECONDS", "MODEL_ENDPOINT", "MODEL_NAME",
        "MODEL_TAG", "VLLM_EVAL_LANGUAGE",
        "VLLM_EVAL_DATA", "VLLM_EVAL_HUB_CA", "HF_TOKEN", "HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE",
        "HF_DATASETS_OFFLINE",
    )
)  # fmt: skip
# Where the volumes of `evaluation.data` are mounted, by their names.
DATA_MOUNTS: Final = {"benchmarks": "/opt/vllm-eval/benchmarks", "hub-cache": "/var/cache/huggingface"}


def manifest() -> Manifest:
    """Return a copy of the Job's manifest in `k8s/`."""
    return copy.deepcopy(_read(MANIFEST))


def container() -> Manifest:
    """Return a copy of the container of the Job's manifest."""
    (found,) = manifest()["spec"]["template"]["spec"]["containers"]
    return dict(found)


@functools.cache
def _read(path: Path) -> Manifest:
    content: Manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def model_entry(model: Model) -> dict[str, Any]:
    """Return a model as the runner gets it: without defaults and `network`."""
    entry = model.model_dump(mode="json", exclude={"network"}, exclude_defaults=True)
    named = {
        field: file_name(each) for field in ("api_key", "ca") if isinstance(each := getattr(model, field), SecretKey)
    }
    return {**entry, **named}


def file_name(secret: SecretKey) -> str:
    """Return the name of the file of a Secret's key. Its dot sets it apart: names of the stack's secrets have none."""
    return f"{secret.secret}.{secret.key}"


def models_json(models: Sequence[Model]) -> str:
    """Return the list of models as the runner reads it, compact and with sorted keys."""
    return json.dumps([model_entry(each) for each in models], sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def of(settings: Settings) -> tuple[Manifest, ...]:
    """Return the patches of a stack; see :func:`stack_patches`."""
    return stack_patches(
        stack=settings.stack,
        evaluation=settings.evaluation,
        models=settings.models,
        pushgateway=gateway_url(settings.monitoring),
        huggingface=settings.evaluation.huggingface_token
        or (HUGGINGFACE if settings.secrets.huggingface_token is not None else None),
    )


def stack_patches(
    *,
    stack: str,
    evaluation: EvaluationSettings,
    models: Sequence[Model],
    pushgateway: str,
    huggingface: SecretKey | None,
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
        Where the Hugging Face token is.
    """
    job = _manifest("Job", labels.EVALUATION)
    job["spec"] = {
        "completions": len(models),
        "parallelism": min(evaluation.parallelism, len(models)),
        "template": {
            "metadata": {"annotations": {labels.MODELS_ANNOTATION: models_json(models)}},
            "spec": _pod(stack, evaluation, models, pushgateway, huggingface),
        },
    }
    own = template_patch(evaluation.pod, labels.EVALUATION)
    users = _manifest("Job", labels.EVALUATION)
    users["spec"] = {"template": own}
    nightly = _manifest("CronJob", labels.NIGHTLY)
    nightly["spec"] = {"timeZone": evaluation.time_zone, "suspend": evaluation.schedule is None}
    if evaluation.schedule is not None:
        nightly["spec"]["schedule"] = evaluation.schedule
    if evaluation.queue is not None:
        # Kueue sets `suspend` on Jobs that it has not admitted. Argo CD keeps it: the Job's manifest does not set it.
        queued = {labels.QUEUE: evaluation.queue}
        job["metadata"]["labels"] = queued
        nightly["spec"]["jobTemplate"] = {"metadata": {"labels": queued}}
    return (job, nightly, users) if own else (job, nightly)


def gateway_url(monitoring: Monitoring) -> str:
    """Return the URL that scores are published to; empty: they are not published."""
    if not monitoring.enabled:
        return ""
    return monitoring.pushgateway.url or f"http://{labels.PUSHGATEWAY}:{labels.PUSHGATEWAY_PORT}"


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
        manifest = lay(manifest, patch)
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def _manifest(kind: str, name: str) -> Manifest:
    return {"apiVersion": "batch/v1", "kind": kind, "metadata": {"name": name, "namespace": labels.NAMESPACE}}


def _identity(manifest: Mapping[str, Any]) -> tuple[Any, ...]:
    metadata = manifest["metadata"]
    return manifest["apiVersion"], manifest["kind"], metadata.get("namespace"), metadata["name"]


def _pod(
    stack: str, evaluation: EvaluationSettings, models: Sequence[Model], pushgateway: str, huggingface: SecretKey | None
) -> Manifest:
    results = evaluation.results
    container: Manifest = {
        "name": labels.EVALUATION,
        "env": _environment(stack, evaluation, pushgateway, huggingface),
    }
    resources = evaluation.resources.model_dump(exclude_defaults=True)
    if resources:
        container["resources"] = resources
    pod: Manifest = {
        "serviceAccountName": labels.EVALUATION,
        "activeDeadlineSeconds": evaluation.deadline_seconds + DEADLINE_MARGIN_SECONDS,
        "containers": [container],
    }
    # null removes the manifest's source, because a volume can have only one.
    volumes: list[Manifest] = []
    if results.url is None:
        claim = {"claimName": labels.RESULTS_CLAIM}
        volumes.append({"name": "results", "emptyDir": None, "persistentVolumeClaim": claim})
    if others := _others_secrets(models, evaluation.data):
        volumes.append({"name": "secrets", "secret": None, "projected": {"sources": others}})
    if mounted := _data_volumes(evaluation.data):
        volumes += mounted
        container["volumeMounts"] = [
            {"name": each["name"], "mountPath": DATA_MOUNTS[each["name"]], "readOnly": each["name"] == "benchmarks"}
            for each in mounted
        ]
    if volumes:
        pod["volumes"] = volumes
    return pod


def _data_volumes(data: Data | None) -> list[Manifest]:
    """Return the volumes of a bundle and of the hub's cache."""
    volumes: list[Manifest] = []
    if data is None:
        return volumes
    if data.bundle is not None and data.bundle.claim is not None:
        claim = {"claimName": data.bundle.claim, "readOnly": True}
        volumes.append({"name": "benchmarks", "persistentVolumeClaim": claim})
    if data.bundle is not None and data.bundle.image is not None:
        volumes.append({"name": "benchmarks", "image": {"reference": data.bundle.image, "pullPolicy": "IfNotPresent"}})
    if data.cache is not None:
        volumes.append({"name": "hub-cache", "persistentVolumeClaim": {"claimName": data.cache}})
    return volumes


def _data_variables(data: Data | None) -> dict[str, str]:
    """Return the variables that tell the runner where to find the items."""
    values: dict[str, str] = {}
    if data is None:
        return values
    if data.bundle is not None:
        values["VLLM_EVAL_DATA"] = data.bundle.url or DATA_MOUNTS["benchmarks"]
    if data.hub is not None:
        values |= {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "HF_ENDPOINT": data.hub.endpoint}
        if data.hub.ca is not None:
            values["VLLM_EVAL_HUB_CA"] = f"{RunSettings.secrets}/{file_name(data.hub.ca)}"
    if data.cache is not None:
        values["HF_HOME"] = DATA_MOUNTS["hub-cache"]
    return values


def _others_secrets(models: Sequence[Model], data: Data | None) -> list[Manifest]:
    """Return the sources of the secrets' volume if a model or the hub names a Secret of others; else none."""
    found = {each for model in models for each in (model.api_key, model.ca) if isinstance(each, SecretKey)}
    if data is not None and data.hub is not None and data.hub.ca is not None:
        found.add(data.hub.ca)
    items: dict[str, list[Manifest]] = {}
    for each in sorted(found, key=file_name):
        items.setdefault(each.secret, []).append({"key": each.key, "path": file_name(each)})
    # Not optional: the pod waits for a Secret that does not exist yet, since its owner may be slower than Argo CD.
    named = [{"secret": {"name": name, "items": each}} for name, each in items.items()]
    return [{"secret": {"name": labels.ENDPOINT_SECRET, "optional": True}}, *named] if named else []


def _environment(
    stack: str, evaluation: EvaluationSettings, pushgateway: str, huggingface: SecretKey | None
) -> list[Manifest]:
    values = {
        "VLLM_EVAL_STACK": stack,
        "VLLM_EVAL_PUSHGATEWAY": pushgateway,
        "VLLM_EVAL_DEADLINE_SECONDS": str(evaluation.deadline_seconds),
        "VLLM_EVAL_ENDPOINT_WAIT_SECONDS": str(evaluation.endpoint_wait_seconds),
        "VLLM_EVAL_ANSWER_MAX_AGE_SECONDS": str(evaluation.answer_max_age_seconds),
    }
    if evaluation.results.url is not None:
        values["VLLM_EVAL_RESULTS"] = evaluation.results.url
    if evaluation.language is not Language.ENGLISH:
        values["VLLM_EVAL_LANGUAGE"] = evaluation.language.value
    if evaluation.limit is not None:
        values["VLLM_EVAL_LIMIT"] = str(evaluation.limit)
    if evaluation.config is not None:
        values["VLLM_EVAL_CONFIG"] = f"{RunSettings.config.parent}/{evaluation.config}.json"
    values |= _data_variables(evaluation.data)
    entries: list[Manifest] = [{"name": name, "value": value} for name, value in values.items()]
    if huggingface is not None:
        reference = {"name": huggingface.secret, "key": huggingface.key}
        entries.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return entries


def lay(base: Any, patch: Any) -> Any:  # noqa: ANN401 (JSON is any of its types)
    """Return `base` with a strategic merge patch laid over it, as kustomize does."""
    if not isinstance(base, dict) or not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = {key: copy.deepcopy(value) for key, value in base.items() if key not in patch}
    for key, value in patch.items():
        if value is None:
            continue
        if key in MERGE_KEYS and isinstance(base.get(key), list):
            merged[key] = _merge_list(base[key], value, MERGE_KEYS[key])
        else:
            merged[key] = lay(base[key], value) if key in base else _without_null(value)
    return merged


def _merge_list(base: list[Manifest], patch: list[Manifest], key: str) -> list[Manifest]:
    """Merge by key; as in kustomize the patch's entries come first."""
    old = {entry[key]: entry for entry in base}
    named = [lay(old[entry[key]], entry) if entry[key] in old else _without_null(entry) for entry in patch]
    return named + [copy.deepcopy(entry) for entry in base if entry[key] not in {each[key] for each in patch}]


def _without_null(value: Any) -> Any:  # noqa: ANN401 (JSON is any of its types)
    if isinstance(value, dict):
        return {key: _without_null(inner) for key, inner in value.items() if inner is not None}
    return [_without_null(each) for each in value] if isinstance(value, list) else value
