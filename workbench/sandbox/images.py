"""A container registry, a builder, and the images that the cluster needs.

Registry and builder keep their data in the cache, so that a second sandbox
builds nothing. Images go by their production names: containerd asks the local
registry whichever registry a name begins with.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from workbench.paths import Paths
from workbench.sandbox.addresses import REGISTRY
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import CommandError, run, say, wait_for
from workbench.toolchain.tools import module_source, version

HERE: Final = Path(__file__).parent / "images"
BASE: Final = "python:3.11-slim"
BUILDKIT: Final = "unix:///run/buildkit/buildkitd.sock"

# Programs of `toolchain/modules/` that the service image carries beside Debian's.
PROGRAMS: Final = ("argocd", "helm", "kustomize", "operator", "prometheus", "prometheus-config-reloader")
MODEL: Final = "vllm-eval/sandbox-model:latest"
# The registry keeps every evaluation image. Above this size it starts empty again, which costs some two minutes.
REGISTRY_BYTES: Final = 10 * 10**9
SMALL: Final = 2**20


def store(paths: Paths) -> Path:
    """Return the folder for images: the cache's, or the sandbox's own while another sandbox uses the cache's.

    It is chosen, and checked for damage, whenever the registry does not run. The choice of an earlier start is not
    enough: it survives a power failure, and the images may not.
    """
    chosen = paths.state / "images.path"
    if chosen.exists() and Sandbox(paths).alive("registry"):
        return Path(chosen.read_text())
    folder = paths.cache / "images"
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / "owner"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        holder = Path(owner.read_text()).name if owner.exists() else paths.name
        if holder != paths.name and Sandbox(replace(paths, name=holder)).pid() is not None:
            say("  another sandbox uses the image cache: this one builds its images anew")
            folder = paths.state / "images"
        else:
            owner.write_text(paths.name)
        drop_if_large(folder / "registry", REGISTRY_BYTES)
        drop_if_damaged(folder / "registry")
    chosen.write_text(str(folder))
    return folder


def drop_if_large(folder: Path, limit: int) -> None:
    """Remove a folder that holds more than `limit` bytes; no process may use it."""
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if used > limit:
        say(f"  the cached images take {used / 1e9:.0f} GB: they are removed and built anew")
        shutil.rmtree(folder)


def drop_if_damaged(folder: Path) -> None:
    """Remove a registry with an incomplete blob, as a power failure leaves it. No process may use it."""
    if damaged := _cut_short(folder / "docker/registry/v2/blobs/sha256"):
        say(f"  {damaged} in the image cache is damaged: all images are removed and built anew")
        shutil.rmtree(folder)


def start(sandbox: Sandbox) -> None:
    """Start the registry and the builder."""
    config = sandbox.paths.state / "config"
    sandbox.daemon("registry", ["registry", "serve", config / "registry.yaml"])
    sandbox.daemon("buildkitd", ["buildkitd", "--config", config / "buildkitd.toml", "--oci-worker-binary=runc"])
    wait_for("the registry", lambda: crane(sandbox, "catalog", REGISTRY) or True, seconds=60)
    wait_for("the builder", lambda: buildctl(sandbox, "debug", "workers"), seconds=60)


def provide_pause(sandbox: Sandbox) -> None:
    """Push the pods' pause image, which holds nothing but the sandbox's own `pause`."""
    if not exists(sandbox, "pause:sandbox"):
        with _staging(sandbox) as folder:
            shutil.copy(sandbox.paths.bin / "pause", folder / "pause")
            _push_rootfs(sandbox, folder, "pause:sandbox", "--entrypoint=/pause", "--user=65535")


def provide_base(sandbox: Sandbox) -> None:
    """Push the Python base image: a minimal Debian from its package registry, with this machine's CA bundle."""
    if exists(sandbox, f"library/{BASE}"):
        return
    with _staging(sandbox) as folder:
        suite, mirror = _debian_release()
        packages = "ca-certificates,python3,python3-venv,python-is-python3"
        sandbox.run(
            ["debootstrap", "--variant=minbase", f"--include={packages}", suite, folder, mirror],
            timeout=900,
            log=sandbox.paths.logs / "debootstrap.log",
        )
        shutil.rmtree(folder / "var/cache/apt/archives", ignore_errors=True)
        # Behind a proxy that signs with its own authority, pip and apt in builds need that authority too.
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder / "etc/ssl/certs/ca-certificates.crt")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        _push_rootfs(sandbox, folder, f"library/{BASE}", f"--env={path}", "--cmd=python3")


def services() -> dict[str, list[str]]:
    """Return the production name of every service image, with its user and the program that it starts.

    The tags are those that the stack and the sandbox's manifests ask for.
    """
    operator = f"v{version('prometheus-operator')}"
    return {
        f"argoproj/argocd:v{version('argocd')}": ["999", "/usr/bin/tini", "--"],
        "library/redis:sandbox": ["65534", "redis-server"],
        "prom/pushgateway:v1.5.1": ["65534", "prometheus-pushgateway"],
        f"prometheus-operator/prometheus-operator:{operator}": ["65534", "operator"],
        f"prometheus-operator/prometheus-config-reloader:{operator}": ["65534", "prometheus-config-reloader"],
        "prometheus/alertmanager:v0.25.0": ["65534", "prometheus-alertmanager"],
        f"prometheus/prometheus:v{version('prometheus')}": ["65534", "prometheus"],
    }


