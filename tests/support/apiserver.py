"""A real API server on loopback with its etcd and, on request, the controllers; no node, so no pod ever runs."""

import json
import secrets
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.ports import free_port

CONTEXT: Final = "loopback"
START_SECONDS: Final = 60.0


@dataclass(frozen=True)
class ApiServer:
    """A running API server; its one user may do everything."""

    url: str
    token: str
    authority: Path
    kubeconfig: Path

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it prints, errors included."""
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", *words]
        done = subprocess.run(
            command, input=stdin, text=True, check=False, timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stdout}"
        return done.stdout

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Apply objects, as somebody else than Pulumi would."""
        self.kubectl("apply", "--filename=-", stdin=yaml.safe_dump_all(manifests))

    def await_definitions(self) -> None:
        """Wait until every kind is served; `kubectl wait` fails on a definition that has no conditions yet."""
        deadline = time.monotonic() + START_SECONDS
        while "error: " in (
            said := self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s", check=False)
        ):
            assert time.monotonic() < deadline, said
            time.sleep(0.2)

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any] | None:
        """Return a live object, None if there is none."""
        text = self.kubectl("get", kind, name, "--namespace", namespace, "--output=json", "--ignore-not-found")
        return dict(json.loads(text)) if text.strip() else None


@contextmanager
def running_apiserver(folder: Path, *, controllers: bool = False) -> Iterator[ApiServer]:
    """Start everything below `folder` and stop it at the end.

    Parameters
    ----------
    folder
        Holds data, keys, logs and the kubeconfig, whose one context is `CONTEXT`.
    controllers
        Start kube-controller-manager too: without it no namespace is ever finalized, nothing is collected.
    """
    port, etcd, peer = free_port(), free_port(), free_port()
    client, key = f"http://127.0.0.1:{etcd}", folder / "account.key"
    server = ApiServer(
        f"https://127.0.0.1:{port}", secrets.token_hex(16), folder / "pki/apiserver.crt", folder / "kubeconfig"
    )
    (folder / "tokens.csv").write_text(f"{server.token},admin,admin,system:masters\n")
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    _write_kubeconfig(server)
    with ExitStack() as stack:
        _start(
            stack, folder,
            "etcd", "--unsafe-no-fsync", f"--data-dir={folder}/etcd", f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}", f"--listen-peer-urls=http://127.0.0.1:{peer}", "--log-level=error",
        )  # fmt: skip
        process = _start(
            stack, folder,
            "kube-apiserver", f"--etcd-servers={client}", f"--cert-dir={folder}/pki", "--bind-address=127.0.0.1",
            f"--secure-port={port}", "--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none",
            f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
        )  # fmt: skip
        _await_ready(server, process)
        if controllers:
            _start(
                stack, folder,
                "kube-controller-manager", f"--kubeconfig={server.kubeconfig}", "--leader-elect=false",
                f"--service-account-private-key-file={key}", f"--root-ca-file={server.authority}", "--secure-port=0",
                # By default it makes a folder below /usr/libexec.
                f"--flex-volume-plugin-dir={folder}/volume-plugins",
            )  # fmt: skip
        yield server


def _start(stack: ExitStack, folder: Path, *command: str) -> "subprocess.Popen[bytes]":
    log = stack.enter_context((folder / f"{command[0]}.log").open("w"))
    process = subprocess.Popen(command, stdout=log, stderr=log)
    stack.callback(_stop, process)
    return process


def _stop(process: "subprocess.Popen[bytes]") -> None:
    # Not SIGTERM: the API server would take its seconds of grace, and nothing here outlives the test.
    process.kill()
    process.wait()


def _await_ready(server: ApiServer, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    # The certificate is made by the server: before that kubectl cannot even read the kubeconfig.
    while not server.authority.exists() or server.kubectl("get", "--raw=/readyz", check=False) != "ok":
        assert process.poll() is None, f"the API server ended: {(server.kubeconfig.parent / 'kube-apiserver.log')}"
        assert time.monotonic() < deadline, f"the API server was not ready within {START_SECONDS} s"
        time.sleep(0.2)


def _write_kubeconfig(server: ApiServer) -> None:
    cluster = {"server": server.url, "certificate-authority": str(server.authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": "c", "user": "admin"}}],
        "users": [{"name": "admin", "user": {"token": server.token}}],
    }
    server.kubeconfig.write_text(yaml.safe_dump(config))
    server.kubeconfig.chmod(0o600)
