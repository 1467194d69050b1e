"""NetworkPolicies: which pods of the evaluation's namespace may reach what."""

# Type annotations must not load the SDK's modules: `preflight` does that while it waits for the cluster.
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import pulumi_kubernetes as k8s

from components import labels
from components.settings.model import Model
from components.settings.monitored import Network, Scraper
from components.settings.reports import ReportReader

if TYPE_CHECKING:
    Policy = k8s.networking.v1.NetworkPolicySpecArgsDict
    Peer = k8s.networking.v1.NetworkPolicyPeerArgsDict
    Port = k8s.networking.v1.NetworkPolicyPortArgsDict
    Rule = k8s.networking.v1.NetworkPolicyEgressRuleArgsDict


def report_policy(readers: Sequence[ReportReader], egress: Sequence[Network] | None) -> Policy:
    """Return the spec of the NetworkPolicy of the pod that serves the reports.

    Parameters
    ----------
    readers
        Who may open them; without any, only the node itself reaches the pod (`kubectl port-forward`).
    egress
        Networks of the bucket; None with a claim, where the pod reaches nothing at all.
    """
    reached: list[Rule] = [] if egress is None else [_DNS, *map(_to_network, egress)]
    peers = [_pods(each.namespace, each.labels) for each in readers]
    return {
        "pod_selector": {"match_labels": labels.selector(labels.REPORT)},
        "policy_types": ["Ingress", "Egress"],
        # A rule without a peer would admit everybody.
        "ingress": [{"from_": peers, "ports": [_port(labels.REPORT_PORT)]}] if peers else [],
        "egress": reached,
    }


def policies(
    models: Sequence[Model], egress: Sequence[Network], scraper: Scraper | None, others: Iterable[Network | None] = ()
) -> dict[str, Policy]:
    """Return the specs of the NetworkPolicies of evaluation and gateway by name.

    Parameters
    ----------
    models
        Each names the network of its endpoint.
    egress
        What else evaluation pods may reach.
    scraper
        Pods that may read the gateway; None if the stack has no gateway of its own.
    others
        Networks of an external Pushgateway, a hub or a bundle; None is skipped.
    """
    reached: list[Rule] = [_DNS]
    for rule in (
        *(_to_network(each.network) for each in models),
        *map(_to_network, egress),
        *(_to_network(each) for each in others if each is not None),
    ):
        if rule not in reached:
            reached.append(rule)
    rules: dict[str, Policy] = {"default-deny": {"pod_selector": {}, "policy_types": ["Ingress", "Egress"]}}
    evaluation = _own_pods(labels.EVALUATION)
    if scraper is not None:
        reached.append(_to(_own_pods(labels.PUSHGATEWAY), labels.PUSHGATEWAY_PORT))
        readers = [evaluation, _pods(scraper.namespace, scraper.labels)]
        rules[labels.PUSHGATEWAY] = {
            "pod_selector": {"match_labels": labels.selector(labels.PUSHGATEWAY)},
            "policy_types": ["Ingress"],
            "ingress": [{"from_": readers, "ports": [_port(labels.PUSHGATEWAY_PORT)]}],
        }
    rules[labels.EVALUATION] = {
        "pod_selector": {"match_labels": labels.selector(labels.EVALUATION)},
        "policy_types": ["Egress"],
        "egress": reached,
    }
    return rules


def _to_network(network: Network) -> Rule:
    return _to(_block(network.cidr) if network.cidr else _pods(network.namespace, network.labels), network.port)


def _to(peer: Peer, port: int) -> Rule:
    return {"to": [peer], "ports": [_port(port)]}


def _port(number: int, protocol: str = "TCP") -> Port:
    return {"protocol": protocol, "port": number}


def _block(cidr: str) -> Peer:
    return {"ip_block": {"cidr": cidr}}


def _own_pods(name: str) -> Peer:
    return {"pod_selector": {"match_labels": labels.selector(name)}}


def _pods(namespace: str | None, pod_labels: Mapping[str, str]) -> Peer:
    peer: Peer = {"namespace_selector": {"match_labels": {labels.NAMESPACE_NAME: namespace}} if namespace else {}}
    if pod_labels:
        peer["pod_selector"] = {"match_labels": dict(pod_labels)}
    return peer


# To any address: a node-local DNS cache is not a pod in kube-system.
_DNS: Final[Rule] = {"ports": [_port(53, "UDP"), _port(53)]}
