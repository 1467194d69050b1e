"""Checks what the docs demand of a cluster: rights, Argo CD's version and self-heal, storage, models within reach.

What would make an update or an evaluation fail is a fault. What works, but not as the docs promise, is a note.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from workbench.cluster import grafana, needs, reach
from workbench.cluster.kubectl import kubectl
from workbench.cluster.reach import Told
from workbench.shell import CommandError, Runner

VERBS: Final = ("get", "create", "patch", "delete")
CORE, APPS, NETWORK = "", "apps", "networking.k8s.io"
MONITORING, ARGOCD, RBAC = "monitoring.coreos.com", "argoproj.io", "rbac.authorization.k8s.io"
ALWAYS: Final = (
    (CORE, "serviceaccounts"),
    (CORE, "secrets"),
    (CORE, "persistentvolumeclaims"),
    (NETWORK, "networkpolicies"),
)
SERVED: Final = ((APPS, "deployments"), (CORE, "services"))
MONITORED: Final = ((CORE, "configmaps"), (MONITORING, "prometheusrules"))
OF_ARGOCD: Final = ((ARGOCD, "applications"), (ARGOCD, "appprojects"))
INSTALLING: Final = (
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    (RBAC, "clusterroles"),
    (RBAC, "clusterrolebindings"),
)
OLDEST_ARGOCD: Final = (3, 3)
# docs/adr/self-heal.md
PACE: Final = {"controller.self.heal.timeout.seconds": "30", "controller.self.heal.backoff.timeout.seconds": "0"}
# Containers that enforce NetworkPolicies. Amazon's does so only with an option, so it is looked at by itself.
ENFORCERS: Final = (
    *("calico-node", "cilium-agent", "kube-router", "antrea-ovs", "antrea-agent", "weave-npc", "ovnkube-controller"),
    *("kindnet-cni", "kube-network-policies", "azure-npm"),
)
AMAZONS: Final = "aws-eks-nodeagent"
# Disks of one node: https://kubernetes.io/docs/concepts/storage/persistent-volumes/#access-modes
ONE_NODE: Final = {
    *("ebs.csi.aws.com", "kubernetes.io/aws-ebs", "pd.csi.storage.gke.io", "kubernetes.io/gce-pd"),
    *("disk.csi.azure.com", "kubernetes.io/azure-disk", "rancher.io/local-path", "cinder.csi.openstack.org"),
    *("topolvm.io", "local.csi.openebs.io", "openebs.io/local"),
}


def look(runner: Runner, argocd: Runner, stack: str, asked: Mapping[str, Any]) -> Told:
    """Look at a cluster, and at that of its Argo CD; what the account may not read becomes a note."""
    told = Told()
    looks: dict[str, Callable[[], None]] = {
        "the account's rights": lambda: _rights(runner, argocd, asked, told),
        "Argo CD": lambda: _argocd(argocd, asked, told),
        "workloads": lambda: _workloads(runner, asked, told),
        "storage classes": lambda: _modes(runner, stack, asked, told),
        "the models' Services": lambda: reach.look(runner, stack, asked, told),
    }
    for what, one in looks.items():
        try:
            one()
        except CommandError as error:
            told.notes.append(f"{what} could not be looked at: {error.last}")
    return told


def wanted_rights(asked: Mapping[str, Any]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return what an account must be allowed in the stack's cluster, and in that of its Argo CD."""
    namespace, where = asked["namespace"], asked["argocd"]
    own_gateway = asked["scraper"] is not None
    kinds = [*ALWAYS, *(MONITORED if asked["monitored"] else ()), *([("batch", "jobs")] * (asked["owner"] == "pulumi"))]
    kinds += [(MONITORING, "servicemonitors")] * own_gateway
    kinds += SERVED if own_gateway or asked["serves_reports"] else ()
    kinds += [(MONITORING, "alertmanagerconfigs")] * bool(asked["receivers"])
    here = [*_each([(CORE, "namespaces")], ""), *_each(kinds, namespace)]
    there = _each(OF_ARGOCD, where)
    if asked["installs_argocd"]:
        here += _each(INSTALLING, "")
    return here, there


def _each(kinds: Any, namespace: str) -> list[dict[str, str]]:  # noqa: ANN401 (pairs)
    return [
        {"group": group, "resource": resource, "verb": verb, **({"namespace": namespace} if namespace else {})}
        for group, resource in kinds
        for verb in VERBS
    ]


def _rights(runner: Runner, argocd: Runner, asked: Mapping[str, Any], told: Told) -> None:
    for cluster, wanted in zip((runner, argocd), wanted_rights(asked), strict=True):
        told.faults += _denied(cluster, wanted)


