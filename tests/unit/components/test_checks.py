"""Every rule between settings, each with its text."""

import ast
import copy
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml

from components.settings import SettingsError, check_models, check_receivers, check_report, checks
from tests.support import program
from tests.unit.components import test_stack_files

BCRYPT = "$2a$10$" + "x" * 53
PEM = "-----BEGIN CERTIFICATE-----"
MODEL = {
    "name": "m",
    "tag": "t",
    "endpoint": "https://h.example/v1",
    "network": {"cidr": "10.0.0.7/32", "port": 443},
}
VALID: dict[str, Any] = {
    "cluster": {"context": "c"},
    "git": {"repository": "https://git.example.com/x.git"},
    "models": [MODEL],
}

TOO_MANY = {"settings": {"models": [{"served_name": "x" * 150}] * 1100}}
CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("refused.yaml").read_text())


def settings_of(case: dict[str, Any]) -> dict[str, Any]:
    groups = copy.deepcopy({**VALID, **case.get("settings", {})})
    listed = enumerate(case.get("settings", {}).get("models", [MODEL]))
    return {**groups, "models": [{**MODEL, "name": f"n{index}", "tag": f"t{index}", **each} for index, each in listed]}


def refusal(case: dict[str, Any], stack: str = "test") -> str:
    with pytest.raises(SettingsError) as caught:
        program.load(settings_of(case), case.get("secrets"), stack)
    return str(caught.value)


def test_what_the_cases_start_from_is_valid() -> None:
    program.load(VALID)
    program.load({**VALID, "argocd": {"chart": "oci://registry.example/argo-cd"}})
    program.load({**VALID, "cluster": {"in_cluster": True}})
    program.load(
        {**VALID, "models": [{**MODEL, "ca": "c", "api_key": "k"}]}, {"endpoint-c": PEM, "endpoint-k": "canary"}
    )
    program.load(VALID, {"argocd-admin-hash": BCRYPT, "registry-credentials": '{"auths": {"ghcr.io": {}}}'})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_every_check_names_key_value_fault_and_cure(case: dict[str, Any]) -> None:
    expected = ["The settings of stack 'test' have one problem:", f"  {case['problem']}", f"      cure: {case['cure']}"]
    text = refusal(case)
    assert text.splitlines() == expected
    assert "canary" not in text


@pytest.mark.parametrize("stack", ["-x", "x_", "s" * 64])
def test_a_stack_name_that_is_no_label(stack: str) -> None:
    text = refusal({}, stack)
    assert f"stack = {stack}: a stack's name becomes a Kubernetes label: 63 characters at most" in text
    assert "cure: pulumi stack rename NAME" in text


def test_more_models_than_an_annotation_holds() -> None:
    text = refusal(TOO_MANY)
    assert "vllm-eval:models = 1100 models: " in text
    assert " bytes as an annotation of the Job, which holds 245760\n      cure: split the stack" in text


def test_the_cases_reach_every_check() -> None:
    def every_case() -> None:
        for case in (*CASES, TOO_MANY):
            refusal(case)
        refusal({}, "-x")
        for case in test_stack_files.CASES:
            test_stack_files.problems_of(test_stack_files.text_of(case))

    wanted = yields(checks) | yields(check_models) | yields(check_receivers) | yields(check_report)
    assert wanted
    assert wanted - lines(every_case) == set()


def yields(module: object) -> set[tuple[str, int]]:
    """Return file and line of every problem that a module of checks can report."""
    file = str(module.__file__)  # type: ignore[attr-defined] # a module has one
    tree = ast.parse(Path(file).read_text())
    return {(file, node.lineno) for node in ast.walk(tree) if isinstance(node, ast.Yield)}


def lines(run: Callable[[], object]) -> set[tuple[str, int]]:
    """Return file and line of everything in the checks that `run` executes."""
    files = {str(module.__file__) for module in (checks, check_models, check_receivers, check_report)}
    seen: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, argument: object) -> Any:  # noqa: ANN401 (a trace function)
        if frame.f_code.co_filename not in files:
            return None
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return seen
