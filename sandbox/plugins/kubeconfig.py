"""How to reach the cluster of a kubeconfig's context: by token or client certificate."""

import base64
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox.plugins.properties import Object
from sandbox.plugins.server import PluginError


class KubeconfigError(PluginError):
    """The kubeconfig cannot be used."""


@dataclass(frozen=True)
class Access:
    """A cluster, and how to log in to it.

    Parameters
    ----------
    config
        A kubeconfig of this one context, without references to files.
    context, namespace, server
        The context's name, its default namespace, the API server's URL.
    token
        Bearer token, if that is the way to log in.
    tls
        Trust and client certificate, None for plain HTTP.
    """

    config: Object
    context: str
    namespace: str
    server: str
    token: str | None
    tls: ssl.SSLContext | None

    @contextmanager
    def as_file(self) -> Iterator[str]:
        """Yield the path of a kubeconfig."""
        with _file(json.dumps(self.config)) as path:
            yield path


def load(source: str | None, context: str | None) -> Access:
    """Return how to reach a cluster.

    Parameters
    ----------
    source
        A kubeconfig's path, several as in `KUBECONFIG`, or content; by default what kubectl would use.
    context
        By default the current one.

    Raises
    ------
    KubeconfigError
    """
    if source and ("\n" in source or source.lstrip().startswith("{")):
        with _file(source) as path:
            config = _flattened(path, context)
    else:
        config = _flattened(source, context)
    chosen, cluster = config["contexts"][0], config["clusters"][0]["cluster"]
    user = (config.get("users") or [{"user": {}}])[0]["user"]
    if "exec" in user or "auth-provider" in user:
        raise KubeconfigError(f"context {chosen['name']!r} logs in by a program; here only tokens and certificates do")
    server = cluster["server"]
    tls = _tls(cluster, user) if server.startswith("https:") else None
    return Access(config, chosen["name"], chosen["context"].get("namespace", "default"), server, user.get("token"), tls)


def _flattened(paths: str | None, context: str | None) -> Object:
    """Let kubectl merge files, choose a context, and put certificates in place of their paths."""
    command = ["kubectl", "config", "view", "--raw", "--flatten", "--minify", "--output=json"]
    command += [f"--context={context}"] if context else []
    env = {**os.environ, **({"KUBECONFIG": paths} if paths else {})}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    config = json.loads(done.stdout) if done.returncode == 0 else {}
    if not config.get("contexts") or not config.get("clusters"):
        where, what = paths or env.get("KUBECONFIG") or "~/.kube/config", f"context {context or '(current)'}"
        reason = done.stderr.strip().removeprefix("error: ") or "there is none"
        raise KubeconfigError(f"the kubeconfig {where} gives no {what}: {reason}")
    return dict(config)


def _tls(cluster: Object, user: Object) -> ssl.SSLContext:
    authority = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(cadata=base64.b64decode(authority).decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if "client-certificate-data" in user:
        parts = (user["client-certificate-data"], user["client-key-data"])
        # The standard library reads certificates from files only.
        with _file("\n".join(base64.b64decode(each).decode() for each in parts)) as path:
            context.load_cert_chain(path)
    return context


@contextmanager
def _file(content: str) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w") as file:  # made with mode 0600
        file.write(content)
        file.flush()
        yield file.name
