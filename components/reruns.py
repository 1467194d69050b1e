"""Says in previews what an update will run, and refuses to hand the Job from one owner straight to the other.

Both look at what the stack last declared, which only the engine's hooks see.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pulumi

from components.labels import PROJECT
from components.patches import MODELS_ANNOTATION
from components.settings.model import Owner
from vllm_eval import models as runner
from vllm_eval.config import load_config

CONFIG: Final = Path(__file__).resolve().parents[1] / "eval" / "evalchemy" / "configs" / "eval_config.json"
OWNER: Final = f"{PROJECT}/owner"
"""Annotation of the Application; the next update compares with it."""


class OwnerChangeError(pulumi.RunError):
    """The Job would go from one owner to the other within one update."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(
            f"evaluation.owner cannot change from {old} to {new} in one update: the old owner's late delete would take"
            f" the Job that the new one has just made. Run `pulumi config set --path '{PROJECT}:evaluation.owner' none`"
            f" and `pulumi up` first, wait until the Job is gone, then set {new}."
        )


def tasks() -> int:
    """Return how many tasks the committed `eval_config.json` enables.

    Raises
    ------
    vllm_eval.errors.ConfigError
        The file is invalid: the pods would refuse it.
    """
    return len(load_config(CONFIG))


def sentence(models: int, count: int, condition: str = "") -> str:
    """Return the line that a preview shows."""
    if models == 0:
        return "This starts the evaluation again, which finds no model new or changed."
    return f"This re-runs the evaluation{condition}: {_counted(models, 'model')} x {_counted(count, 'task')}."


def application(models: int) -> pulumi.ResourceHookBinding:
    """Return the hooks of the Application."""
    count = tasks()

    def before(args: pulumi.ResourceHookArgs) -> None:
        old, new = args.old_inputs or {}, args.new_inputs or {}
        check_owner(_owner(old), _owner(new))
        if _owner(new) != Owner.ARGOCD.value:
            return
        was, becomes = _job(old), _job(new)
        if _without_models(was) != _without_models(becomes) or _owner(old) != _owner(new):
            pulumi.log.info(sentence(models, count))
        elif was != becomes:
            pulumi.log.info(sentence(len(_identities(becomes) - _identities(was)), count))
        elif _where(old) != _where(new):
            pulumi.log.info(sentence(models, count, " if the Job differs there"))

    return _binding("application", before)


def job(models: int) -> pulumi.ResourceHookBinding:
    """Return the hooks of Pulumi's Job, whose every creation is a run."""
    count = tasks()
    return _binding("job", lambda _: pulumi.log.info(sentence(models, count)))


def check_owner(old: str | None, new: str | None) -> None:
    """Refuse the direct way between `argocd` and `pulumi`.

    Raises
    ------
    OwnerChangeError
    """
    if old is not None and new is not None and {old, new} == {Owner.ARGOCD.value, Owner.PULUMI.value}:
        raise OwnerChangeError(old, new)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _binding(name: str, hook: Any) -> pulumi.ResourceHookBinding:  # noqa: ANN401 (a hook is any callable)
    options = pulumi.ResourceHookOptions(on_dry_run=True)
    bound = pulumi.ResourceHook(f"{PROJECT}-{name}", hook, options)
    return pulumi.ResourceHookBinding(before_create=[bound], before_update=[bound])


def _owner(inputs: Mapping[str, Any]) -> str | None:
    found = inputs.get("metadata", {}).get("annotations", {}).get(OWNER)
    return None if found is None else str(found)


def _where(inputs: Mapping[str, Any]) -> tuple[Any, ...]:
    source = inputs.get("spec", {}).get("source", {})
    return source.get("repoURL"), source.get("targetRevision"), source.get("path")


def _job(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an Application sets on the Job, empty if it sets nothing."""
    kustomize = inputs.get("spec", {}).get("source", {}).get("kustomize", {})
    found = [json.loads(each["patch"]) for each in kustomize.get("patches", [])]
    jobs = [each for each in found if each["kind"] == "Job"]
    return {"namespace": kustomize.get("namespace"), "patches": jobs} if jobs else {}


def _models(job_patches: Mapping[str, Any]) -> list[Any]:
    for each in job_patches.get("patches", []):
        annotations = each.get("spec", {}).get("template", {}).get("metadata", {}).get("annotations", {})
        if MODELS_ANNOTATION in annotations:
            return list(json.loads(annotations[MODELS_ANNOTATION]))
    return []


def _identities(job_patches: Mapping[str, Any]) -> set[str]:
    """Return what the runner takes for the same model, so that it is not evaluated again."""
    return {json.dumps(runner.Model.model_validate(each).identity(), sort_keys=True) for each in _models(job_patches)}


def _without_models(job_patches: Mapping[str, Any]) -> dict[str, Any]:
    rest = copy.deepcopy(dict(job_patches))
    for each in rest.get("patches", []):
        spec = each.get("spec", {})
        for key in ("completions", "parallelism"):
            spec.pop(key, None)
        spec.get("template", {}).get("metadata", {}).get("annotations", {}).pop(MODELS_ANNOTATION, None)
    return rest
