"""Ask a real API server whether it would take these manifests, and change nothing anywhere.

Each argument is a manifest or a folder with a kustomization. etcd and
kube-apiserver (bare names on PATH) run on loopback for the few seconds that it
takes. A refusal matters before it is pushed: Argo CD re-creates the evaluation
Job by Force+Replace, which has deleted the running one by the time the server
refuses the new one. Warnings count, too: of a pod that the namespace's Pod
Security level forbids the server only warns, and the Job then gets no pods.

Exit codes: 0 all would be taken; 1 one would not; 2 the server did not start.
"""

import argparse
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

NAMESPACE: Final = """\
apiVersion: v1
kind: Namespace
metadata:
  name: vllm-eval
  labels: {pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/warn: restricted}
"""
START_SECONDS: Final = 60


class ServerError(Exception):
    """The API server did not start; the text ends with its log."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", nargs="+", type=Path, help="manifest, or folder with a kustomization")
    paths: list[Path] = parser.parse_args(arguments).manifests
    # The default ends this process alone and leaves its servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with tempfile.TemporaryDirectory() as folder, api_server(Path(folder)) as kubectl:
            _run(kubectl, "create", "-f", "-", stdin=NAMESPACE)
            refusals = [refusal for path in paths if (refusal := _refusal(kubectl, path))]
    except (ServerError, FileNotFoundError) as error:
        print(f"dry-run: {error}", file=sys.stderr)
        return 2
    for refusal in refusals:
        print(refusal, file=sys.stderr)
    return 1 if refusals else 0


@contextmanager
def api_server(folder: Path) -> Iterator[list[str]]:
    """Run etcd and kube-apiserver in a folder; yield a kubectl command that reaches the server.

    Raises
    ------
    ServerError
        The server was not ready in time.
    """
    client, peer, secure = _free_ports(3)
    etcd = f"http://127.0.0.1:{client}"
    key, token = folder / "account.key", secrets.token_hex(16)
    tokens = folder / "tokens.csv"
    tokens.touch(mode=0o600)
    tokens.write_text(f"{token},admin,admin,system:masters\n", encoding="utf-8")
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    # fmt: off
    commands = [
        ["etcd", "--unsafe-no-fsync", "--data-dir", str(folder / "etcd"), "--listen-client-urls", etcd,
         "--advertise-client-urls", etcd, "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--log-level=warn"],
        ["kube-apiserver", "--etcd-servers", etcd, "--bind-address=127.0.0.1", f"--secure-port={secure}",
         "--advertise-address=127.0.0.1", "--cert-dir", str(folder), "--token-auth-file", str(tokens),
         "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24", f"--service-account-key-file={key}",
         f"--service-account-signing-key-file={key}", "--service-account-issuer=https://kubernetes.default.svc"],
    ]
    # fmt: on
    log = folder / "server.log"
    kubectl = [
        *("kubectl", "--kubeconfig=/dev/null", f"--server=https://127.0.0.1:{secure}", f"--token={token}"),
        *(f"--certificate-authority={folder / 'apiserver.crt'}", f"--cache-dir={folder / 'cache'}"),
    ]
    with ExitStack() as stack, log.open("wb") as sink:
        processes = []
        for command in commands:
            process = subprocess.Popen(command, stdout=sink, stderr=sink, cwd=folder)
            stack.callback(process.wait)
            stack.callback(process.kill)
            processes.append(process)
        _wait_ready(kubectl, processes, log)
        yield kubectl


def _wait_ready(kubectl: list[str], processes: list[subprocess.Popen[bytes]], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and all(process.poll() is None for process in processes):
        # The namespace is made by a controller inside the server, moments after it calls itself ready.
        if (
            _run(kubectl, "get", "--raw=/readyz").returncode == 0
            and _run(kubectl, "get", "ns", "default").returncode == 0
        ):
            return
        time.sleep(0.2)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
    raise ServerError(f"the API server did not start within {START_SECONDS} s:\n{tail}")


def _refusal(kubectl: list[str], path: Path) -> str | None:
    """Return why the server would not take this, or None."""
    source = ["-f", str(path)]
    text = ""
    if path.is_dir():
        built = subprocess.run(["kustomize", "build", str(path)], capture_output=True, text=True, check=False)
        if built.returncode != 0:
            return f"{path}: kustomize refuses it: {built.stderr.strip()}"
        source, text = ["-f", "-"], built.stdout
    asked = _run(kubectl, "--warnings-as-errors", "create", "--dry-run=server", *source, stdin=text)
    if asked.returncode != 0:
        return f"{path}: the API server refuses it:\n{asked.stderr.strip()}"
    print(asked.stdout, end="")
    return None


def _run(kubectl: list[str], *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*kubectl, *words], input=stdin, capture_output=True, text=True, check=False)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [held.getsockname()[1] for held in sockets]


if __name__ == "__main__":
    sys.exit(main())