def _denied(runner: Runner, wanted: list[dict[str, str]]) -> Iterator[str]:
    """Yield a sentence for each namespace in which the account may not do something that an update does."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    items = [{**review, "spec": {"resourceAttributes": each}} for each in wanted]
    asked = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    words = ("create", "--filename=-", "-o", 'jsonpath={.status.allowed}{"\\n"}')
    said = kubectl(runner, *words, stdin=asked).split()
    refused: dict[str, dict[str, list[str]]] = {}
    for each, allowed in zip(wanted, said, strict=True):
        if allowed != "true":
            place = f"in the namespace {each['namespace']}" if "namespace" in each else "in the whole cluster"
            kind = f"{each['resource']}.{each['group']}".rstrip(".")
            refused.setdefault(place, {}).setdefault(kind, []).append(each["verb"])
    for place, kinds in refused.items():
        listed = "; ".join(f"{', '.join(verbs)} {kind}" for kind, verbs in kinds.items())
        yield f"this account may not, {place}: {listed}. Bind a role that may, or use another context"


def _argocd(runner: Runner, asked: Mapping[str, Any], told: Told) -> None:
    if asked["installs_argocd"]:
        return
    where = ("-n", asked["argocd"])
    found = json.loads(kubectl(runner, *where, "get", "statefulsets,deployments", "-o", "json"))["items"]
    images = [
        container["image"]
        for each in found
        if "application-controller" in each["metadata"]["name"]
        for container in each["spec"]["template"]["spec"]["containers"]
    ]
    version = next((match for image in images if (match := re.search(r":v?(\d+)\.(\d+)[\w.-]*", image))), None)
    if version is None:
        told.notes.append(f"no version of Argo CD in the namespace {asked['argocd']} is known: it must be 3.3 or later")
    elif tuple(map(int, version.groups())) < OLDEST_ARGOCD:
        told.faults.append(
            f"Argo CD in the namespace {asked['argocd']} is {version[0].lstrip(':')}: before 3.3, a project"
            " that may create one Namespace may create every Namespace; upgrade it"
        )
    text = kubectl(runner, *where, "get", "configmap", "argocd-cmd-params-cm", "--ignore-not-found", "-o", "json")
    given = json.loads(text).get("data", {}) if text else {}
    if missing := {key: value for key, value in PACE.items() if given.get(key) != value}:
        listed = ", ".join(f'{key}: "{value}"' for key, value in missing.items())
        told.notes.append(
            f"Argo CD's self-heal may run an evaluation twice: set {listed} in {asked['argocd']}/argocd-cmd-params-cm"
        )


def _workloads(runner: Runner, asked: Mapping[str, Any], told: Told) -> None:
    """Look for Grafana's sidecar, and for a program that enforces NetworkPolicies."""
    if asked["dashboard"] is not None:
        _, fault = grafana.report(grafana.sidecars(runner), asked["namespace"], asked["dashboard"])
        told.notes += [f"the dashboard: {fault}"] if fault else []
    found = json.loads(kubectl(runner, "get", "daemonsets", "--all-namespaces", "-o", "json"))["items"]
    containers = {each["name"]: each for one in found for each in one["spec"]["template"]["spec"]["containers"]}
    amazons = "--enable-network-policy=true" in containers.get(AMAZONS, {}).get("args", [])
    if not amazons and not containers.keys() & set(ENFORCERS):
        told.notes.append(
            "no program that enforces NetworkPolicies was recognized among the DaemonSets (Calico, Cilium, kube-router,"
            " Antrea, OVN, Amazon's with network policies on …): without one, evaluation pods can reach everything,"
            " and every pod can reach the gateway"
        )


def _modes(runner: Runner, stack: str, asked: Mapping[str, Any], told: Told) -> None:
    shared = [setting for setting, mode in asked["access_modes"].items() if mode == "ReadWriteMany"]
    if not shared:
        return
    items = json.loads(kubectl(runner, "get", "storageclasses", "-o", "json"))["items"]
    for setting in shared:
        name = asked["storage_classes"][setting]
        for each in items:
            notes = each["metadata"].get("annotations", {})
            chosen = each["metadata"]["name"] == name if name else needs.is_default(notes)
            if chosen and each["provisioner"] in ONE_NODE:
                others = sorted(one["metadata"]["name"] for one in items if one["provisioner"] not in ONE_NODE)
                told.faults.append(
                    f"{setting} is {each['metadata']['name']!r}, whose {each['provisioner']} provisions volumes"
                    " that only one node can mount, but the claim is ReadWriteMany"
                    f" (others: {', '.join(others) or 'none'}):"
                    f" pulumi config set --stack {stack} --path 'vllm-eval:{setting}' NAME"
                )
