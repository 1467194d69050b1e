"""The cluster: etcd, the control plane and one node, all of them host processes in the sandbox."""

import json
import secrets
from pathlib import Path
from string import Template
from typing import Final

from workbench.cluster.kubectl import kubectl
from workbench.sandbox.addresses import NODE_ADDRESS, POD_SUBNET, REGISTRY, SERVICE_SUBNET, UPLINK_DNS
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import Runner, WorkbenchError, say, wait_for

CONFIG: Final = Path(__file__).parent / "config"
MANIFESTS: Final = Path(__file__).parent / "manifests"
SCRIPTS: Final = Path(__file__).parent / "scripts"
ETCD: Final = "http://127.0.0.1:2379"

# Claims are bound to these volumes. Each `up` after a `destroy` uses new ones.
VOLUMES: Final = 24


def write_config(sandbox: Sandbox, images: Path) -> None:
    """Write every process' configuration below the sandbox's state."""
    state = sandbox.paths.state
    token_file = state / "token"
    if not token_file.exists():
        token_file.write_text(secrets.token_hex(16))
        token_file.chmod(0o600)
    token = token_file.read_text()
    values = {
        "state": state,
        "images": images,
        "kubeconfig": sandbox.kubeconfig,
        "token": token,
        "node": NODE_ADDRESS,
        "pods": POD_SUBNET,
        "registry": REGISTRY,
        "uplink": UPLINK_DNS,
    }
    (state / "config").mkdir(exist_ok=True)
    for template in CONFIG.iterdir():
        (state / "config" / template.name).write_text(Template(template.read_text()).substitute(values))
    sandbox.kubeconfig.write_text((state / "config/kubeconfig.yaml").read_text())
    sandbox.kubeconfig.chmod(0o600)
    (state / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    (state / "tokens.csv").chmod(0o600)
    sandbox.run([SCRIPTS / "node.sh", state, NODE_ADDRESS])


def start_control_plane(sandbox: Sandbox) -> None:
    """Start etcd and the API server, wait for its readiness, then start controllers and scheduler."""
    state = sandbox.paths.state
    account_key = state / "pki/service-account.key"
    sandbox.daemon(
        "etcd",
        # The cluster need not survive a power failure, so etcd does not wait for the disk: several times as fast.
        ["etcd", "--unsafe-no-fsync", f"--data-dir={state}/etcd", f"--listen-client-urls={ETCD}",
         f"--advertise-client-urls={ETCD}",
         "--listen-peer-urls=http://127.0.0.1:2380", "--log-level=warn"],
    )  # fmt: skip
    sandbox.daemon(
        "kube-apiserver",
        ["kube-apiserver", f"--etcd-servers={ETCD}", f"--cert-dir={state}/pki", "--bind-address=0.0.0.0",
         "--secure-port=6443",
         f"--advertise-address={NODE_ADDRESS}", f"--service-cluster-ip-range={SERVICE_SUBNET}",
         f"--token-auth-file={state}/tokens.csv",
         "--authorization-mode=RBAC", "--allow-privileged=true",
         "--kubelet-preferred-address-types=InternalIP", "--service-account-issuer=https://kubernetes.default.svc",
         f"--service-account-key-file={account_key}", f"--service-account-signing-key-file={account_key}"],
    )  # fmt: skip
    wait_for("the API server", lambda: kubectl(sandbox, "get", "--raw=/readyz") == "ok", seconds=90)
    client = [f"--kubeconfig={sandbox.kubeconfig}", "--leader-elect=false"]
    sandbox.daemon(
        "kube-controller-manager",
        ["kube-controller-manager", *client, f"--root-ca-file={state}/pki/apiserver.crt",
         f"--service-account-private-key-file={account_key}"],
    )  # fmt: skip
    sandbox.daemon("kube-scheduler", ["kube-scheduler", *client])


def start_node(sandbox: Sandbox) -> None:
    """Start the container runtime, kubelet, kube-proxy and the cluster's DNS, and wait for a Ready node."""
    state = sandbox.paths.state
    sandbox.daemon("containerd", ["containerd", "--config", state / "config/containerd.toml"])
    wait_for("containerd", lambda: sandbox.run(["ctr", "-a", "/run/containerd/containerd.sock", "version"]), seconds=30)
    sandbox.daemon(
        "kubelet",
        ["kubelet", f"--kubeconfig={sandbox.kubeconfig}", f"--config={state}/config/kubelet.yaml",
         f"--root-dir={state}/kubelet", f"--node-ip={NODE_ADDRESS}", "--hostname-override=sandbox"],
    )  # fmt: skip
    sandbox.daemon("kube-proxy", ["kube-proxy", f"--config={state}/config/kube-proxy.yaml"])
    sandbox.daemon("coredns", ["coredns", "-conf", state / "config/Corefile"])
    wait_for("a Ready node", lambda: _ready(sandbox), seconds=90)


def enforce_policies(sandbox: Sandbox) -> None:
    """Start the controller that enforces NetworkPolicies, or say that this kernel cannot."""
    kubeconfig, services = f"--kubeconfig={sandbox.kubeconfig}", f"--service-cluster-ip-range={SERVICE_SUBNET}"
    rules = ["iptables-save", "--table=filter"]
    try:
        sandbox.run(["ipset", "list", "-name"])
        sandbox.daemon("kube-router", ["kube-router", kubeconfig, "--node=sandbox", services])
        # Before its first rules exist, every pod can reach everything.
        wait_for("rules", lambda: "KUBE-ROUTER-FORWARD" in sandbox.run(rules), seconds=30, interval=0.1)
    except WorkbenchError as error:
        log = sandbox.paths.logs / "kube-router.log"
        say(f"  NetworkPolicies are not enforced here: {str(error).splitlines()[-1]} ({log})")


def provide_storage_class(sandbox: Sandbox) -> None:
    """Create the default storage class."""
    kubectl(sandbox, "apply", "-f", str(MANIFESTS / "storage.yaml"))


def provide_volumes(sandbox: Sandbox) -> None:
    """Create volumes of the default storage class that claims of any access mode can take."""
    names = [f"volume-{number:02}" for number in range(VOLUMES)]
    for name in names:
        folder = sandbox.paths.state / "volumes" / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)  # hostPath volumes do not honour fsGroup
    apply(sandbox, [_volume(name, sandbox.paths.state / "volumes" / name) for name in names])


def folder_of_claim(sandbox: Sandbox, namespace: str, claim: str) -> Path:
    """Return the folder on this machine that holds what is written to a claim.

    Raises
    ------
    WorkbenchError
        The claim has no volume yet.
    """
    name = kubectl(sandbox, "-n", namespace, "get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}")
    if not name:
        raise WorkbenchError(f"the claim {claim} has no volume yet")
    return sandbox.paths.state / "volumes" / name


def apply(runner: Runner, objects: list[dict[str, object]]) -> None:
    """Apply objects by server-side apply, as the owner `sandbox`."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl(runner, "apply", "--server-side", "--force-conflicts", "--field-manager=sandbox", "-f", "-", stdin=listed)


def _ready(sandbox: Sandbox) -> bool:
    path = '{.items[0].status.conditions[?(@.type=="Ready")].status}'
    return kubectl(sandbox, "get", "nodes", "-o", f"jsonpath={path}") == "True"


def _volume(name: str, path: Path) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": "standard",
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(path)},
        },
    }
