"""Gives the tools one version of each library that several of them compile.

Go's cache serves a compiled library to another tool only if the library, and all that it imports, have the same
versions and the same Go. Upstream's lists differ: built from nothing, they compiled Kubernetes' API and client eight
times. After an update of a tool, `python -m workbench.toolchain.libraries` raises each shared library to the highest
version that any of the tools asks for. All else stays as upstream has it.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from workbench.toolchain.tools import TOOLS, go_env

# What most tools compile, by weight, and what those libraries import. Released versions are compatible within a major
# version by Go's rule, so an older program may have a newer one. What a single program is made of is not here.
SHARED: Final = re.compile(
    r"""^(?:
    k8s\.io | sigs\.k8s\.io | google\.golang\.org | golang\.org/x | go\.opentelemetry\.io
    | go\.yaml\.in/yaml/v[23] | gopkg\.in
    | github\.com/(?:
        aws | beorn7 | cenkalti | cespare | davecgh | emicklei | evanphx | felixge | fxamacker | go-logr | go-openapi
        | gogo/protobuf | golang/(?:groupcache|protobuf) | google/(?:btree|gnostic-models|go-cmp|gofuzz|uuid)
        | gorilla/websocket | gregjones | grpc-ecosystem | inconshreveable | josharian | json-iterator | klauspost
        | kylelemons | liggitt | mailru | moby/(?:spdystream|term) | modern-go | monochromegane | munnerz | mxk
        | peterbourgon | pkg/errors | pmezard | prometheus/(?:client_golang|client_model|common|procfs) | spf13
        | stretchr | x448
    ))(?:/|$)""",
    re.VERBOSE,
)
# Kubernetes' libraries break what uses them with each minor version. So there are two lines of them: that of the
# cluster's programs, and that of Argo CD, for all others.
OF_KUBERNETES: Final = re.compile(r"^(?:sigs\.)?k8s\.io/")
CLUSTERS_LINE: Final = {
    "coredns",
    "kube-router",
    "kubernetes",
    "kustomize",
    "prometheus-operator",
    "pulumi-resource-kubernetes",
}


def shared(tool: str, library: str) -> tuple[str, str] | None:
    """Return what names the version of a library that a tool shares with others, or None if it shares none."""
    if not SHARED.match(library):
        return None
    return library, "cluster" if OF_KUBERNETES.match(library) and tool in CLUSTERS_LINE else ""


def wanted() -> dict[str, dict[str, str]]:
    """Return for each tool the versions that it should have: those of `go.mod` that are not the highest."""
    lists = {file.parent.name: _edit(file.parent) for file in sorted(TOOLS.glob("*/go.mod"))}
    highest: dict[tuple[str, str], str] = {}
    for tool, listed in lists.items():
        for library, version in _required(listed):
            if key := shared(tool, library):
                highest[key] = max(highest.get(key, version), version, key=_order)
    toolchain = max((listed.get("Toolchain", "") for listed in lists.values()), key=_order)
    found: dict[str, dict[str, str]] = {}
    for tool, listed in lists.items():
        found[tool] = {
            library: highest[key]
            for library, version in _required(listed)
            if (key := shared(tool, library)) and highest[key] != version
        }
        if listed.get("Toolchain") != toolchain:
            found[tool]["toolchain"] = toolchain
    return {tool: versions for tool, versions in found.items() if versions}


def main() -> int:
    """Raise the libraries until the tools agree: each one that is raised can ask for a higher one of another."""
    for _ in range(10):
        rest = wanted()
        if not rest:
            return 0
        for tool, versions in rest.items():
            print(f"{tool}: {len(versions)} raised", flush=True)
            toolchain = versions.pop("toolchain", None)
            edits = [f"-require={library}@{version}" for library, version in versions.items()]
            _go(TOOLS / tool, "mod", "edit", *edits, *([f"-toolchain={toolchain}"] if toolchain else []))
            _go(TOOLS / tool, "mod", "tidy")
    print("the tools do not come to agree: see `go mod graph` in the folders above", file=sys.stderr)
    return 1


def _edit(folder: Path) -> dict[str, Any]:
    listed: dict[str, Any] = json.loads(_go(folder, "mod", "edit", "-json"))
    return listed


def _required(listed: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["Path"], each["Version"]) for each in listed.get("Require") or []]


def _order(version: str) -> tuple[Any, ...]:
    """Return what sorts as Go sorts versions: numbers, then releases above what comes before them."""
    numbers, _, before = version.lstrip("vgo").partition("+")[0].partition("-")
    parts = tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"[.-]", before))
    return tuple(int(number) for number in numbers.split(".") if number), not before, parts


def _go(folder: Path, *arguments: str) -> str:
    # A go.work of somebody's above this clone is not ours.
    return subprocess.run(
        ["go", *arguments],
        cwd=folder,
        env={**go_env(), "GOWORK": "off"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
