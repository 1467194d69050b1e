"""What every workflow of this repository keeps to, as a function from its text to its faults."""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

PINNED: Final = re.compile(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40}")
COMMENTED: Final = re.compile(r"uses:\s+\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
# `sudo` forgets PATH unless it is given again.
OWN: Final = re.compile(
    r'(sudo env "PATH=\$PATH" ([A-Z_]+=[\w/.-]+ )*)?make (?P<target>[a-z0-9-]+)( [A-Z]+=[\w:/.-]+)*'
    r"|((\.venv/bin/python |python3 )(-m workbench\.ci\.|workbench/ci/)|workbench/ci/)[\w.]+( [^;|&<>()`\n]*)?"
)
# Triggers that run with the repository's secrets on what a stranger wrote.
DANGEROUS: Final = frozenset({"pull_request_target", "workflow_run", "issue_comment"})
# Who may write what; anything else is a fault until it is entered here with its reason.
MAY_WRITE: Final = {
    ("image-build", "build"): {"packages", "id-token", "attestations"},  # pushes the image, and signs who built it
    ("release", "tag"): {"packages"},  # tags the image
    ("image-build", "write-back"): {"contents"},  # pushes the manifest
    ("image-build", "deploy-dev"): {"actions"},  # starts deploy.yml
    ("preview", "preview"): {"id-token"},  # OIDC
    ("preview", "comment"): {"pull-requests"},  # the comment
    ("deploy", "up"): {"id-token"},  # OIDC
}


def faults(text: str) -> list[str]:
    """Return every rule that a workflow breaks, each with its place."""
    workflow = yaml.safe_load(text)
    found = list(_lines(text))
    # YAML 1.1 reads the key `on` as true.
    triggers = workflow.get("on", workflow.get(True))
    found += [f"trigger {name} is dangerous" for name in DANGEROUS & set(triggers)]
    if workflow.get("permissions") != {}:
        found.append("permissions at the top are not {}")
    if "concurrency" not in workflow and not all("concurrency" in job for job in workflow["jobs"].values()):
        found.append("no concurrency group")
    for name, job in workflow["jobs"].items():
        found += [f"job {name}: {fault}" for fault in _job(workflow["name"], name, job)]
    return found


def steps(text: str) -> list[dict[str, Any]]:
    """Return the steps of a workflow's jobs or of a composite action."""
    parsed = yaml.safe_load(text)
    if "runs" in parsed:
        return list(parsed["runs"]["steps"])
    return [step for job in parsed["jobs"].values() for step in job["steps"]]


def step_faults(step: dict[str, Any]) -> Iterator[str]:
    """Yield the rules that one step breaks."""
    run, uses = step.get("run"), step.get("uses", "")
    if run is not None:
        if "${{" in run:
            yield f"an expression in run: {run}"
        if not OWN.fullmatch(run.strip()):
            yield f"not a make target and not a script: {run}"
    elif not uses.startswith("./") and not PINNED.fullmatch(uses):
        yield f"not pinned by SHA: {uses}"
    if uses.startswith("actions/checkout@") and step.get("with", {}).get("persist-credentials") is not False:
        yield "checkout without persist-credentials: false"


def _lines(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if "uses: " in line and "uses: ./" not in line and not COMMENTED.search(line):
            yield f"line {number}: no version comment: {line.strip()}"


def _job(workflow: str, name: str, job: dict[str, Any]) -> Iterator[str]:
    if "permissions" not in job:
        yield "no permissions"
    permissions = job.get("permissions", {})
    writes = (
        {scope for scope, level in permissions.items() if level == "write"} if permissions != "write-all" else {"*"}
    )
    yield from (f"may not write {scope}" for scope in sorted(writes - MAY_WRITE.get((workflow, name), set())))
    if "timeout-minutes" not in job:
        yield "no timeout"
    container = job.get("container", {})
    image = container if isinstance(container, str) else container.get("image", "")
    of_matrix = image == "${{ matrix.image }}"
    images = [each["image"] for each in job["strategy"]["matrix"]["include"]] if of_matrix else [image] if image else []
    images += [service.get("image", "") for service in job.get("services", {}).values()]
    yield from (f"image without digest: {each}" for each in images if not re.search(r"@sha256:[0-9a-f]{64}$", each))
    if "sha256" in str(job.get("name")) or "matrix.image" in str(job.get("name")):
        yield "a digest in the name, by which branch protection knows the check"
    if "secrets." in yaml.safe_dump(job) and "environment" not in job:
        yield "uses secrets outside an environment"
    for step in job["steps"]:
        yield from step_faults(step)