def provide_services(sandbox: Sandbox) -> None:
    """Build the one image of all services and push it under each of their names."""
    programs = [sandbox.paths.bin / name for name in PROGRAMS]
    # Argo CD verifies every commit through these two scripts of its own module.
    wrappers = [module_source("argocd") / "hack" / name for name in ("gpg-wrapper.sh", "git-verify-wrapper.sh")]
    key = _key([HERE / "services/Dockerfile", *programs])
    built = f"sandbox/services:{key}"
    if not exists(sandbox, built):
        with _staging(sandbox) as folder:
            (folder / "bin").mkdir()
            for program in [*programs, *wrappers]:
                shutil.copy(program, folder / "bin" / program.name)
            build(sandbox, built, context=folder, dockerfile=HERE / "services/Dockerfile")
    for name, (user, *entrypoint) in services().items():
        config = [f"--user={user}", f"--entrypoint={','.join(entrypoint)}"]
        crane(sandbox, "mutate", f"{REGISTRY}/{built}", *config, "--tag", f"{REGISTRY}/{name}")


def provide_model(sandbox: Sandbox) -> None:
    """Build the served model's image unless the registry has it."""
    key = _key(sorted((HERE / "model").iterdir()))
    if not exists(sandbox, MODEL.replace("latest", key)):
        build(sandbox, MODEL.replace("latest", key), context=HERE / "model", dockerfile=HERE / "model/Dockerfile")
    crane(sandbox, "tag", f"{REGISTRY}/{MODEL.replace('latest', key)}", "latest")


def build(sandbox: Sandbox, name: str, *, context: Path, dockerfile: Path, target: str = "") -> str:
    """Build an image, push it to the registry as `name`, and return its digest."""
    options = [f"--opt=build-arg:BASE=docker.io/library/{BASE}", f"--opt=filename={dockerfile.name}"]
    if target:
        options.append(f"--opt=target={target}")
    say(f"  building the image {name.partition(':')[0]} …")
    buildctl(
        sandbox,
        "build",
        "--progress=plain",
        "--frontend=dockerfile.v0",
        f"--local=context={context}",
        f"--local=dockerfile={dockerfile.parent}",
        *options,
        f"--output=type=image,name={REGISTRY}/{name},push=true,registry.insecure=true,compression=uncompressed",
        log=sandbox.paths.logs / f"image-{name.replace('/', '-').partition(':')[0]}.log",
    )
    return digest(sandbox, name)


def digest(sandbox: Sandbox, name: str) -> str:
    """Return the digest that the registry has for a name."""
    return crane(sandbox, "digest", f"{REGISTRY}/{name}").strip()


def exists(sandbox: Sandbox, name: str) -> bool:
    """Tell whether the registry has the image."""
    repository, _, tag = name.partition(":")
    catalog = crane(sandbox, "catalog", REGISTRY).split()
    return repository in catalog and tag in crane(sandbox, "ls", f"{REGISTRY}/{repository}").split()


def holds(sandbox: Sandbox, reference: str) -> bool:
    """Tell whether the registry has the image of a reference with a digest, whichever registry it begins with."""
    try:
        return bool(crane(sandbox, "digest", f"{REGISTRY}/{reference.partition('/')[2]}"))
    except CommandError:
        return False


def crane(sandbox: Sandbox, command: str, *words: str) -> str:
    """Run crane against the sandbox's plain-HTTP registry."""
    return sandbox.run(["crane", command, "--insecure", *words])


def buildctl(sandbox: Sandbox, *words: str, log: Path | None = None) -> str:
    """Run the builder's client."""
    return sandbox.run(["buildctl", f"--addr={BUILDKIT}", *words], log=log, timeout=1800)


def _push_rootfs(sandbox: Sandbox, folder: Path, name: str, *config: str) -> None:
    layer = folder.with_suffix(".tar")
    with tarfile.open(layer, "w") as archive:
        archive.add(folder, arcname=".", filter=_without_devices)
    # The real name is pushed last, so an image with that name is complete.
    unfinished, finished = f"{REGISTRY}/sandbox/unfinished", f"{REGISTRY}/{name}"
    try:
        crane(sandbox, "append", f"--new_layer={layer}", f"--new_tag={unfinished}")
        crane(sandbox, "mutate", unfinished, "--set-platform=linux/amd64", *config, "--tag", finished)
    finally:
        layer.unlink()


def _without_devices(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    # Leave out device nodes: the runtime makes them, and unpacking one needs privileges.
    return None if member.isdev() else member


def _debian_release() -> tuple[str, str]:
    """Return the suite and mirror that this machine's apt uses, whichever they are."""
    listed = run(["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE) $(REPO_URI)", "Created-By: Packages"])
    for line in listed.splitlines():
        codename, _, uri = line.split()
        if "-" not in codename:
            return codename, uri
    return "bookworm", listed.split()[2]


def _key(files: list[Path]) -> str:
    # A tool's link names its version, so its target's path stands for its content.
    contents = (os.path.realpath(file).encode() if file.is_symlink() else file.read_bytes() for file in files)
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:12]


@contextmanager
def _staging(sandbox: Sandbox) -> Iterator[Path]:
    folder = sandbox.paths.state / "staging"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _cut_short(blobs: Path) -> Path | None:
    """Return a blob whose content or size differs from what its name, or a manifest that lists it, says.

    Large blobs are not read, which would take a minute: a manifest knows how large they are.
    """
    for file in blobs.glob("*/*/data"):
        if file.stat().st_size > SMALL:
            continue
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != file.parent.name:
            return file
        try:
            manifest: dict[str, Any] = json.loads(content)
        except ValueError:
            continue  # a small layer
        # An image's configuration also has a key `config`, with another meaning.
        listed = [manifest.get("config", {}), *manifest.get("layers", []), *manifest.get("manifests", [])]
        for part in [each for each in listed if "digest" in each]:
            name = str(part["digest"]).removeprefix("sha256:")
            blob = blobs / name[:2] / name / "data"
            if not blob.exists() or blob.stat().st_size != part["size"]:
                return blob
    return None
