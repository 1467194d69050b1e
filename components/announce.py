"""Says in previews which evaluations an update starts, and refuses a direct change of the Job's owner.

Both compare with what the stack declared before, which only the engine's hooks see.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pulumi

from components import patches, reruns
from components.labels import NAMESPACE, PROJECT
from components.reruns import Rerun
from components.settings.model import Owner
from vllm_eval.config import load_config

OWNER: Final = f"{PROJECT}/owner"
"""Annotation of the Application; the next update compares with it."""


class OwnerChangeError(pulumi.RunError):
    """One update would move the Job from one owner to the other."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(
            f"evaluation.owner cannot change from {old} to {new} in one update: the old owner could delete the Job"
            f" late, after the new owner has created it. Run `pulumi config set --path '{PROJECT}:evaluation.owner'"
            f" none` and `pulumi up` first, wait until the Job is gone, then set {new}."
        )


def tasks(config: Path) -> tuple[str, ...]:
    """Return the tasks and groups that an `eval_config.json` enables.

    Raises
    ------
    vllm_eval.errors.ConfigError
        The file is invalid: the pods would refuse it.
    """
    return tuple(load_config(config))


def sentence(rerun: Rerun, count: int, condition: str = "") -> str:
    """Return the line that a preview shows."""
    if rerun.models == 0:
        return "This starts the evaluation again, which finds no model new or changed."
    return f"This re-runs the evaluation{condition}: {rerun.times(count)}."


class Announcements:
    """The hooks of one update: the Application's, and those of the Job where Pulumi owns it.

    The engine does not pass the old Job to the Job's hook. The Application has the same patches for both owners, and
    its hook runs first, so it computes what is evaluated again and keeps that for the Job's hook.
    """

    def __init__(self, config: Path) -> None:
        self._tasks = tasks(config)
        self._known: Rerun | None = None

    def application(self) -> pulumi.ResourceHookBinding:
        """Return the hooks of the Application."""
        return _binding("application", self._of_application)

    def job(self) -> pulumi.ResourceHookBinding:
        """Return the hooks of Pulumi's Job, which run before each creation of it."""
        return _binding("job", self._of_job)

    def _of_application(self, args: pulumi.ResourceHookArgs) -> None:
        old, new = args.old_inputs or {}, args.new_inputs or {}
        check_owner(_owner(old), _owner(new))
        was, becomes = _job(old), _job(new)
        if becomes is None:
            return
        same_owner = _owner(old) == _owner(new)
        self._known = reruns.of(was if same_owner else None, becomes, self._tasks)
        if _owner(new) != Owner.ARGOCD.value:
            return
        if was != becomes or not same_owner:
            pulumi.log.info(sentence(self._known, len(self._tasks)))
        elif _where(old) != _where(new):
            pulumi.log.info(sentence(reruns.everything(becomes), len(self._tasks), " if the Job differs there"))

    def _of_job(self, args: pulumi.ResourceHookArgs) -> None:
        pulumi.log.info(sentence(self._known or reruns.everything(args.new_inputs or {}), len(self._tasks)))


def check_owner(old: str | None, new: str | None) -> None:
    """Refuse a direct change between `argocd` and `pulumi`.

    Raises
    ------
    OwnerChangeError
    """
    if old is not None and new is not None and {old, new} == {Owner.ARGOCD.value, Owner.PULUMI.value}:
        raise OwnerChangeError(old, new)


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


def _job(inputs: Mapping[str, Any]) -> patches.Manifest | None:
    """Return this checkout's Job with the patches of an Application, None if none of them is for the Job."""
    kustomize = inputs.get("spec", {}).get("source", {}).get("kustomize", {})
    found = [json.loads(each["patch"]) for each in kustomize.get("patches", [])]
    manifest = patches.manifest()
    try:
        return patches.apply(manifest, found, kustomize.get("namespace") or NAMESPACE)
    except ValueError:
        return None
