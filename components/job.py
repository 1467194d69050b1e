"""The evaluation Job where Pulumi owns it (`evaluation.owner: pulumi`), for local testing.

It is the manifest that Argo CD would sync, with the same patches.
"""

from collections.abc import Sequence
from typing import Final

import pulumi
import pulumi_kubernetes as k8s

from components import labels, patches

__all__ = ["Job"]

# `up` starts an evaluation and does not wait hours for its end. `waitFor` would do the same, but `refresh` ignores it:
# it would record a running Job as one that failed to start, and then every preview would plan an update. With skipAwait
# Pulumi does not wait for a deletion either; background deletion frees the name as soon as the API server answers.
AWAITED: Final = {**labels.UNAWAITED, "pulumi.com/deletionPropagationPolicy": "background"}


class Job(pulumi.ComponentResource):
    """The Job.

    Parameters
    ----------
    name
        Name of the component.
    stack_patches
        What the stack sets on the manifest.
    namespace
        Where it runs.
    stack
        Name of the stack, for the labels.
    image
        The image, or None for the manifest's.
    hooks
        Run before the Job is made.
    ready
        What a pod needs; and the Application, since Argo CD must have given up the Job before.
    opts
        Options of the component.
    """

    def __init__(
        self,
        name: str,
        *,
        stack_patches: Sequence[patches.Manifest],
        namespace: str,
        stack: str,
        image: pulumi.Input[str] | None = None,
        hooks: pulumi.ResourceHookBinding | None = None,
        ready: Sequence[pulumi.Resource] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("vllm-eval:job:Job", name, None, opts)
        manifest = load(stack_patches, namespace, stack)
        if image is not None:
            manifest["spec"]["template"]["spec"]["containers"][0]["image"] = image
        self.job = k8s.batch.v1.Job(
            labels.EVALUATION,
            metadata=manifest["metadata"],
            spec=manifest["spec"],
            # The template is immutable and the name is fixed, so the old Job must be deleted first.
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(ready), delete_before_replace=True, hooks=hooks),
        )
        self.register_outputs({"job": labels.EVALUATION})


def load(stack_patches: Sequence[patches.Manifest], namespace: str, stack: str) -> patches.Manifest:
    """Return the manifest in `k8s/` with the stack's patches, marked as Pulumi's."""
    manifest = patches.apply(patches.manifest(), stack_patches, namespace)
    metadata = manifest["metadata"]
    metadata["labels"] = {**metadata["labels"], **labels.standard(labels.EVALUATION, stack)}
    metadata["annotations"] = {**metadata["annotations"], **AWAITED}
    return manifest
