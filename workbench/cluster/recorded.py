"""What a stack's state says of its last update: on which cluster, with which models."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from components import labels
from workbench.shell import WorkbenchError

Resources = Sequence[Mapping[str, Any]]

PROVIDER: Final = "pulumi:providers:kubernetes"


def of(export: str) -> Resources:
    """Return the resources in what `pulumi stack export` printed."""
    return (json.loads(export)["deployment"] or {}).get("resources") or []


def check_context(resources: Resources, stack: str, context: str) -> None:
    """Refuse a stack whose objects are on another cluster: Pulumi would take them for the new one's.

    Raises
    ------
    WorkbenchError
    """
    for each in resources:
        own = each["type"] == PROVIDER and each["urn"].endswith(f"::{labels.PROVIDER}")  # not a hub's
        old = each.get("inputs", {}).get("context")
        if own and old != context:
            before = f"of context {old!r}" if old else "of the pod that it ran in"
            raise WorkbenchError(
                f"the stack {stack} is deployed to the cluster {before}, not to that of CONTEXT {context!r}, where"
                f" Pulumi would create nothing: name another STACK, or first run `pulumi destroy --stack {stack}` for"
                f" the old one (if it is the same cluster: `pulumi up` once with vllm-eval:cluster.context {context})"
            )


def check_models(resources: Resources, stack: str, model: str) -> None:
    """Refuse to let one model take the place of others that the stack has evaluated.

    Raises
    ------
    WorkbenchError
    """
    if others := sorted(set(models(resources)) - {model}):
        raise WorkbenchError(
            f"the stack {stack} evaluates {', '.join(others)}: with MODEL {model!r} in their place, their scores would"
            f" go from the gateway and their alerts with them; write the model into Pulumi.{stack}.yaml, or name a"
            " STACK of its own on another cluster"
        )


def models(resources: Resources) -> Iterator[str]:
    """Yield the names of the models: the Application has them, whoever owns the Job."""
    for each in resources:
        source = each.get("inputs", {}).get("spec", {}).get("source", {}) if _is_application(each) else {}
        for patch in source.get("kustomize", {}).get("patches", []):
            template = json.loads(patch["patch"]).get("spec", {}).get("template", {})
            listed = template.get("metadata", {}).get("annotations", {}).get(labels.MODELS_ANNOTATION, "[]")
            yield from (model["name"] for model in json.loads(listed))


def _is_application(resource: Mapping[str, Any]) -> bool:
    return str(resource["type"]).endswith(":Application")
