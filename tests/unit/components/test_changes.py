"""Each setting changes the objects that it is about, and no other."""

import copy
import functools
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.settings import problems
from tests.support import fields, objects, program
from tests.support.program import Stack

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("changes.yaml").read_text())


def before_and_after(case: dict[str, Any]) -> tuple[Stack, Stack]:
    before = copy.deepcopy(program.stack_file("prod"))
    for path, value in case.get("also", {}).items():
        fields.put(before, path, value)
    after = copy.deepcopy(before)
    fields.put(after, case["path"], case["to"])
    if "without" in case:
        fields.take(after, case["without"])
    secrets = case.get("secrets", {})
    return declared(json.dumps([before, secrets])), declared(json.dumps([after, secrets]))


@functools.cache
def declared(stack: str) -> Stack:
    """Declare a stack once: most cases begin with the same one."""
    groups, secrets = json.loads(stack)
    return program.run(groups, secrets, "prod")


def by_title(stack: Stack) -> dict[str, Any]:
    """Return what each object is, by kind and, where there are several of a kind, by name."""
    found = {}
    for each in stack.resources.values():
        if each.type == "pulumi:providers:kubernetes":
            found["provider" if each.name == "cluster" else f"provider {each.name}"] = each.inputs
        elif each.custom:
            found[objects.title(each.kind, each.inputs)] = each.inputs
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["path"])
def test_a_setting_changes_what_it_is_about(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = before_and_after(case)
    old, new = by_title(before), by_title(after)
    changed = {title for title in old.keys() | new.keys() if old.get(title) != new.get(title)}
    assert changed == set(case["changes"]), "`changes` of this case in changes.yaml names the objects"

    lines: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", lines.append)
    for title, hook in (("Application", "vllm-eval-application"), ("Job", "vllm-eval-job")):
        if title in changed:
            arguments = pulumi.ResourceHookArgs("urn", "id", "n", "t", old_inputs=old.get(title), new_inputs=new[title])
            after.hooks[hook](arguments)
    assert bool(lines) == bool(case.get("re-runs")), f"`re-runs` of this case in changes.yaml: the program says {lines}"


def test_every_setting_is_there() -> None:
    every = {problems.full_key(path).removeprefix("vllm-eval:") for path in fields.EVERY_FIELD}
    cases = {case["path"] for case in CASES}
    assert every - cases == set(), "without a case in changes.yaml"
    assert cases - every == set(), "cases of no setting"
