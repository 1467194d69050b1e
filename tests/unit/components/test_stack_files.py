"""Settings that are wrong: what is said of each, by key, value and cure, and never by its wording.

`refused.yaml` has a case for each rule between settings, `stack_files.yaml` the files that people of other projects
write.
"""

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings import Problem, Settings, SettingsError, checks, file
from components.settings.stack_file import read
from tests.support import program
from tests.support.fields import follow

CASES: list[dict[str, Any]] = [
    case
    for name in ("refused.yaml", "stack_files.yaml")
    for case in yaml.safe_load(Path(__file__).with_name(name).read_text())
]
HEAD = """\
  vllm-eval:cluster: {context: c}
  vllm-eval:git: {repository: "https://git.example.com/x.git"}
"""
MODEL = """\
vllm-eval:models:
  - {name: m, tag: t, endpoint: "http://vllm.serving.svc:8000/v1", network: {namespace: serving, port: 8000}}
"""
# What the settings of `refused.yaml` are laid over.
VALID: dict[str, Any] = {"cluster": {"context": "c"}, "git": {"repository": "https://git.example.com/x.git"}}
VALID_MODEL = {"endpoint": "https://h.example/v1", "network": {"cidr": "10.0.0.7/32", "port": 443}}


def text_of(case: dict[str, Any]) -> str:
    if "file" in case:
        return str(case["file"])
    if "settings" in case or "secrets" in case:
        sealed = {key: {"secure": "v1:x"} for key in case.get("secrets", {})}
        return json.dumps({"config": {f"vllm-eval:{key}": each for key, each in (groups_of(case) | sealed).items()}})
    lines = [case.get("config", ""), case.get("models", MODEL)]
    return f"config:\n{HEAD}" + "".join(f"  {line}\n" for part in lines for line in part.splitlines())


def groups_of(case: dict[str, Any]) -> dict[str, Any]:
    groups = VALID | case.get("settings", {})
    listed = enumerate(groups.get("models", [{}]))
    models = [{"name": f"n{index}", "tag": f"t{index}", **VALID_MODEL, **each} for index, each in listed]
    return {**groups, "models": models}


def told_of(case: dict[str, Any]) -> tuple[Problem, ...]:
    if "secrets" not in case:
        return problems_of(text_of(case))
    try:
        program.load(groups_of(case), case["secrets"])
    except SettingsError as error:
        return error.problems
    return ()


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
    told = told_of(case)
    found = {each.key: each for each in told}
    assert sorted(found) == sorted({each["key"] for each in case["problems"]})
    for wanted in case["problems"]:
        each = found[wanted["key"]]
        assert wanted.get("value", "") in each.value, each
        assert wanted["cure"] in each.cure, each
        assert wanted.get("never", "\0") not in each.cure, each
    for secret in (case.get("secret"), *case.get("secrets", {}).values()):
        assert not secret or secret not in "\n".join(map(str, told))


def test_each_check_refuses_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing: set[str] = set()

    def noted(check: Callable[..., Iterator[Problem]]) -> Callable[..., Iterator[Problem]]:
        @functools.wraps(check)  # `run` reads its signature
        def told(**known: object) -> Iterator[Problem]:
            for each in check(**known):
                refusing.add(check.__name__)
                yield each

        return told

    names = {check.__name__ for check in checks.CHECKS}
    monkeypatch.setattr(checks, "CHECKS", [noted(check) for check in checks.CHECKS])
    for case in CASES:
        told_of(case)
    # A stack's name is no setting: test_checks.py.
    assert names - refusing == {"check_stack_name"}


@pytest.mark.parametrize("case", [each for each in CASES if each["problems"]], ids=lambda case: case["case"])
def test_a_cure_that_is_followed_ends_its_fault_and_makes_no_other(case: dict[str, Any]) -> None:
    told = told_of(case)
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
