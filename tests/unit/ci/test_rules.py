"""The workflows keep to the rules, and each rule can be broken."""

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.support.ci.git_world import REPOSITORY
from tests.unit.ci.rules import OWN, faults, step_faults, steps
from workbench.paths import IMAGE_SOURCES

GITHUB: Final = REPOSITORY / ".github"
WORKFLOWS: Final = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS: Final = sorted((GITHUB / "actions").glob("*/action.yml"))
SHA: Final = "1234567890123456789012345678901234567890"
GOOD: Final = f"""\
name: image-build
on: {{push: {{branches: [main]}}}}
permissions: {{}}
concurrency: {{group: x}}
jobs:
  build:
    runs-on: ubuntu-latest
    timeout-minutes: 5
    permissions:
      packages: write
    container: debian@sha256:{"a" * 64}
    environment: somewhere
    steps:
      - uses: actions/checkout@{SHA} # v7.0.1
        with: {{persist-credentials: false}}
      - run: make check
      - run: .venv/bin/python -m workbench.ci.write_back --image "$IMAGE"
        env: {{KEY: "${{{{ secrets.KEY }}}}"}}
"""


def identity(path: Path) -> str:
    return str(path.relative_to(GITHUB))


def test_the_workflows_are_there() -> None:
    assert {path.stem for path in WORKFLOWS} == {"ci", "deploy", "e2e", "image-build", "preview", "release"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=identity)
def test_workflow_keeps_to_the_rules(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", ACTIONS, ids=identity)
def test_composite_action_keeps_to_the_rules(path: Path) -> None:
    found = [fault for step in steps(path.read_text(encoding="utf-8")) for fault in step_faults(step)]
    assert found == []


def test_good_example_has_no_fault() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("permissions: {}", "permissions: read-all", "permissions at the top are not {}"),
        ("concurrency: {group: x}", "env: {}", "no concurrency group"),
        ("push: {branches: [main]}", "pull_request_target: {}", "trigger pull_request_target is dangerous"),
        ("packages: write", "contents: write", "job build: may not write contents"),
        ("    permissions:\n      packages: write\n", "", "job build: no permissions"),
        ("    timeout-minutes: 5\n", "", "job build: no timeout"),
        ("  build:\n", "  build:\n    name: On x@sha256:ab\n", "job build: a digest in the name"),
        ("@sha256:" + "a" * 64, ":bookworm", "job build: image without digest: debian:bookworm"),
        (
            "    environment: somewhere",
            "    services: {db: {image: db:1}}\n    environment: somewhere",
            "job build: image without digest: db:1",
        ),
        ("    environment: somewhere\n", "", "job build: uses secrets outside an environment"),
        (f"@{SHA} # v7.0.1", "@v7", "job build: not pinned by SHA: actions/checkout@v7"),
        (" # v7.0.1", "", f"line 14: no version comment: - uses: actions/checkout@{SHA}"),
        ("persist-credentials: false", "fetch-depth: 0", "job build: checkout without persist-credentials: false"),
        ("make check", "pip install x", "job build: not a make target and not a script: pip install x"),
        ("make check", "make check; curl x", "job build: not a make target and not a script: make check; curl x"),
        ("make check", "make check A=$(x)", "job build: not a make target and not a script: make check A=$(x)"),
        ("make check", "sudo curl x", "job build: not a make target and not a script: sudo curl x"),
        ('"$IMAGE"', "x | sh", "job build: not a make target and not a script: .venv/bin/python"),
        ('"$IMAGE"', "${{ github.head_ref }}", "job build: an expression in run: .venv/bin/python"),
    ],
)
def test_each_rule_can_be_broken(old: str, new: str, fault: str) -> None:
    assert old in GOOD
    found = faults(GOOD.replace(old, new))
    assert any(each.startswith(fault) for each in found), found


def test_an_action_has_one_pin_everywhere() -> None:
    pins: dict[str, set[str]] = defaultdict(set)
    for path in (*WORKFLOWS, *ACTIONS):
        for name, pin in re.findall(r"uses: ([^\s@]+)@([^\n]+)", path.read_text(encoding="utf-8")):
            pins[name].add(pin)
    assert len(pins) >= 10
    assert {name: sorted(found) for name, found in pins.items() if len(found) > 1} == {}


def test_every_make_target_and_script_that_is_called_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = [
        step["run"]
        for path in (*WORKFLOWS, *ACTIONS)
        for step in steps(path.read_text(encoding="utf-8"))
        if "run" in step
    ]
    assert len(called) >= 15
    for run in called:
        own = OWN.fullmatch(run.strip())
        if own and own["target"]:
            assert own["target"] in targets, run
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
