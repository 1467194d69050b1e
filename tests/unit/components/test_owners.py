"""The table of objects and owners in docs/architecture.md names what the program declares, and nothing else."""

import copy
import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from tests.support import program
from tests.support.program import ROOT

TEXT: Final = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROWS: Final = re.findall(
    r"^\| (\w+)(?: \(Helm\))? \| \*?([\w.-]+)\*? \| ([^|]+) \| `([^`]+)` \|",
    TEXT.partition("## Objects and owners")[2],
    re.M,
)
SECRETS: Final = {
    "git-password": "x",
    "huggingface-token": "x",
    "registry-credentials": '{"auths": {"ghcr.io": {"auth": "eDp4"}}}',
    "endpoint-key": "x",
    "receiver-team": "https://hooks.example.com/x",
}


def with_every_secret(name: str, monitoring: Mapping[str, Any] | None = None) -> program.Stack:
    groups = copy.deepcopy(program.stack_file(name))
    groups["models"][0]["api_key"] = "key"
    hub = {"network": {"cidr": "0.0.0.0/0", "port": 443}}
    groups["evaluation"] = {**groups.get("evaluation", {}), "data": {"hub": hub}, "report": {"service": True}}
    groups["evaluation"].setdefault("results", {})["access_mode"] = "ReadWriteMany"
    groups["monitoring"] = {**groups.get("monitoring", {}), "receivers": [{"name": "team", "kind": "slack"}]}
    groups["monitoring"] |= monitoring or {}
    return program.run(groups, SECRETS, stack=name)


def test_the_table_of_owners_is_complete() -> None:
    stacks = [with_every_secret(name) for name in ("dev", "prod", "local")]
    declared = {(each.kind, str(each.metadata["name"])) for stack in stacks for each in stack.kubernetes()}
    manifests = [yaml.safe_load(path.read_text()) for path in (ROOT / "k8s").glob("evalchemy-*.yaml")]
    declared |= {(each["kind"], each["metadata"]["name"]) for each in manifests}
    assert sorted((kind, name) for kind, name, _, _ in ROWS) == sorted(declared)
    for _, _, _, file in ROWS:
        assert (ROOT / file).is_file(), file
