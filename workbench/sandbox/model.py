"""The sandbox's served model: by llama.cpp from an image of its own, or by vLLM from the cache.

vLLM's environment is mounted into the pod and not built into an image: its 5 GB would lie in the builder, the
registry, containerd's content and its snapshot, 20 GB in all, and copying them would take minutes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from workbench.cluster.kubectl import kubectl, rollout
from workbench.cluster.requests import DeployRequest
from workbench.paths import Paths
from workbench.sandbox.cluster import MANIFESTS
from workbench.sandbox.images import BASE
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import WorkbenchError
from workbench.toolchain.vllm import serve
from workbench.toolchain.vllm.provide import lacks as vllm_lacks
from workbench.toolchain.vllm.provide import places
from workbench.toolchain.vllm.provide import provide as provide_vllm

MEMORY: Final = 6 * 10**9  # bytes that vLLM uses, its cache of 1 GiB included
LIMIT: Final = "8Gi"  # and what its pod may use at most
OTHERS_MEMORY: Final = 4 * 10**9  # bytes that the rest of a sandbox uses
# How long vLLM may take to start while images are built. The Deployment itself gives up after 600 s.
READY_SECONDS: Final = 580
VLLM: Final = "vllm"
SERVERS: Final = ("llama.cpp", VLLM)
"""What SERVER may name; the first serves where it names none."""


def by_vllm(server: str) -> bool:
    """Tell whether vLLM is to serve the model."""
    return server == VLLM


def check(server: str, request: DeployRequest) -> None:
    """Refuse a server that there is not, or one beside an endpoint of the caller's own.

    Raises
    ------
    WorkbenchError
    """
    if server and server not in SERVERS:
        raise WorkbenchError(f"SERVER is {server!r}: it is one of {' and '.join(SERVERS)}, as in make up SERVER=vllm")
    if server and request.endpoint:
        raise WorkbenchError(
            f"SERVER is {server!r}, and it serves the sandbox's own model: leave it out with MODEL_ENDPOINT"
        )


def lacks(paths: Paths, server: str) -> Iterator[str]:
    """Say what this machine lacks for vLLM beside the rest of the sandbox, each with its cure."""
    if not by_vllm(server):
        return
    yield from vllm_lacks(paths)
    running = Sandbox(paths).pid() is not None
    served = _served(paths).exists() and _served(paths).read_text() == VLLM
    needed = 0 if running and served else MEMORY if running else MEMORY + OTHERS_MEMORY
    if (free := _available()) < needed:
        yield (
            f"{free / 1e9:.1f} GB of memory are available, the sandbox with vLLM needs {needed / 1e9:.0f}: "
            "end other programs, or leave SERVER=vllm out, since llama.cpp needs 1 GB"
        )


def provide(sandbox: Sandbox) -> None:
    """Put vLLM into the cache, if it is to serve."""
    if by_vllm(sandbox.server):
        provide_vllm(sandbox.paths)


def start(sandbox: Sandbox) -> None:
    """Create or change the Deployment and its Service."""
    objects = list(yaml.safe_load_all((MANIFESTS / "model.yaml").read_text()))
    if by_vllm(sandbox.server):
        pod = next(each for each in objects if each["kind"] == "Deployment")["spec"]["template"]["spec"]
        pod.update(_pod(sandbox.paths))
    _served(sandbox.paths).write_text(sandbox.server)
    kubectl(sandbox, "apply", "-f", "-", stdin=yaml.safe_dump_all(objects))


def wait(sandbox: Sandbox) -> None:
    """Wait until it serves."""
    rollout(sandbox, "-n serving deployment/model", seconds=READY_SECONDS if by_vllm(sandbox.server) else 180)


def _pod(paths: Paths) -> dict[str, Any]:
    """Return containers and volumes of vLLM's pod."""
    found = places(paths)
    python, minor = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
    mounted = {"env": (found.env, "/opt/vllm/env"), "model": (found.model, "/opt/vllm/model")}
    if python != Path("/usr"):  # Debian's own Python is in the image, which has this machine's release of Debian
        mounted["python"] = (python, "/opt/python")
    prefix = "/opt/python" if "python" in mounted else "/usr"
    env = {
        **serve.ENVIRONMENT,
        "PYTHONPATH": f"/opt/vllm/env/lib/{minor}/site-packages",
        # A Python built with a shared library looks for it where it was built.
        "LD_LIBRARY_PATH": f"{prefix}/lib:/opt/vllm/env/debian/usr/lib/x86_64-linux-gnu",
        "HOME": "/tmp",
    }
    command = [f"{prefix}/bin/{minor}", "-m", "vllm.entrypoints.cli.main"]
    container = {
        "name": "vllm",
        "image": f"docker.io/library/{BASE}",
        "command": [*command, *serve.arguments("/opt/vllm/model", host="0.0.0.0", port=8000)],  # noqa: S104 -- in a pod, reached by its Service
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 2, "failureThreshold": 300},
        "resources": {"requests": {"cpu": "500m", "memory": str(MEMORY)}, "limits": {"memory": LIMIT}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            *({"name": name, "mountPath": path, "readOnly": True} for name, (_, path) in mounted.items()),
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    volumes = [
        *({"name": name, "hostPath": {"path": str(path), "type": "Directory"}} for name, (path, _) in mounted.items()),
        {"name": "tmp", "emptyDir": {}},
        # Its processes pass their messages through shared memory, of which a pod has 64 MiB.
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
    ]
    return {"containers": [container], "volumes": volumes}


def _served(paths: Paths) -> Path:
    return paths.state / "model-server"


def _available() -> int:
    """Return the bytes of memory that new programs can use without swapping."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
