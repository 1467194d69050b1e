"""Fields of a pod in Kubernetes' own names, which are laid over the pods of the stack."""

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from components.settings.forms import DnsName, LabelSet, QualifiedName, VariableName
from components.settings.group import Group


class KubernetesGroup(Group):
    """A part of a Kubernetes object: keys in camel case, as in manifests."""

    model_config = ConfigDict(alias_generator=to_camel)


class Toleration(KubernetesGroup):
    """A taint that the pod tolerates."""

    key: QualifiedName | None = Field(None, description="Key of the taint.")
    operator: Literal["Exists", "Equal"] | None = Field(None, description="Exists or Equal.")
    value: str | None = Field(None, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="NoSchedule, PreferNoSchedule or NoExecute."
    )
    toleration_seconds: int | None = Field(None, description="How long NoExecute is tolerated.")


class Named(KubernetesGroup):
    """The name of an object."""

    name: DnsName = Field(description="Its name.", examples=["registry"])


class Variable(KubernetesGroup):
    """A variable of the container."""

    name: VariableName = Field(description="Its name.", examples=["HTTPS_PROXY"])
    value: str | None = Field(None, description="Its text.", examples=["http://proxy:3128"])
    value_from: dict[str, Any] | None = Field(
        None, description="Where it comes from.", examples=[{"secretKeyRef": {"name": "proxy", "key": "url"}}]
    )


class SecurityContext(KubernetesGroup):
    """Users and groups; null removes what the manifest sets, as OpenShift needs it."""

    run_as_user: int | None = Field(None, ge=1, description="User; null: the cluster chooses.", examples=[1000])
    run_as_group: int | None = Field(None, ge=1, description="Group; null: the cluster chooses.", examples=[1000])
    fs_group: int | None = Field(
        None, ge=1, description="Group of the volumes; null: the cluster chooses.", examples=[1000]
    )
    fs_group_change_policy: Literal["Always", "OnRootMismatch"] | None = Field(
        None, description="Always or OnRootMismatch."
    )
    supplemental_groups: tuple[int, ...] | None = Field(None, description="Further groups.", examples=[[1000]])
    se_linux_options: dict[str, str] | None = Field(None, description="SELinux labels.", examples=[{"level": "s0:c1"}])


class Pod(KubernetesGroup):
    """A patch of the pods. What the stack itself sets is refused here."""

    labels: LabelSet = Field(default_factory=dict, description="Further labels.", examples=[{"team": "evaluations"}])
    annotations: dict[QualifiedName, str] = Field(
        default_factory=dict, description="Further annotations.", examples=[{"sidecar.istio.io/inject": "false"}]
    )
    node_selector: LabelSet = Field(
        default_factory=dict, description="Labels of the nodes.", examples=[{"pool": "cpu"}]
    )
    tolerations: tuple[Toleration, ...] = Field(
        (), description="Taints that are tolerated.", examples=[[{"key": "pool", "operator": "Exists"}]]
    )
    affinity: dict[str, Any] = Field(
        default_factory=dict, description="Affinity, as in a pod.", examples=[{"nodeAffinity": {}}]
    )
    priority_class_name: DnsName | None = Field(None, description="Class of priority.", examples=["low"])
    runtime_class_name: DnsName | None = Field(None, description="Class of the container runtime.", examples=["gvisor"])
    image_pull_secrets: tuple[Named, ...] = Field(
        (), description="Existing Secrets that pull the image.", examples=[[{"name": "registry"}]]
    )
    security_context: SecurityContext | None = Field(
        None, description="Users and groups of the pod.", examples=[{"runAsUser": None, "fsGroup": None}]
    )
    env: tuple[Variable, ...] = Field(
        (),
        description="Further variables of the container.",
        examples=[[{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]],
    )
    volumes: tuple[dict[str, Any], ...] = Field(
        (), description="Further volumes.", examples=[[{"name": "ca", "configMap": {"name": "ca"}}]]
    )
    volume_mounts: tuple[dict[str, Any], ...] = Field(
        (), description="Where they are mounted.", examples=[[{"name": "ca", "mountPath": "/etc/ca", "readOnly": True}]]
    )


def template_patch(pod: Pod, container: str) -> dict[str, Any]:
    """Return the patch of a pod template, empty without settings.

    Only what was written is in it, so that a null that was written takes away what the manifest sets.
    """
    written: dict[str, Any] = pod.model_dump(mode="json", by_alias=True, exclude_unset=True)
    # Outside the security context, null means unset.
    written = {key: each for key, each in written.items() if each not in (None, [], {})}
    metadata = {key: written.pop(key) for key in ("labels", "annotations") if key in written}
    inner = {key: written.pop(key) for key in ("env", "volumeMounts") if key in written}
    if inner:
        written["containers"] = [{"name": container, **inner}]
    patch = {"metadata": metadata, "spec": written}
    return {key: each for key, each in patch.items() if each}
