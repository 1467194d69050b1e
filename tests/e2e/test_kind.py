"""`make test-e2e KIND=name`, where the node of a sandbox plays the node of kind.

`docker` and `kind` are scripts here that know this one node; what the suite asks of them, and all that it does on a
node that others started, is what it does on kind's. `make test-all` runs this.
"""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.e2e import kind
from tests.support.ports import free_port
from workbench.cluster.kubectl import kubectl
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import steps
from workbench.sandbox.addresses import NODE_ADDRESS
from workbench.sandbox.cluster import apply
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import WorkbenchError, wait_for

NAME: Final = "pretended"
SUITE: Final = ("tests/e2e/test_main_job.py", "tests/e2e/test_zz_down.py")
# As kind writes it.
COREFILE: Final = """\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
"""
DOCKER: Final = """\
#!/bin/sh -eu
node=%s-control-plane pid=%s
case "$*" in
  "inspect --format={{.State.Pid}} $node") echo $pid ;;
  "exec $node "*) shift 2; exec nsenter -t $pid --mount --net -- "$@" ;;
  "exec -i $node "*) shift 3; exec nsenter -t $pid --mount --net -- "$@" ;;
  *) echo "no such thing: $*" >&2; exit 1 ;;
esac
"""
KIND: Final = """\
#!/bin/sh -eu
[ "$*" = "get kubeconfig --name %s" ]
cat %s
"""


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    """A PATH with `docker` and `kind`, whose only node is a running one that others started."""
    started = Sandbox(Paths.of_this_clone("node"))
    try:
        steps.start_cluster(started)
        steps.provide_images(started)
        _leave_to_others(started)
        scripts = {
            "docker": DOCKER % (NAME, started.pid()),
            "kind": KIND % (NAME, _kubeconfig(started, tmp_path / "kubeconfig")),
        }
        for name, script in scripts.items():
            (tmp_path / name).write_text(script)
            (tmp_path / name).chmod(0o755)
        yield f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    finally:
        # The suite's own, which ends it too, unless it was killed.
        Sandbox(Paths.of_this_clone("kind")).stop()
        started.stop()


def _leave_to_others(node: Sandbox) -> None:
    """Take from a sandbox what kind has not, and give it what kind has."""
    for name in ("registry", "buildkitd"):
        pid = (node.paths.state / f"{name}.pid").read_text().split()[0]
        node.run(["kill", pid])
        wait_for(f"the end of {name}", lambda name=name: not node.alive(name), seconds=20)  # type: ignore[misc]
    owner = node.paths.cache / "images/owner"
    if owner.read_text() == node.paths.name:  # else another sandbox has the image cache, and keeps it
        owner.unlink()
    kubectl(node, "delete", "persistentvolumes", "--all")
    metadata = {"name": "coredns", "namespace": "kube-system"}
    labels = {"k8s-app": "kube-dns"}
    pod = {"containers": [{"name": "coredns", "image": "registry.k8s.io/pause:sandbox"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    apply(node, [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": COREFILE}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
         "spec": {"selector": {"matchLabels": labels}, "template": template}},
    ])  # fmt: skip


def _kubeconfig(node: Sandbox, file: Path) -> Path:
    """Write a node's kubeconfig as kind prints it, with an address and names that hold outside of the node."""
    config = yaml.safe_load(node.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:39999"
    config["contexts"][0]["name"] = config["current-context"] = f"kind-{NAME}"
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.mark.slow
def test_the_suite_passes_on_a_node_that_others_started(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "e2e", "--kind", NAME, *SUITE]
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "1 skipped" in done.stdout, "the end of a sandbox is no business of kind's"
    assert not Paths.of_this_clone("kind").state.exists()
    node = Sandbox(Paths.of_this_clone("node"))
    assert node.alive("kubelet"), "the suite ended what it had not started"
    hosts = node.run(["cat", f"{kind.MIRRORED}/hosts.toml"])
    assert "10.244.0.1:5000" in hosts
    stored = json.loads(kubectl(node, "-n", "kube-system", "get", "configmap", "coredns", "-o", "json"))
    assert stored["data"]["Corefile"] == kind.with_git_server(COREFILE)
    monkeypatch.setenv("PATH", path)
    with pytest.raises(WorkbenchError, match="has had its run"):
        kind.refuse_unfit(node, NAME)


@pytest.mark.parametrize(
    ("argocd", "pods", "mounted", "fault"),
    [
        ("", "10.245.0.0/24", True, None),
        ("argocd   Active   5m", "10.245.0.0/24", True, "has had its run"),
        ("", "10.245.0.0/24 10.244.0.0/24", True, "its pods are in 10.244.0.0/24"),
        ("", "10.245.0.0/24", False, "is not mounted in its node"),
    ],
)
def test_an_unfit_cluster_is_refused_with_the_cure(
    argocd: str, pods: str, mounted: bool, fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").write_text(f"#!/bin/sh\n{'true' if mounted else 'false'}\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(kind, "kubectl", lambda _, verb, what, *words: {"namespace": argocd, "nodes": pods}[what])
    namespace = Sandbox(Paths(cache=tmp_path, name="kind"))
    with pytest.raises(WorkbenchError, match=fault) if fault else nullcontext() as error:
        kind.refuse_unfit(namespace, "name")
    if error:
        assert "kind create cluster --name name --config .github/kind.yaml" in str(error.value)


def test_dns_with_the_added_block_answers_for_the_git_server(tmp_path: Path) -> None:
    changed = kind.with_git_server(COREFILE)
    assert kind.with_git_server(changed) == changed
    port = free_port()
    # Without what needs a cluster, answers on all addresses, or is not in the sandbox's CoreDNS.
    alone = re.sub(
        r"(?ms)^    (kubernetes|forward|health) .*?^    }\n|^    (prometheus|ready|loop|reload|loadbalance)\b.*?\n",
        "",
        changed,
    )
    (tmp_path / "Corefile").write_text(alone.replace(".:53 {", f".:{port} {{\n    bind 127.0.0.1"))
    with subprocess.Popen(["coredns", "-conf", tmp_path / "Corefile"], stdout=subprocess.DEVNULL) as server:
        try:
            wait_for("an answer", lambda: _address(port, "git.sandbox") == NODE_ADDRESS, seconds=20)
        finally:
            server.terminate()


def _address(port: int, name: str) -> str:
    """Ask a name server for a name's address; an answer's last four bytes, where there is only one (RFC 1035)."""
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    header, kind_and_class = bytes([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), bytes([0, 0, 1, 0, 1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(1)
        asker.connect(("127.0.0.1", port))
        try:
            asker.send(header + labels + kind_and_class)
            return socket.inet_ntoa(asker.recv(512)[-4:])
        except OSError:
            return ""
