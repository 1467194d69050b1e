"""A small client of the Kubernetes API: REST paths, and JSON over connections that are kept open."""

import http.client
import json
import sys
import threading
import time
import urllib.parse
from typing import Final

from sandbox.plugins.kubeconfig import Access
from sandbox.plugins.properties import Object
from sandbox.plugins.server import PluginError

FIELD_MANAGER: Final = "pulumi-kubernetes"
CONNECT_SECONDS: Final = 5.0
# A webhook or a large object may take longer than a connection.
ANSWER_SECONDS: Final = 40.0
# A server that starts or is overloaded says so by these.
BUSY: Final = (429, 503, 504)
PAUSES: Final = (0.5, 1.0, 2.0, 4.0)


class ApiError(PluginError):
    """The API server refused; `code` is HTTP's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class UnreachableError(PluginError):
    """The API server does not answer."""

    def __init__(self, access: Access, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        super().__init__(f"the API server {access.server} (context {access.context}) does not answer: {reason}")


class NoSuchKindError(PluginError):
    """The API server does not serve a kind, or not yet."""

    def __init__(self, manifest: Object) -> None:
        kind = f"{manifest['kind']} of {manifest['apiVersion']}"
        super().__init__(f"the cluster has no kind {kind}: is its CRD installed?")


class Cluster:
    """One API server."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._local = threading.local()
        self._kinds: dict[str, dict[str, tuple[str, bool]]] = {}

    def request(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        """Send one request and return the answer.

        Raises
        ------
        ApiError, UnreachableError
        """
        for pause in (*PAUSES, None):
            status, text = self._send(method, path, None if body is None else json.dumps(body), kind)
            if status not in BUSY or pause is None:
                break
            time.sleep(pause)
        try:
            answer: Object = json.loads(text) if text else {}
        except ValueError:  # a path that nothing serves is answered in plain text
            answer = {"message": text.strip()}
        if status >= 300:
            raise ApiError(status, str(answer.get("message") or f"{method} {path}: HTTP {status}"))
        return answer

    def is_served(self, manifest: Object) -> bool:
        """Tell whether the API server knows the object's kind."""
        return self._kind(manifest) is not None

    def is_namespaced(self, manifest: Object) -> bool:
        """Tell whether objects of this kind live in namespaces; of an unknown kind, whether this one says so."""
        found = self._kind(manifest)
        return found[1] if found else "namespace" in manifest["metadata"]

    def get(self, manifest: Object) -> Object | None:
        """Return the live object, or None when it or its kind is not there."""
        try:
            return self.request("GET", self._path(manifest))
        except NoSuchKindError:
            return None
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def apply(self, manifest: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        """Apply by server-side apply and return the object as it then is, or would be."""
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower()} | ({"dryRun": "All"} if dry_run else {})
        path = f"{self._path(manifest)}?{urllib.parse.urlencode(query)}"
        return self.request("PATCH", path, manifest, "application/apply-patch+yaml")

    def delete(self, manifest: Object, policy: str) -> None:
        """Ask for deletion; an object that is gone is no error."""
        try:
            self.request("DELETE", self._path(manifest), {"propagationPolicy": policy})
        except NoSuchKindError:
            return
        except ApiError as error:
            if error.code != 404:
                raise

    def around(self, manifest: Object, selector: Object) -> tuple[list[Object], list[Object]]:
        """Return a workload's pods, and the warnings about it and what has its name in front."""
        base = f"/api/v1/namespaces/{manifest['metadata']['namespace']}"
        labels = urllib.parse.quote(",".join(f"{key}={value}" for key, value in selector.items()))
        pods: list[Object] = self.request("GET", f"{base}/pods?labelSelector={labels}")["items"]
        events: list[Object] = self.request("GET", f"{base}/events?fieldSelector=type%3DWarning&limit=500")["items"]
        name = manifest["metadata"]["name"]
        return pods, [each for each in events if each["involvedObject"].get("name", "").startswith(name)]

    def close(self) -> None:
        """Close the connection of this thread; the next request opens another one."""
        kept: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        self._local.connection = None
        if kept is not None:
            kept.close()

    def _path(self, manifest: Object) -> str:
        found = self._kind(manifest)
        if found is None:
            raise NoSuchKindError(manifest)
        plural, namespaced = found
        metadata = manifest["metadata"]
        where = f"/namespaces/{metadata.get('namespace') or self.access.namespace}" if namespaced else ""
        return f"{_base(manifest['apiVersion'])}{where}/{plural}/{metadata['name']}"

    def _kind(self, manifest: Object) -> tuple[str, bool] | None:
        """Return the plural name of the object's kind and whether it is namespaced; ask again for unknown ones."""
        version, kind = manifest["apiVersion"], manifest["kind"]
        if kind not in self._kinds.get(version, {}):
            try:
                found = self.request("GET", _base(version))["resources"]
            except ApiError as error:
                if error.code != 404:
                    raise
                found = []
            self._kinds[version] = {
                each["kind"]: (each["name"], each["namespaced"]) for each in found if "/" not in each["name"]
            }
        return self._kinds[version].get(kind)

    def _send(self, method: str, path: str, body: str | None, kind: str) -> tuple[int, str]:
        headers = {"Accept": "application/json", "Content-Type": kind}
        if self.access.token:
            headers["Authorization"] = f"Bearer {self.access.token}"
        kept: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        try:
            connection = kept or self._connect()
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if kept is None:
                raise UnreachableError(self.access, error) from error
            # The server may have closed a kept connection meanwhile; all requests may be repeated.
            return self._send(method, path, body, kind)
        for warning in answer.headers.get_all("Warning") or []:
            # Fields that the API server drops, pods that it would refuse: the engine shows a plugin's stderr.
            sys.stderr.write(f"warning: {path.partition('?')[0]}: {warning.partition(' - ')[2]}\n")
        return answer.status, text

    def _connect(self) -> http.client.HTTPConnection:
        address, tls = urllib.parse.urlsplit(self.access.server), self.access.tls
        host, port = address.hostname or "", address.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=tls)
            if tls
            else http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        )
        self._local.connection = connection
        connection.connect()
        connection.sock.settimeout(ANSWER_SECONDS)
        return connection


def _base(version: str) -> str:
    return f"/api/{version}" if "/" not in version else f"/apis/{version}"
