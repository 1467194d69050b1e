"""Every form and bound of a single setting, each with its text."""

import json
import re
import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import annotated_types
import pytest
import yaml
from pydantic import BaseModel, StringConstraints

from components.settings import forms, problems, translate
from components.settings.load import GROUPS
from components.settings.model import Model
from tests.support import program
from tests.unit.components.test_settings import EVERY_FIELD, holder_of, refused

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("out_of_range.yaml").read_text())


def parts(path: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", path))


def refusal(path: str, value: object) -> list[str]:
    groups = program.stack_file("dev")
    holder_of(groups, parts(path))[str(parts(path)[-1])] = value
    return refused(groups).splitlines()


@pytest.mark.parametrize("case", CASES, ids=lambda each: f"{each['path']}={each['value']}")
def test_a_value_beyond_its_range_is_refused_with_key_value_fault_and_cure(case: dict[str, Any]) -> None:
    lines = refusal(case["path"], case["value"])
    shown = problems.HIDDEN if case["path"].endswith(("api_key", ".secret", ".key")) else case["value"]
    problem = f"  vllm-eval:{case['path']} = {json.dumps(shown)}: {case['fault']}"
    assert problem in lines
    assert lines[lines.index(problem) + 1].startswith("      cure: ")


def test_a_text_that_is_too_long() -> None:
    (line,) = [each for each in refusal("models[0].name", "x" * 201) if each.startswith("  vllm-eval:")]
    assert line.endswith("…: string should have at most 200 characters")


@pytest.mark.parametrize(
    "path", ["models[0].network.labels", "evaluation.resources.requests", "evaluation.account_annotations"]
)
def test_a_name_that_kubernetes_would_refuse(path: str) -> None:
    lines = refusal(path, {"a b": "1"})
    assert f'  vllm-eval:{path} = "a b": must be a name of Kubernetes, such as app or example.com/app' in lines, lines


def constraints(annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[str]:  # noqa: ANN401 (a type expression)
    """Yield what the values of a field are held to: `text`, `choice`, `ge`, `le`."""
    for each in metadata:
        if isinstance(each, StringConstraints):
            yield "text"
        elif isinstance(each, annotated_types.Ge | annotated_types.Le):
            yield type(each).__name__.lower()
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        yield "choice"
    elif typing.get_origin(annotation) is typing.Annotated:
        yield from constraints(annotation.__origin__, annotation.__metadata__)
    elif typing.get_origin(annotation) is dict:
        yield from constraints(typing.get_args(annotation)[1])
    elif typing.get_origin(annotation) in {types.UnionType, typing.Union}:
        yield from (found for each in typing.get_args(annotation) for found in constraints(each))


def held(path: tuple[str | int, ...]) -> set[str]:
    model: type[BaseModel] = Model if path[0] == "models" else GROUPS[str(path[0])]
    field, _ = translate.field_at(model, path[1:])
    return set(constraints(field.annotation, tuple(field.metadata)))


def test_every_form_and_bound_has_a_case() -> None:
    faults: dict[str, list[str]] = {}
    for case in CASES:
        faults.setdefault(case["path"], []).append(case["fault"])
    checked = 0
    for path in EVERY_FIELD:
        key = problems.full_key(path).removeprefix("vllm-eval:")
        found = [fault for name, told in faults.items() if name == key or name.startswith(f"{key}.") for fault in told]
        for kind in held(path):
            checked += 1
            word = {"ge": "greater", "le": "less"}.get(kind, "")
            assert [each for each in found if word in each], f"{key}: {kind}"
    assert checked > 50
    assert {case["fault"] for case in CASES} >= set(forms.WORDS.values()) - {
        forms.WORDS[pattern] for pattern in forms.WORDS if "a-z0-9.-]{1,253}/" in pattern
    }
