"""What every workflow keeps to beside what actionlint and zizmor (`make check`, `make lint`) say of it."""

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from workbench.paths import IMAGE_SOURCES, REPOSITORY

GITHUB: Final = REPOSITORY / ".github"
WORKFLOWS: Final = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS: Final = sorted((GITHUB / "actions").glob("*/action.yml"))
COMMENTED: Final = re.compile(r"uses:\s+\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
# `sudo` forgets PATH unless it is given again.
OWN: Final = re.compile(
    r'(sudo env "PATH=\$PATH" ([A-Z_]+=[\w/.-]+ )*)?make [a-z0-9-]+( [A-Z]+=[\w:/.-]+)*'
    r"|((\.venv/bin/python |python3 )(-m workbench\.ci\.|workbench/ci/)|workbench/ci/)[\w.]+( [^;|&<>()`\n]*)?"
)
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


def identity(path: Path) -> str:
    return str(path.relative_to(GITHUB))


def steps(path: Path) -> list[dict[str, Any]]:
    """Return the steps of a workflow's jobs or of a composite action."""
    parsed = yaml.safe_load(path.read_text(encoding="utf-8"))
    jobs = [parsed["runs"]] if "runs" in parsed else parsed["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=identity)
def test_a_job_ends_in_time_and_writes_what_is_entered_alone(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert "timeout-minutes" in job, name
        writes = {scope for scope, level in job.get("permissions", {}).items() if level == "write"}
        assert writes <= MAY_WRITE.get((workflow["name"], name), set()), name
        # By its name, branch protection knows the check.
        assert not re.search(r"sha256|matrix\.image", str(job.get("name"))), name


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=identity)
def test_a_step_runs_a_make_target_or_a_script_of_ours(path: Path) -> None:
    for step in steps(path):
        assert "run" not in step or OWN.fullmatch(step["run"].strip()), step["run"]


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=identity)
def test_the_version_of_a_pinned_action_stands_beside_it(path: Path) -> None:
    used = [
        line for line in path.read_text(encoding="utf-8").splitlines() if "uses: " in line and "uses: ./" not in line
    ]
    assert [line for line in used if not COMMENTED.search(line)] == []


def test_an_action_has_one_pin_everywhere() -> None:
    pins: dict[str, set[str]] = defaultdict(set)
    for path in (*WORKFLOWS, *ACTIONS):
        for name, pin in re.findall(r"uses: ([^\s@]+)@([^\n]+)", path.read_text(encoding="utf-8")):
            pins[name].add(pin)
    assert len(pins) >= 10
    assert {name: sorted(found) for name, found in pins.items() if len(found) > 1} == {}


def test_every_make_target_and_script_that_is_called_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = [step["run"] for path in (*WORKFLOWS, *ACTIONS) for step in steps(path) if "run" in step]
    for job in yaml.safe_load((REPOSITORY / "workbench/ci/gitlab-ci.yml").read_text(encoding="utf-8")).values():
        called += [line for part in ("before_script", "script") if part in job for line in job[part]]
    for run in called:
        for words in re.findall(r"\bmake ([a-z][a-z0-9 -]*)", run):
            assert set(words.split()) <= targets, run
        for module in re.findall(r"-m (workbench\.[\w.]+)", run):
            assert (REPOSITORY / module.replace(".", "/")).with_suffix(".py").is_file(), run
        for script in re.findall(r"workbench/ci/[\w.]+", run):
            path = REPOSITORY / script
            assert path.is_file(), run
            # Those that are called without an interpreter need the bit, also in Git.
            assert path.suffix == ".py" or os.access(path, os.X_OK), script


def test_the_cli_is_of_the_same_version_as_the_package() -> None:
    action = (GITHUB / "actions" / "pulumi" / "action.yml").read_text(encoding="utf-8")
    requirements = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    cli = re.search(r"pulumi-version: ([\d.]+)", action)
    package = re.search(r"^pulumi==([\d.]+)", requirements, re.MULTILINE)
    assert cli is not None
    assert package is not None
    assert cli[1] == package[1]


FOLDERS: Final = [each for each in IMAGE_SOURCES if not each.startswith(":!")]
PROSE: Final = [each.removeprefix(":!*") for each in IMAGE_SOURCES if each.startswith(":!")]


def test_githubs_workflow_names_what_the_image_is_built_from() -> None:
    workflow = yaml.safe_load((GITHUB / "workflows" / "image-build.yml").read_text(encoding="utf-8"))
    paths = workflow[True]["push"]["paths"]  # YAML 1.1 reads the key `on` as true
    # The last pattern that fits decides, and the workflow's own file is no prose.
    assert paths == [*(f"{each}/**" for each in FOLDERS), *(f"!**{each}" for each in PROSE), paths[-1]]
    assert paths[-1] == ".github/workflows/image-build.yml"


def test_gitlabs_pipeline_names_every_file_that_the_image_is_built_from() -> None:
    pipeline = yaml.safe_load((REPOSITORY / "workbench/ci/gitlab-ci.yml").read_text(encoding="utf-8"))
    [rule] = pipeline[".of-the-image"]
    # GitLab has no patterns that leave something out, so it lists the endings of files.
    patterns = [re.compile(_expression(each)) for each in rule["changes"]]
    files = [file for folder in FOLDERS for file in (REPOSITORY / folder).rglob("*") if file.is_file()]
    for name in (str(file.relative_to(REPOSITORY)) for file in files):
        if not re.search(r"/\.|/__pycache__/|\.egg-info/", name):  # made by tools, and not committed
            assert any(each.fullmatch(name) for each in patterns) == (Path(name).suffix not in PROSE), name


def _expression(pattern: str) -> str:
    """Return a glob of GitLab's as a regular expression: `**/`, `*` and `{a,b}`, which is all that we use."""
    found = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
    return found.replace(r"\{", "(").replace(r"\}", ")").replace(",", "|")
