"""A real container registry on loopback, and images with attestations pushed to it as BuildKit pushes them."""

import hashlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONFIG: Final = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0"}}
"""
INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG_BLOB: Final = "application/vnd.oci.image.config.v1+json"
IN_TOTO: Final = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class Registry:
    """A running registry.

    Attributes
    ----------
    address
        `127.0.0.1:PORT`.
    folder
        A folder for image layouts.
    """

    address: str
    folder: Path

    @property
    def name(self) -> str:
        """Name of the one image here, without tag."""
        return f"{self.address}/acme/vllm-eval-evalchemy"

    def push(self, *, code: str, built_at: str) -> str:
        """Push an index of one runnable manifest and its attestation; return the index's digest."""
        layout = self.folder / hashlib.sha256(f"{code}/{built_at}".encode()).hexdigest()
        blobs = layout / "blobs" / "sha256"
        blobs.mkdir(parents=True)

        def put(value: object) -> dict[str, object]:
            data = json.dumps(value, sort_keys=True).encode()
            name = hashlib.sha256(data).hexdigest()
            (blobs / name).write_bytes(data)
            return {"digest": f"sha256:{name}", "size": len(data)}

        def manifest(config: dict[str, object], layers: list[dict[str, object]]) -> dict[str, object]:
            described = {**put(config), "mediaType": CONFIG_BLOB}
            body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers}
            return {**put(body), "mediaType": MANIFEST}

        image = manifest({"architecture": "amd64", "os": "linux", "config": {"Env": [code]}}, [])
        statement = {**put({"predicate": {"finishedOn": built_at}}), "mediaType": IN_TOTO}
        attestation = manifest({"architecture": "unknown", "os": "unknown"}, [statement])
        index = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                {**image, "platform": {"architecture": "amd64", "os": "linux"}},
                {
                    **attestation,
                    "platform": {"architecture": "unknown", "os": "unknown"},
                    "annotations": {
                        "vnd.docker.reference.digest": image["digest"],
                        "vnd.docker.reference.type": "attestation-manifest",
                    },
                },
            ],
        }
        (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")
        command = ["crane", "push", "--index", str(layout), f"{self.name}:latest"]
        pushed = subprocess.run(command, check=True, capture_output=True, text=True)
        return pushed.stdout.strip().rpartition("@")[2]

    def delete(self, digest: str) -> None:
        """Delete an image by digest, as a registry's clean-up does."""
        subprocess.run(["crane", "delete", f"{self.name}@{digest}"], check=True, capture_output=True)


@contextmanager
def running_registry(folder: Path) -> Iterator[Registry]:
    """Run a registry on a free loopback port until the block ends."""
    config = folder / "registry.yaml"
    config.write_text(CONFIG.format(folder=folder / "data"), encoding="utf-8")
    log = folder / "registry.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(["registry", "serve", str(config)], stdout=sink, stderr=sink)
    try:
        yield Registry(_address(log, process), folder)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text(encoding="utf-8")):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the registry did not start:\n{log.read_text(encoding='utf-8')}")
