"""The suite on a kind cluster: what a sandbox has beside its own cluster, in the network of kind's node.

Git server, registry and builder run in namespaces of their own, as in a sandbox, and have its names and addresses
there: Argo CD, kubelet and tests notice no difference. Control plane, runtime, network and DNS are kind's; the chart,
Pulumi's plugins and all other images are the official ones, from where production gets them.
"""

from ipaddress import ip_network
from typing import Final

import yaml

from workbench.cluster.kubectl import kubectl, rollout
from workbench.cluster.stack import official
from workbench.sandbox import chart, cluster, doctor, images, stack, steps
from workbench.sandbox.addresses import NODE_ADDRESS, POD_SUBNET
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import CommandError, WorkbenchError, run
from workbench.toolchain import tools

# Only what we build: all else comes from its own registry.
MIRRORED: Final = "/etc/containerd/certs.d/ghcr.io"
# Docker publishes the API server's port outside of the node's network; inside, its certificate knows this name.
SERVER: Final = "https://localhost:6443"


def node(name: str) -> int:
    """Return the process id of a kind cluster's only node."""
    return int(run(["docker", "inspect", "--format={{.State.Pid}}", _node(name)]))


def up(namespace: Sandbox, name: str) -> None:
    """Do what `make up` does, on the cluster of a kind node whose network `namespace` joins.

    Raises
    ------
    WorkbenchError
        Also when the cluster is not one of `.github/kind.yaml`, or has had its run.
    """
    doctor.check(namespace.paths, namespace.request)
    tools.build_all(namespace.paths)
    namespace.start()
    cluster.write_config(namespace, images.store(namespace.paths))
    namespace.kubeconfig.write_text(kubeconfig(run(["kind", "get", "kubeconfig", "--name", name])))
    refuse_unfit(namespace, name)
    images.start(namespace)
    mirror(namespace, name)
    resolve(namespace)
    cluster.provide_volumes(namespace)
    images.provide_model(namespace)
    for step in (steps.start_services, steps.publish, steps.wait_for_services):
        step(namespace)
    if official() is None:  # where Pulumi's releases cannot be had, the chart cannot either
        chart.write(namespace.paths.state)
    stack.up(namespace)
    steps.evaluate(namespace)


def refuse_unfit(namespace: Sandbox, name: str) -> None:
    """Refuse a cluster on which a test would fail late and say something else."""
    cure = f"kind delete cluster --name {name}; kind create cluster --name {name} --config .github/kind.yaml"
    if kubectl(namespace, "get", "namespace", "argocd", "--ignore-not-found"):
        raise WorkbenchError(f"--kind {name}: the cluster has had its run, or has another stack: {cure}")
    for taken in kubectl(namespace, "get", "nodes", "-o", "jsonpath={.items[*].spec.podCIDR}").split():
        if ip_network(taken).overlaps(ip_network(POD_SUBNET)):
            raise WorkbenchError(f"--kind {name}: its pods are in {taken}, but {POD_SUBNET} is the suite's own: {cure}")
    cache = namespace.paths.cache
    try:
        run(["docker", "exec", _node(name), "test", "-d", cache])
    except CommandError as error:
        raise WorkbenchError(f"--kind {name}: {cache} (VLLM_EVAL_CACHE) is not mounted in its node: {cure}") from error


def kubeconfig(text: str) -> str:
    """Return kind's kubeconfig as it holds inside of the node's network, its context named as in a sandbox."""
    config = yaml.safe_load(text)
    config["clusters"][0]["cluster"]["server"] = SERVER
    config["contexts"][0]["name"] = config["current-context"] = "sandbox"
    return yaml.safe_dump(config)


def mirror(namespace: Sandbox, name: str) -> None:
    """Let the node's runtime look for the evaluation image in our registry first."""
    hosts = (namespace.paths.state / "config/hosts.toml").read_text()
    run(["docker", "exec", _node(name), "mkdir", "-p", MIRRORED])
    run(["docker", "exec", "-i", _node(name), "tee", f"{MIRRORED}/hosts.toml"], stdin=hosts)


def resolve(namespace: Sandbox) -> None:
    """Let the cluster's DNS know our git server."""
    where = ("-n", "kube-system")
    old = yaml.safe_load(kubectl(namespace, *where, "get", "configmap", "coredns", "-o", "yaml"))
    new = {"data": {"Corefile": with_git_server(old["data"]["Corefile"])}}
    kubectl(namespace, *where, "patch", "configmap", "coredns", "--type=merge", "--patch", yaml.safe_dump(new))
    kubectl(namespace, *where, "rollout", "restart", "deployment/coredns")
    rollout(namespace, "-n kube-system deployment/coredns")


def with_git_server(corefile: str) -> str:
    """Return a Corefile whose first block answers for the git server, too."""
    name = "git.sandbox"
    block = f"hosts {{\n        {NODE_ADDRESS} {name}\n        fallthrough\n    }}"
    return corefile if name in corefile else corefile.replace("{", f"{{\n    {block}", 1)


def _node(name: str) -> str:
    return f"{name}-control-plane"
