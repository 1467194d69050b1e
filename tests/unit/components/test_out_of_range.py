"""Every form and bound of a single setting, taken from the models, and what each form keeps out."""

import json
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

import annotated_types
import pydantic
import pytest
from pydantic import StringConstraints, TypeAdapter

from components.settings import forms, problems, translate
from components.settings.load import GROUPS
from components.settings.model import Model
from tests.support import fields, program

Path = tuple[str | int, ...]
# No form takes a text that begins with a blank.
BLANK = " x"


def faults(annotation: Any, metadata: typing.Iterable[Any] = ()) -> Iterator[tuple[Path, object, str]]:  # noqa: ANN401 (a type expression)
    """Yield a wrong value for each thing that a field is held to: where in the field it is, the value and the fault."""
    for each in metadata:
        if isinstance(each, annotated_types.Ge):
            yield (), int(str(each.ge)) - 1, f"input should be greater than or equal to {each.ge}"
        elif isinstance(each, annotated_types.Le):
            yield (), int(str(each.le)) + 1, f"input should be less than or equal to {each.le}"
        elif isinstance(each, StringConstraints) and each.pattern:
            yield (), BLANK, forms.WORDS[str(each.pattern)]
        elif isinstance(each, StringConstraints):
            yield (), "", "string should have at least 1 character"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        yield (), "else", "input should be "
    elif typing.get_origin(annotation) is typing.Annotated:
        yield from faults(annotation.__origin__, annotation.__metadata__)
    elif typing.get_origin(annotation) is dict:
        yield from ((("a", *path), value, fault) for path, value, fault in faults(typing.get_args(annotation)[1]))
    elif typing.get_origin(annotation) in {types.UnionType, typing.Union}:
        yield from (found for each in typing.get_args(annotation) for found in faults(each))


def every_fault() -> Iterator[tuple[Path, object, str]]:
    for path in fields.EVERY_FIELD:
        model: type[pydantic.BaseModel] = Model if path[0] == "models" else GROUPS[str(path[0])]
        field, _ = translate.field_at(model, path[1:])
        yield from (((*path, *inner), value, fault) for inner, value, fault in faults(field.annotation, field.metadata))


FAULTS = list(every_fault())


@pytest.mark.parametrize(("path", "value", "fault"), FAULTS, ids=lambda each: str(each)[:60])
def test_a_value_beyond_its_range_is_refused_with_key_value_fault_and_cure(
    path: Path, value: object, fault: str
) -> None:
    groups = program.stack_file("dev")
    fields.put(groups, path, value)
    lines = program.refused(groups).splitlines()
    shown = problems.HIDDEN if path[-1] in {"api_key", "secret", "key"} else value
    told = f"  {problems.full_key(path)} = {json.dumps(shown)}: {fault}"
    (number,) = [number for number, line in enumerate(lines) if line.startswith(told)]
    assert lines[number + 1].startswith("      cure: ")


def test_every_kind_of_fault_is_among_them() -> None:
    assert len(FAULTS) > 60
    told = {fault for _, _, fault in FAULTS}
    labels = {forms.WORDS[pattern] for pattern in forms.WORDS if "a-z0-9.-]{1,253}/" in pattern}  # of keys, below
    others = ("a key of a Secret", "a variable's name")  # in stack_files.yaml
    inner = {words for words in forms.WORDS.values() if any(each in words for each in others)}
    assert set(forms.WORDS.values()) - labels - inner <= told


@pytest.mark.parametrize(
    "path", ["models[0].network.labels", "evaluation.resources.requests", "evaluation.account_annotations"]
)
def test_a_name_that_kubernetes_would_refuse(path: str) -> None:
    groups = program.stack_file("dev")
    fields.put(groups, path, {"a b": "1"})
    assert f'vllm-eval:{path} = "a b": must be a name of Kubernetes, such as app or example.com/app' in program.refused(
        groups
    )


@pytest.mark.parametrize(
    ("form", "wrong"),
    [
        (forms.DnsLabel, ["ArgoCD", "a.b", "-a", "a" * 64]),
        (forms.DnsName, ["Fast", "a_b"]),
        (forms.Quantity, ["half", "4GB", "10 Gi"]),
        (forms.Text, ["main\n", "x" * 201]),
        (forms.ModelName, ["a\tb", "a ", "x" * 181]),
        (forms.Url, ["k8s.example.com", "oci://x/y", "http://x/?q", "http://x/#y"]),
        (forms.Cidr, ["example.com", "10.0.0.7"]),
        (forms.Digest, ["sha256:0", "0" * 64]),
        (forms.Duration, ["36", "1 h", "1w"]),
        (forms.GitAddress, ["ftp://x/r.git", "/srv/r.git", "https://x/a b"]),
        (forms.Version, ["~10.1", "10.1", "v1.2.3"]),
        (forms.StoreUrl, ["/results", "S3://x"]),
        (forms.Schedule, ["0 18 * *", "daily"]),
        (forms.ImageName, ["ghcr.io/x/y:v1", "x", "ghcr.io/X"]),
        (forms.ImageTag, ["a/b", ".a", "a" * 129]),
        (forms.QualifiedName, ["a b", "/a", "a/b/c"]),
        (forms.LabelValue, ["a b", "-a", "a" * 64]),
        (forms.VariableName, ["A B", "1A", "A=B"]),
    ],
    ids=lambda given: str(given[0])[:20] if isinstance(given, list) else "",
)
def test_a_form_keeps_out_what_is_nearly_right(form: Any, wrong: list[str]) -> None:  # noqa: ANN401 (a type expression)
    for value in wrong:
        with pytest.raises(pydantic.ValidationError):
            TypeAdapter(form).validate_python(value)
