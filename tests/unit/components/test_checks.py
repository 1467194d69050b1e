"""Rules between settings that no stack file shows: the stack's name, and more models than a stack holds."""

import pytest

from components.settings import Problem, SettingsError
from tests.support import program


def told(models: int, stack: str) -> Problem:
    groups = program.stack_file("dev")
    model = {**groups["models"][0], "served_name": "x" * 150}
    groups["models"] = [{**model, "name": f"n{index}", "tag": f"t{index}"} for index in range(models)]
    with pytest.raises(SettingsError) as caught:
        program.load(groups, stack=stack)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("stack", ["-x", "x_", "s" * 64])
def test_a_stack_name_that_is_no_label(stack: str) -> None:
    problem = told(1, stack)
    assert (problem.key, problem.value, problem.cure) == ("stack", stack, "pulumi stack rename NAME")


def test_more_models_than_an_annotation_holds() -> None:
    problem = told(1100, "dev")
    assert (problem.key, problem.value) == ("vllm-eval:models", "1100 models")
    assert problem.cure.startswith("split the stack")
