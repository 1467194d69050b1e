"""Stack files of other hands: what is said of each, by key, value and cure, and never by its wording."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings import Problem, Settings, SettingsError, file
from components.settings.stack_file import read
from tests.support import program
from tests.support.cures import follow

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


def settings_of(text: str | bytes) -> Settings | tuple[Problem, ...]:
    with program.event_loop():
        try:
            return read("prod", text)
        except SettingsError as error:
            return error.problems


def problems_of(text: str | bytes) -> tuple[Problem, ...]:
    found = settings_of(text)
    return () if isinstance(found, Settings) else found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_every_fault_of_a_file_is_told_with_its_key_value_and_a_cure_that_helps(case: dict[str, Any]) -> None:
    told = problems_of(text_of(case))
    found = {each.key: each for each in told}
    assert sorted(found) == sorted({each["key"] for each in case["problems"]})
    for wanted in case["problems"]:
        each = found[wanted["key"]]
        assert wanted.get("value", "") in each.value, each
        assert wanted["cure"] in each.cure, each
        assert wanted.get("never", "\0") not in each.cure, each
    if "secret" in case:
        assert case["secret"] not in "\n".join(map(str, told))


@pytest.mark.parametrize("case", [each for each in CASES if each["problems"]], ids=lambda case: case["case"])
def test_a_cure_that_is_followed_ends_its_fault_and_makes_no_other(case: dict[str, Any]) -> None:
    told = problems_of(text_of(case))
    try:
        stack, _ = file.parse("prod", text_of(case))
    except SettingsError:
        return  # nothing of it can be read
    # Keys are renamed before their values are set, and the last of a list goes first.
    order = sorted(sorted(told, key=lambda each: each.key, reverse=True), key=lambda each: "pulumi config" in each.cure)
    left = [each for each in order if not follow(stack, each)]
    assert places(problems_of(json.dumps(stack))) == places(left) | set(case.get("then", [])), stack


@pytest.mark.parametrize("case", [each for each in CASES if "declares" in each], ids=lambda case: case["case"])
def test_an_accepted_file_declares_what_its_writer_meant(case: dict[str, Any]) -> None:
    settings = settings_of(text_of(case))
    assert isinstance(settings, Settings)
    declared = program.declare(settings)
    for named, wanted in case["declares"].items():
        kind, _, name = named.partition(" ")
        # Patches are texts within the Application.
        text = json.dumps(declared.one(kind, name or None).inputs, sort_keys=True, ensure_ascii=False).replace("\\", "")
        for each in [wanted] if isinstance(wanted, str) else wanted:
            assert each in text


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("﻿config:\r\n  vllm-eval:cluster: {context: c} # 저장소\r\n".encode(), None),
        ("config:\n  vllm-eval:cluster: {context: 운영}\n".encode("utf-16"), None),
        ("config:\n  vllm-eval:cluster: {context: 운영}\n".encode("cp949"), "UTF-8"),
        (b"config:\n  vllm-eval:cluster: {context: !Ref x, server: !!binary aGk=}\n", "YAML"),
    ],
    ids=["BOM and Windows' line ends", "UTF-16", "CP949", "a tag of CloudFormation"],
)
def test_a_file_in_another_encoding_is_read_or_named(data: bytes, fault: str | None) -> None:
    told = {each.key: each.fault for each in problems_of(data)}
    if fault is None:
        assert set(told) == {"vllm-eval:git.repository", "vllm-eval:models"}
    else:
        assert set(told) == {"Pulumi.prod.yaml"}
        assert fault in told["Pulumi.prod.yaml"]


def places(told: Sequence[Problem]) -> set[str]:
    """Return the keys without the places in a list, which another cure may move."""
    return {re.sub(r"\[\d+\]", "[]", each.key) for each in told} - {"environment"}
