"""Says in previews what an update will run, and refuses to hand the Job from one owner straight to the other.

Both look at what the stack last declared, which only the engine's hooks see.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pulumi

from components.labels import PROJECT
from components.settings.model import Owner
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


def sentence(models: int, count: int) -> str:
    """Return the line that a preview shows."""
    return f"This re-runs the evaluation: {_counted(models, 'model')} x {_counted(count, 'task')}."


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def application(models: int) -> pulumi.ResourceHookBinding:
    """Return the hooks of the Application."""
    count = tasks()

    def before(args: pulumi.ResourceHookArgs) -> None:
        old, new = args.old_inputs or {}, args.new_inputs or {}
        check_owner(_owner(old), _owner(new))
        if _owner(new) == Owner.ARGOCD.value and _source(old) != _source(new):
            pulumi.log.info(sentence(models, count))

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


def _binding(name: str, hook: Any) -> pulumi.ResourceHookBinding:  # noqa: ANN401 (a hook is any callable)
    options = pulumi.ResourceHookOptions(on_dry_run=True)
    bound = pulumi.ResourceHook(f"{PROJECT}-{name}", hook, options)
    return pulumi.ResourceHookBinding(before_create=[bound], before_update=[bound])


def _owner(inputs: Mapping[str, Any]) -> str | None:
    found = inputs.get("metadata", {}).get("annotations", {}).get(OWNER)
    return None if found is None else str(found)


def _source(inputs: Mapping[str, Any]) -> Any:  # noqa: ANN401 (JSON)
    return inputs.get("spec", {}).get("source")
