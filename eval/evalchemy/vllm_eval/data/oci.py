"""Bundles in a container registry: one image of one layer, which a pod mounts as an image volume or the runner pulls.

The image's bytes depend on the bundle alone: the layer is a plain tar without
times and owners, since compressed bytes differ between versions of zlib.
"""

import base64
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

from vllm_eval.errors import DataError, RunSettingsError, TaskError

if TYPE_CHECKING:
    import requests

_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_SECONDS: Final = 300
_REFERENCE: Final = re.compile(
    r"oci(?P<plain>\+http)?://(?P<registry>[^/@]+)/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class Reference:
    """``oci://REGISTRY/NAME[:TAG][@DIGEST]``; ``base`` is the registry's URL, by plain http on loopback or if asked."""

    base: str
    registry: str
    name: str
    tag: str
    digest: str | None

    def __str__(self) -> str:
        return f"oci://{self.registry}/{self.name}:{self.tag}{f'@{self.digest}' if self.digest else ''}"


def is_reference(location: str) -> bool:
    """Whether a location is in a container registry."""
    return location.startswith(("oci://", "oci+http://"))


def parse_reference(location: str) -> Reference:
    """Parse a reference.

    Raises
    ------
    RunSettingsError
        It is none.
    """
    match = _REFERENCE.fullmatch(location)
    if match is None:
        raise RunSettingsError(f"{location!r} is no reference like oci://registry.example.com/evaluation/data:v1")
    registry = match["registry"]
    loopback = registry.partition(":")[0] in {"localhost", "127.0.0.1"} or registry.startswith("[::1]")
    scheme = "http" if match["plain"] or loopback else "https"
    return Reference(f"{scheme}://{registry}", registry, match["name"], match["tag"] or "latest", match["digest"])


class Registry:
    """The distribution API of one repository, with the credentials that `docker login` stored.

    Raises
    ------
    DataError
        The registry cannot be reached, or fails.
    TaskError
        It refuses the credentials, or has no such image.
    """

    def __init__(self, reference: Reference) -> None:
        import requests

        self._reference = reference
        self._session = requests.Session()
        self._basic = _stored_credentials(reference.registry)

    def push(self, files: Mapping[str, bytes]) -> str:
        """Push files as one image, and return its digest."""
        layer = _tar(files)
        config = _json(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            }
        )
        described = {"mediaType": _CONFIG, "digest": _digest(config), "size": len(config)}
        layers = [{"mediaType": _LAYER, "digest": _digest(layer), "size": len(layer)}]
        manifest = _json({"schemaVersion": 2, "mediaType": _MANIFEST, "config": described, "layers": layers})
        for blob in (config, layer):
            self._upload(blob)
        self._ask("PUT", f"manifests/{self._reference.tag}", data=manifest, headers={"Content-Type": _MANIFEST})
        return _digest(manifest)

    def pull(self, folder: Path) -> str:
        """Write an image's files under ``folder`` and return its digest; each blob is verified."""
        reference = self._reference
        path = f"manifests/{reference.digest or reference.tag}"
        content = self._ask("GET", path, headers={"Accept": _MANIFEST}).content
        digest = _digest(content)
        if reference.digest not in {None, digest}:
            raise TaskError(f"{reference}: the registry sends another manifest ({digest})")
        try:
            layers = [layer["digest"] for layer in json.loads(content)["layers"]]
        except (ValueError, KeyError, TypeError):
            raise TaskError(
                f"{reference}: is no image of a bundle; `vllm-eval bundle --out oci://…` makes one"
            ) from None
        for layer in layers:
            blob = self._ask("GET", f"blobs/{layer}").content
            if _digest(blob) != layer:
                raise DataError(f"{reference}: the layer {layer} arrived damaged")
            _untar(blob, folder, reference)
        return digest

    def _upload(self, blob: bytes) -> None:
        digest = _digest(blob)
        if self._ask("HEAD", f"blobs/{digest}", absent=True).status_code == 200:
            return
        place = self._ask("POST", "blobs/uploads/").headers["Location"]
        url = urljoin(f"{self._reference.base}/", place)
        joint = "&" if "?" in url else "?"
        headers = {"Content-Type": "application/octet-stream"}
        self._ask("PUT", f"{url}{joint}digest={digest}", data=blob, headers=headers)

    def _ask(
        self, verb: str, path: str, *, data: bytes | None = None, headers: Mapping[str, str] | None = None,
        absent: bool = False,
    ) -> "requests.Response":  # fmt: skip
        import requests

        url = path if "://" in path else f"{self._reference.base}/v2/{self._reference.name}/{path}"
        try:
            answer = self._session.request(verb, url, data=data, headers=headers, timeout=_SECONDS)
            if answer.status_code == 401 and self._log_in(answer.headers.get("WWW-Authenticate", "")):
                answer = self._session.request(verb, url, data=data, headers=headers, timeout=_SECONDS)
        except requests.RequestException as error:
            raise DataError(f"{self._reference}: the registry cannot be reached: {error}") from None
        if answer.ok or (absent and answer.status_code == 404):
            return answer
        if answer.status_code in {401, 403}:
            raise TaskError(
                f"{self._reference}: the registry refuses these credentials ({answer.status_code}); `docker login "
                f"{self._reference.registry}` stores them, or set DOCKER_CONFIG to the folder of their config.json"
            )
        if answer.status_code == 404:
            raise TaskError(f"{self._reference}: the registry has no such image")
        raise DataError(f"{self._reference}: the registry answers {answer.status_code}: {answer.text[:200]}")

    def _log_in(self, challenge: str) -> bool:
        """Answer a challenge; whether there is something new to try."""
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "basic" and self._basic and "Authorization" not in self._session.headers:
            self._session.headers["Authorization"] = f"Basic {self._basic}"
            return True
        asked = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if kind.lower() != "bearer" or "realm" not in asked:
            return False
        headers = {"Authorization": f"Basic {self._basic}"} if self._basic else {}
        self._session.headers.pop("Authorization", None)
        query = {key: asked[key] for key in ("service", "scope") if key in asked}
        answer = self._session.get(asked["realm"], params=query, headers=headers, timeout=_SECONDS)
        if not answer.ok:
            return False
        token = answer.json()
        self._session.headers["Authorization"] = f"Bearer {token.get('token') or token.get('access_token')}"
        return True


def _stored_credentials(registry: str) -> str | None:
    """Return what `docker login` keeps for a registry: user and password in base64."""
    folder = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    try:
        auths = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")).get("auths", {})
    except (OSError, ValueError):
        return None
    entry = auths.get(registry) or auths.get(f"https://{registry}") or {}
    if entry.get("auth"):
        return str(entry["auth"])
    if entry.get("username"):
        return base64.b64encode(f"{entry['username']}:{entry.get('password', '')}".encode()).decode()
    return None


def _tar(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folders = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."}
        for path in sorted(folders):
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(files[path]), 0o644
            archive.addfile(entry, io.BytesIO(files[path]))
    return content.getvalue()


def _untar(blob: bytes, folder: Path, reference: Reference) -> None:
    try:
        with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
            archive.extractall(folder, filter="data")
    except tarfile.TarError as error:
        raise TaskError(f"{reference}: is no image of a bundle: {error}") from None
    except OSError as error:
        raise DataError(f"{reference}: cannot be kept in {folder}: {error.strerror}") from None


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
