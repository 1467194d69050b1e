"""Stack files of other hands: what is said of each, by key, value and cure, and never by its wording."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings import Problem, SettingsError
from components.settings.stack_file import read

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("stack_files.yaml").read_text())
HEAD = """\
  vllm-eval:cluster: {context: c}
  vllm-eval:git: {repository: "https://git.example.com/x.git"}
"""
MODEL = """\
vllm-eval:models:
  - {name: m, tag: t, endpoint: "http://vllm.serving.svc:8000/v1", network: {namespace: serving, port: 8000}}
"""


def text_of(case: dict[str, Any]) -> str:
    if "file" in case:
        return str(case["file"])
    lines = [case.get("config", ""), case.get("models", MODEL)]
    return f"config:\n{HEAD}" + "".join(f"  {line}\n" for part in lines for line in part.splitlines())


def problems_of(text: str) -> tuple[Problem, ...]:
    try:
        read("prod", text)
    except SettingsError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_every_fault_of_a_file_is_told_with_its_key_value_and_a_cure_that_helps(case: dict[str, Any]) -> None:
    found = {each.key: each for each in problems_of(text_of(case))}
    assert sorted(found) == sorted(each["key"] for each in case["problems"])
    for wanted in case["problems"]:
        told = found[wanted["key"]]
        assert wanted.get("value", "") in told.value, told
        assert wanted["cure"] in told.cure, told
        assert wanted.get("never", "\0") not in told.cure, told
    if "secret" in case:
        assert case["secret"] not in "\n".join(map(str, found.values()))
