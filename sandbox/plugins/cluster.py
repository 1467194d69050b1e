"""A small client of the Kubernetes API: what a kubeconfig names, REST paths, and JSON over HTTP."""

import base64
import http.client
import json
import os
import ssl
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any, Final

import yaml

FIELD_MANAGER: Final = "pulumi-kubernetes"
CONNECT_SECONDS: Final = 5.0

Object = dict[str, Any]


class ApiError(Exception):
    """The API server refused; `code` is HTTP's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnreachableError(Exception):
    """The API server does not answer."""


class NoSuchKindError(Exception):
    """The API server has no such kind (yet): its CRD is missing."""


class Cluster:
    """One API server, as a context of a kubeconfig describes it.

    Parameters
    ----------
    kubeconfig
        Path or content; by default what `KUBECONFIG` or `~/.kube/config` names.
    context
        Name of a context; by default the current one.
    """

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        default = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")
        source = kubeconfig or default
        self.path = source if "\n" not in source and "{" not in source else self._file(source)
        config = yaml.safe_load(Path(self.path).read_text())
        self.context = context or config["current-context"]
        chosen = _named(config, "contexts", self.context)["context"]
        cluster = _named(config, "clusters", chosen["cluster"])["cluster"]
        user = _named(config, "users", chosen["user"])["user"]
        self.namespace: str = chosen.get("namespace", "default")
        self.server: str = cluster["server"]
        address = urllib.parse.urlsplit(self.server)
        self._host, self._port = address.hostname or "", address.port or 443
        self._tls = self._security(cluster, user) if address.scheme == "https" else None
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._local = threading.local()
        self._paths: dict[str, dict[str, tuple[str, bool]]] = {}

    def request(self, method: str, path: str, body: Object | None = None, *, kind: str = "application/json") -> Object:
        """Send one request and return the answer.

        Raises
        ------
        ApiError, UnreachableError
        """
        headers = {**self._headers, "Accept": "application/json", "Content-Type": kind}
        content = None if body is None else json.dumps(body)
        for attempt in (1, 2):
            try:
                connection = self._connection()
                connection.request(method, path, content, headers)
                answer = connection.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException) as error:
                self._local.connection = None
                # A kept-alive connection may have been closed by the server meanwhile; a fresh one tells the truth.
                if attempt == 2:
                    raise UnreachableError(f"the API server {self.server} does not answer: {error}") from error
        seen: Object = json.loads(text) if text else {}
        if answer.status >= 300:
            raise ApiError(answer.status, seen.get("message", text.decode(errors="replace")))
        return seen

    def path_of(self, manifest: Object, *, name: str | None = None) -> str:
        """Return the REST path of an object, or of its collection when `name` is empty.

        Raises
        ------
        NoSuchKindError
        """
        version, kind = manifest["apiVersion"], manifest["kind"]
        if kind not in self._paths.get(version, {}):
            self._paths[version] = self._discover(version)
        if kind not in self._paths[version]:
            raise NoSuchKindError(f"the cluster has no kind {kind} of {version}: is its CRD installed?")
        plural, namespaced = self._paths[version][kind]
        base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        metadata = manifest["metadata"]
        where = f"/namespaces/{metadata.get('namespace') or self.namespace}" if namespaced else ""
        end = metadata["name"] if name is None else name
        return f"{base}{where}/{plural}" + (f"/{end}" if end else "")

    def namespaced(self, manifest: Object) -> bool:
        """Tell whether objects of this kind live in namespaces; unknown kinds do when they name one."""
        try:
            return "/namespaces/" in self.path_of(manifest) and manifest["kind"] != "Namespace"
        except NoSuchKindError:
            return "namespace" in manifest["metadata"]

    def get(self, manifest: Object) -> Object | None:
        """Return the live object, or None when it or its kind is not there."""
        try:
            return self.request("GET", self.path_of(manifest))
        except NoSuchKindError:
            return None
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def apply(self, manifest: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        """Apply by server-side apply and return the live object."""
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()} | ({"dryRun": "All"} if dry_run else {})
        path = f"{self.path_of(manifest)}?{urllib.parse.urlencode(query)}"
        return self.request("PATCH", path, manifest, kind="application/apply-patch+yaml")

    def delete(self, manifest: Object) -> None:
        """Ask for deletion, dependents first; an object that is gone is no error."""
        try:
            self.request("DELETE", self.path_of(manifest), {"propagationPolicy": "Foreground"})
        except NoSuchKindError:
            return
        except ApiError as error:
            if error.code != 404:
                raise

    def events(self, manifest: Object) -> list[str]:
        """Return the messages of warnings about an object and its pods, newest last."""
        space = manifest["metadata"].get("namespace") or self.namespace
        items = self.request("GET", f"/api/v1/namespaces/{space}/events?limit=500")["items"]
        name = manifest["metadata"]["name"]
        about = [
            each for each in items if each["type"] == "Warning" and each["involvedObject"]["name"].startswith(name)
        ]
        return list(dict.fromkeys(each["message"] for each in about))[-3:]

    def _discover(self, version: str) -> dict[str, tuple[str, bool]]:
        base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        try:
            found = self.request("GET", base)["resources"]
        except ApiError as error:
            if error.code == 404:
                return {}
            raise
        return {each["kind"]: (each["name"], each["namespaced"]) for each in found if "/" not in each["name"]}

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            if self._tls:
                connection = http.client.HTTPSConnection(
                    self._host, self._port, timeout=CONNECT_SECONDS, context=self._tls
                )
            else:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_SECONDS)
            connection.connect()
            if connection.sock is not None:
                connection.sock.settimeout(60)  # a webhook or a large apply may take longer than a connection
            self._local.connection = connection
        return connection

    def _security(self, cluster: Object, user: Object) -> ssl.SSLContext:
        authority = cluster.get("certificate-authority")
        inline = cluster.get("certificate-authority-data")
        context = ssl.create_default_context(
            cafile=authority, cadata=base64.b64decode(inline).decode() if inline else None
        )
        if "client-certificate-data" in user:
            certificate = self._file(base64.b64decode(user["client-certificate-data"]).decode())
            context.load_cert_chain(certificate, self._file(base64.b64decode(user["client-key-data"]).decode()))
        elif "client-certificate" in user:
            context.load_cert_chain(user["client-certificate"], user["client-key"])
        return context

    def _file(self, content: str) -> str:
        # Kept on the instance: the file lives as long as the plugin's process, readable by its user only.
        holder = tempfile.NamedTemporaryFile("w", prefix="vllm-eval-")  # noqa: SIM115
        holder.write(content)
        holder.flush()
        self._files = [*getattr(self, "_files", []), holder]
        return holder.name


def wait(probe: Any, seconds: float, interval: float = 0.25) -> bool:
    """Call `probe` until it returns true; return whether it did before `seconds` were over."""
    deadline = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


def _named(config: Object, kind: str, name: str) -> Object:
    for each in config.get(kind) or []:
        if each["name"] == name:
            return dict(each)
    known = ", ".join(each["name"] for each in config.get(kind) or []) or "none"
    raise ValueError(f"the kubeconfig has no {kind.rstrip('s')} {name!r} (it has: {known})")
